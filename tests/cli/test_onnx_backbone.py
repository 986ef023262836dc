"""ONNX networks on the command line: from images to embeddings, verdicts and maps, and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from featx._run import load_run
from featx.errors import InputError, SpecMismatchError
from featx.extraction import DaskEngine, ExtractionOptions, extract
from featx_cache import open_cache
from tests.onnx_models import cnn, vit, written

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

CONFIG = {"image_mean": 0.5, "image_std": 0.5, "size": {"height": 32, "width": 32}}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A folder with a vision transformer and its configuration."""
    written(vit(), tmp_path / "vit" / "model.onnx")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "vit"


@pytest.mark.usefixtures("words_only")
def test_from_images_to_maps_with_patches(
    featx: Featx, network: Path, phantom_data: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    answer = featx(
        "extract", phantom_data, "--cache", cache, "--backbone", network, "--copies", "1"
    )
    assert answer.code == 0, answer.err
    assert (
        "embedding 4x4x16 from last_hidden_state (patches), float32 by ONNX Runtime on cpu"
        in answer.err
    )
    assert "the network has other outputs: pooler_output" in answer.err
    answer = featx("fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.5")
    assert answer.code == 0, answer.err
    images = sorted((phantom_data / "test").rglob("*.png"))[:1]
    for command in (
        ["evaluate", run, cache],
        ["evaluate", run, phantom_data],
        ["predict", run, *images],
        ["explain", run, *images, "--out", tmp_path / "explained"],
        ["report", run, "--out", tmp_path / "report.html"],
    ):
        answer = featx(*command)
        assert answer.code == 0, answer.err
    assert len(list((tmp_path / "explained").glob("*.png"))) == 1
    text = (tmp_path / "report.html").read_text()
    assert "--tokens patches" in text
    assert "--preprocess" not in text
    answer = featx("export", run, "--onnx", tmp_path / "out.onnx")
    assert answer.code == 2
    assert "is an ONNX network, which featx can't join" in answer.error
    answer = featx("predict", run, *images, "--runtime", "ncnn")
    assert answer.code == 2
    assert "--runtime ncnn can't run an ONNX network. Leave --runtime out." in answer.error


@pytest.mark.usefixtures("two_folds")
@pytest.mark.parametrize("head", ["lda", "keras"])
def test_patches_and_class_together_are_fitted_and_explained(
    featx: Featx, network: Path, phantom_data: Path, tmp_path: Path, head: str
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    words = ["extract", phantom_data, "--cache", cache, "--backbone", network, "--copies", "0"]
    answer = featx(*words, "--tokens", "both")
    assert answer.code == 0, answer.err
    assert (
        "embedding 272 from last_hidden_state.patches 4x4x16 + last_hidden_state.cls 16"
        in answer.err
    )
    words = ["fit", cache, "--head", head, "--run", run, "--accuracy-floor", "0.5"]
    small = ["--epochs", "1", "--set", "precision=float32", "--set", "architecture=gap"]
    answer = featx(*words, *(small if head == "keras" else []))
    assert answer.code == 0, answer.err
    images = sorted((phantom_data / "test").rglob("*.png"))[:1]
    for command in (
        ["evaluate", run, cache],
        ["predict", run, *images],
        ["explain", run, *images, "--out", tmp_path / "explained"],
    ):
        answer = featx(*command)
        assert answer.code == 0, answer.err
    assert len(list((tmp_path / "explained").glob("*.png"))) == 1


def test_another_network_or_place_is_noticed(
    featx: Featx, network: Path, phantom_data: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    featx("extract", phantom_data, "--cache", cache, "--backbone", network, "--copies", "0")
    featx("fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.5")
    loaded, image = load_run(run), next((phantom_data / "test").rglob("*.png"))
    (before,) = loaded.predict([image])
    moved = Path(shutil.move(network, tmp_path / "moved"))
    answer = featx("predict", run, image)
    assert answer.code == 2
    assert answer.error.endswith(f"isn't at {network}. Give its place: --weights FILE.")
    assert featx("predict", run, image, "--weights", moved).code == 0
    (after,) = loaded.predict([image], weights=str(moved))
    assert after.score == before.score
    # A mean that differs is another network.
    (moved / "preprocessor_config.json").write_text(json.dumps(CONFIG | {"image_mean": 0.4}))
    with pytest.raises(SpecMismatchError, match=r"normalization\.mean"):
        loaded.backbone(str(moved))
    (moved / "preprocessor_config.json").write_text(json.dumps(CONFIG))
    written(vit(seed=1), moved / "model.onnx")
    with pytest.raises(SpecMismatchError, match="architecture_sha256"):
        loaded.backbone(str(moved))
    with pytest.raises(
        InputError, match=r"is an ONNX network, which x\.keras is not\. Give its \.onnx"
    ):
        loaded.backbone("x.keras")


def test_a_bare_file_needs_its_preprocessing(
    featx: Featx, phantom_data: Path, tmp_path: Path
) -> None:
    path, cache = written(cnn(), tmp_path / "cnn.onnx"), tmp_path / "cache"
    words = ["extract", phantom_data, "--cache", cache, "--backbone", path, "--copies", "0"]
    answer = featx(*words)
    assert answer.code == 2
    assert "nothing says how" in answer.error
    assert "--preprocess" in answer.error
    assert not cache.exists()
    answer = featx(*words, "--preprocess", "imagenet", "--layer", "vector")
    assert answer.code == 0, answer.err
    assert open_cache(cache).embedding_shape == (16,)
    for wrong, said in (
        (["--tokens", "cls"], "--tokens cls needs an output of tokens"),
        (["--layer", "vectro"], "Did you mean vector"),
        (["--input-size", "64"], "--input-size 64 doesn't suit"),
        (["--device", "gpu:0"], "not on --device gpu:0"),
        (["--precision", "bfloat16"], "not in --precision bfloat16"),
        (["--weights", "random"], "has its own weights. Leave --weights out"),
    ):
        answer = featx(*words, "--preprocess", "imagenet", *wrong)
        assert answer.code == 2
        assert said in answer.error


def test_a_hostile_file_is_one_line_and_nothing_is_written(
    featx: Featx, phantom_data: Path, tmp_path: Path
) -> None:
    model = cnn()
    model.graph.node[0].domain = "evil"
    path, cache = written(model, tmp_path / "evil.onnx"), tmp_path / "cache"
    answer = featx(
        "extract", phantom_data, "--cache", cache, "--backbone", path, "--preprocess", "none"
    )
    assert answer.code == 2
    assert answer.error.startswith(f"featx: error: {path} is refused as a backbone: its operator")
    assert "Traceback" not in answer.err
    assert not cache.exists()


def test_dask_workers_and_a_second_extraction_make_the_same(
    network: Path, phantom_data: Path, tmp_path: Path
) -> None:
    options = ExtractionOptions(rows_per_shard=10)
    here = extract(
        phantom_data, tmp_path / "here", network, tokens="both", copies=0, options=options
    )
    there = extract(
        phantom_data,
        tmp_path / "there",
        network,
        tokens="both",
        copies=0,
        options=ExtractionOptions(engine=DaskEngine(workers=1), rows_per_shard=7, batch_size=3),
    )
    np.testing.assert_array_equal(here.as_arrays()[0], there.as_arrays()[0])
