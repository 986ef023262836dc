"""``featx extract``: what it says, what it prints, and how its options arrive."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from featx.backbones import _mini
from featx_cache import open_cache

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.conftest import RunFeatx

FAST = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
FAST += ["--precision", "float32", "--runtime", "tensorflow"]


def refuse(*_: Any, **__: Any) -> None:
    raise URLError("no network")


@pytest.fixture
def data(phantom_data: Path, tmp_path: Path) -> Path:
    """The validation images as a training set without splits, and two files that can't be read."""
    shutil.copytree(phantom_data / "val", tmp_path / "data")
    (tmp_path / "data" / "NORMAL" / "empty.png").touch()
    (tmp_path / "data" / "PNEUMONIA" / "text.jpeg").write_text("no image")
    return tmp_path / "data"


POSITIVE = "Positive class (sick): PNEUMONIA. Negative class (healthy): NORMAL."


def cells(out: str) -> dict[str, str]:
    """Read a two-column table."""
    rows = [line.rsplit(maxsplit=1) for line in out.splitlines() if line.strip()]
    return {row[0].strip(): row[1] for row in rows if len(row) == 2}


class TestOutput:
    def test_says_what_goes_in_and_prints_what_came_out(
        self, data: Path, tmp_path: Path, featx: Featx
    ) -> None:
        (data / "NORMAL" / "notes.txt").write_text("hello")
        answer = featx("extract", data, "--cache", tmp_path / "cache", *FAST, "--copies", "2")
        assert answer.code == 0
        counts = cells(answer.out)
        assert counts["images"] == "6"
        assert counts["embeddings"] == counts["computed now"] == "18"
        assert counts["damaged shards repaired"] == "0"
        assert counts["unreadable images skipped"] == "2"
        assert float(counts["images/s"]) > 0
        assert answer.err.splitlines() == [
            "1 file left out: 1 .txt (not an image).",
            "train: 3 NORMAL, 3 PNEUMONIA",
            "Backbone vgg16 at 32x32, embedding 1x1x512 from block5_pool, float32 by "
            "TensorFlow on cpu (as asked for)",
            "These weights are random: the embeddings are untrained.",
            "Skipped NORMAL/empty.png: the file is empty",
            "Skipped PNEUMONIA/text.jpeg: text, not an image",
        ]
        assert answer.out.splitlines()[0] == POSITIVE
        assert "untrained" in answer.out

    def test_again_says_that_nothing_was_computed(
        self, data: Path, tmp_path: Path, featx: Featx
    ) -> None:
        featx("extract", data, "--cache", tmp_path / "cache", *FAST)
        answer = featx("extract", data, "--cache", tmp_path / "cache", *FAST)
        assert answer.code == 0
        counts = cells(answer.out)
        assert (counts["embeddings"], counts["computed now"]) == ("18", "0")
        assert "images/s" not in answer.out

    def test_quiet_prints_the_result_alone(self, data: Path, tmp_path: Path, featx: Featx) -> None:
        answer = featx("-q", "extract", data, "--cache", tmp_path / "cache", *FAST)
        assert answer.code == 0
        assert answer.err == ""
        assert cells(answer.out)["images"] == "6"
        assert answer.out.splitlines()[0] == POSITIVE
        assert "untrained" in answer.out

    def test_verbose_tells_the_weights(self, data: Path, tmp_path: Path, featx: Featx) -> None:
        answer = featx("-v", "extract", data, "--cache", tmp_path / "cache", *FAST)
        sha256 = open_cache(tmp_path / "cache").spec["backbone"]["weights_sha256"]
        assert f"Weights SHA-256 {sha256}" in answer.err

    def test_on_error_fail_stops_at_the_unreadable_image(
        self, data: Path, tmp_path: Path, featx: Featx
    ) -> None:
        arguments = ["extract", data, "--cache", tmp_path / "cache", *FAST, "--on-error", "fail"]
        answer = featx(*arguments)
        assert answer.code == 2
        assert answer.error.startswith("featx: error: can't read the image")
        assert "empty.png: the file is empty" in answer.error
        assert not (tmp_path / "cache").exists()


class TestPositiveClass:
    """The sick one, told by the names of folders. A cache that is there keeps its own."""

    @pytest.fixture
    def other(self, data: Path) -> Path:
        (data / "NORMAL").rename(data / "normal")
        (data / "PNEUMONIA").rename(data / "abnormal")
        return data

    def test_abnormal_is_positive_though_normal_comes_last(
        self, other: Path, tmp_path: Path, featx: Featx
    ) -> None:
        answer = featx("-q", "extract", other, "--cache", tmp_path / "c", *FAST, "--copies", "0")
        assert answer.code == 0
        assert "Positive class (sick): abnormal." in answer.out
        assert answer.err == ""
        assert open_cache(tmp_path / "c").classes == ("normal", "abnormal")

    def test_a_cache_with_a_healthy_positive_class_keeps_it_and_warns(
        self, other: Path, tmp_path: Path, featx: Featx
    ) -> None:
        command = ["-q", "extract", other, "--cache", tmp_path / "c", *FAST, "--copies", "0"]
        asked = featx(*command, "--positive", "normal")
        again = featx(*command)
        for answer in (asked, again):
            assert "Positive class (sick): normal." in answer.out
            assert "WARNING: the positive class normal has the name of healthy" in answer.err
        assert open_cache(tmp_path / "c").classes == ("abnormal", "normal")
        fitted = ["fit", tmp_path / "c", "--head", "logreg", "--run", tmp_path / "r"]
        answer = featx("-q", *fitted, "--accuracy-floor", "0.3")
        assert "WARNING: the positive class normal has the name of healthy" in answer.err
        answer = featx(*command, "--positive", "abnormal")
        assert answer.err == ""
        assert cells(answer.out)["computed now"] == "0"
        assert open_cache(tmp_path / "c").classes == ("normal", "abnormal")

    def test_where_the_alphabet_decided_it_is_said_loudly(
        self, other: Path, tmp_path: Path, featx: Featx
    ) -> None:
        (other / "normal").rename(other / "bacteria")
        (other / "abnormal").rename(other / "virus")
        command = ["-q", "extract", other, "--cache", tmp_path / "c", *FAST, "--copies", "0"]
        assert "WARNING: the alphabet alone made virus the positive" in featx(*command).err
        assert featx(*command, "--positive", "virus").err == ""


def test_options_arrive_in_the_cache(data: Path, tmp_path: Path, featx: Featx) -> None:
    options = {
        "--augment": "study",
        "--copies": "1",
        "--seed": "3",
        "--rotation": "5",
        "--zoom": "0.1",
        "--width-shift": "0.2",
        "--height-shift": "0.3",
        "--preprocess": "rescale",
        "--storage-dtype": "float32",
        "--shard-rows": "4",
        "--batch-size": "2",
        "--compression": "lzf",
        "--layer": "block4_pool",
        "--jpeg-reduction": "0",
        "--device": "cpu",
        "--positive": "NORMAL",
        "--group-regex": r"(\w+)/",
    }
    flat = [text for option in options.items() for text in option]
    arguments = ["extract", data, "--cache", tmp_path / "cache", *FAST, *flat]
    assert featx(*arguments, "--no-horizontal-flip").code == 0
    cache = open_cache(tmp_path / "cache")
    assert cache.spec["augmentation"] == {
        "copies": 1,
        "seed": 3,
        "rotation": 5.0,
        "zoom": 0.1,
        "width_shift": 0.2,
        "height_shift": 0.3,
        "horizontal_flip": False,
    }
    assert cache.spec["backbone"]["preprocess"] == "rescale"
    assert cache.spec["backbone"]["layer"] == "block4_pool"
    assert cache.embedding_shape == (2, 2, 512)
    assert cache.spec["decoding"]["jpeg_reduction"] == 0
    assert cache.spec["backbone"]["weights_seed"] == 3
    assert cache.dtype == np.float32
    assert cache.classes == ("PNEUMONIA", "NORMAL")
    assert set(cache.images["group"]) == {"NORMAL", "PNEUMONIA"}
    assert len(cache.shard_names) == 3


def test_without_a_way_to_weights_featx_mini_is_named_and_never_taken(
    data: Path, tmp_path: Path, featx: Featx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    arguments = ["extract", data, "--cache", tmp_path / "cache", "--input-size", "32"]
    answer = featx(*arguments, "--backbone", "vgg16")
    assert answer.code == 1
    assert answer.error == (
        "featx: error: the ImageNet weights of vgg16 can't be downloaded (no network). Give "
        "--weights a file or random (untrained), put the file into the folder that "
        "FEATX_WEIGHTS_DIR names, or extract with --backbone featx-mini, whose weights come with "
        "featx."
    )
    assert not (tmp_path / "cache").exists()
    answer = featx(*arguments, "--backbone", "featx-mini", "--copies", "0")
    assert answer.code == 0
    assert open_cache(tmp_path / "cache").spec["backbone"]["weights"] == "trained"


def test_damaged_weights_of_featx_mini_end_it_with_one_line(
    data: Path, tmp_path: Path, featx: Featx, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.weights.h5"
    copy.write_bytes(_mini.MINI_FILE.read_bytes()[:-1])
    monkeypatch.setattr(_mini, "MINI_FILE", copy)
    answer = featx("extract", data, "--cache", tmp_path / "cache", "--backbone", "featx-mini")
    assert answer.code == 1
    assert answer.error.startswith(f"featx: error: the weights of featx-mini in {copy} are damaged")
    assert not (tmp_path / "cache").exists()


def test_classes_choose_two_of_three(data: Path, tmp_path: Path, featx: Featx) -> None:
    (data / "COVID").mkdir()
    Image.new("L", (40, 40)).save(data / "COVID" / "x.png")
    arguments = ["extract", data, "--cache", tmp_path / "cache", *FAST, "--copies", "0"]
    assert featx(*arguments, "--classes", "PNEUMONIA,COVID").code == 0
    assert open_cache(tmp_path / "cache").classes == ("PNEUMONIA", "COVID")


def test_a_process_of_its_own_writes_the_table_to_standard_output_alone(
    data: Path, tmp_path: Path, run_featx: RunFeatx
) -> None:
    result = run_featx(["extract", "data", "--cache", "cache", *FAST], cwd=tmp_path)
    assert result.returncode == 0
    assert cells(result.stdout)["embeddings"] == "18"
    # Nothing of what TensorFlow's libraries log on their way in.
    said = [line for line in result.stderr.splitlines() if not re.search("images?/s, ", line)]
    assert len(said) == 5, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data"]
    assert data.exists()
