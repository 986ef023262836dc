"""`featx.extract`: labelled images and names go in, a cache comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.backbones import Backbone, StandardizationSpec
from featx.data import Manifest
from featx.errors import InputError
from featx.images import AugmentationSpec
from tests.featx.extraction.extracting import assert_same, make_unreadable, run

PLAIN = AugmentationSpec(copies=0)


def test_a_path_and_a_manifest_give_the_cache_of_the_function_below(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(small_data, tmp_path / "below", tiny_backbone, augmentation=AugmentationSpec(copies=2))
    manifest = featx.load_manifest(small_data)
    sources: tuple[Path | str | Manifest, ...] = (small_data, str(small_data), manifest)
    for number, data in enumerate(sources):
        cache = featx.extract(
            data, tmp_path / str(number), tiny_backbone, augmentation="study", copies=2
        )
        assert_same(cache.path, tmp_path / "below")
    assert repr(cache).endswith("10 images, 22 embeddings of 1x1x512 float16)")
    assert capfd.readouterr() == ("", "")


def test_names_and_options_make_the_backbone(small_data: Path, tmp_path: Path) -> None:
    cache = featx.extract(
        small_data,
        tmp_path / "cache",
        "vgg16",
        weights="random",
        input_size=32,
        layer="block1_pool",
        precision="float32",
        augmentation="chest",
        copies=1,
        copies_of="all",
        seed=3,
        standardization=StandardizationSpec(samplewise_center=True),
        storage_dtype="float32",
        progress=False,
    )
    assert cache.embedding_shape == (16, 16, 64)
    assert len(cache.rows) == 20
    assert cache.dtype == np.float32
    assert cache.spec["backbone"]["weights_seed"] == cache.spec["augmentation"]["seed"] == 3
    assert cache.spec["augmentation"]["rotation"] == 10.0
    assert cache.spec["backbone"]["standardization"]["samplewise_center"]


def test_a_cache_tells_what_was_skipped_and_keeps_its_positive_class(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_unreadable(small_data / "train" / "NORMAL" / "normal-0.png")
    manifest = featx.load_manifest(small_data, positive="NORMAL")
    cache = featx.extract(manifest, tmp_path / "cache", tiny_backbone, augmentation=PLAIN)
    assert list(cache.skipped) == ["train/NORMAL/normal-0.png"]
    assert "Skipped 1 unreadable image: see `cache.skipped`" in capsys.readouterr().err
    again = featx.extract(small_data, cache.path, tiny_backbone, augmentation=PLAIN)
    assert again.classes == cache.classes == ("PNEUMONIA", "NORMAL")


def test_what_can_t_be_had_together_is_refused(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a loaded backbone has its own weights") as caught:
        featx.extract(small_data, tmp_path / "cache", tiny_backbone, weights="random")
    assert caught.value.parameter == "backbone"
    for augmentation in ("study", PLAIN):
        with pytest.raises(InputError, match="`copies` can't be -1"):
            featx.extract(
                small_data, tmp_path / "c", tiny_backbone, augmentation=augmentation, copies=-1
            )


@pytest.mark.long
def test_tensorflow_says_nothing_when_featx_imports_it() -> None:
    code = "import featx; from featx.backbones import list_backbones; print(list_backbones('vgg*'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['vgg16', 'vgg19']\n", "")
