"""Bad input to fit, evaluate and predict: one line, exit code 2, and the disk as it was.

Most run in this process, since starting another takes seconds. Two go through a process of their
own to see that nothing differs there.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache
from tests.system.conftest import Refused, last_line

if TYPE_CHECKING:
    from tests.conftest import MakeDisk
    from tests.processes import Server

LOGREG = ("--head", "logreg", "--accuracy-floor", "0.5")


@pytest.fixture(scope="session")
def other_cache(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images through the same network at another input size."""
    folder = tmp_path_factory.mktemp("other") / "cache"
    backbone = load_backbone("vgg16", weights="random", input_size=40, precision="float32")
    copies = AugmentationSpec(copies=0)
    extract(load_manifest(phantom_data), folder, backbone, augmentation=copies)
    return folder


@pytest.fixture
def cache(tiny_cache: Path, tmp_path: Path) -> Path:
    """A cache that may be damaged."""
    shutil.copytree(tiny_cache, tmp_path / "cache")
    return tmp_path / "cache"


class TestCaches:
    """Folders that are no cache: see test_bad_input_extract.py."""

    def test_a_cache_that_is_not_there(self, refused: Refused, tmp_path: Path) -> None:
        said = refused("fit", tmp_path / "gone", *LOGREG, "--run", tmp_path / "run")
        assert said.startswith(f"there is no cache at {tmp_path / 'gone'}. Make one with")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(50)])
    def test_an_index_that_is_not_one(self, refused: Refused, cache: Path, content: bytes) -> None:
        (cache / "index.h5").write_bytes(content)
        said = refused("fit", cache, *LOGREG, "--run", cache.parent / "run")
        assert f"{cache / 'index.h5'} can't be read as a featx cache index" in said

    @pytest.mark.parametrize("kept", [0, 100, 0.5])
    def test_a_truncated_shard(self, refused: Refused, cache: Path, kept: float) -> None:
        shard = sorted((cache / "shards").iterdir())[1]
        content = shard.read_bytes()
        shard.write_bytes(content[: int(kept * len(content) if kept < 1 else kept)])
        said = refused("fit", cache, *LOGREG, "--run", cache.parent / "run")
        assert f"damaged shard {shard}" in said
        assert "featx extract" in said

    def test_a_missing_shard(self, refused: Refused, cache: Path) -> None:
        shard = sorted((cache / "shards").iterdir())[0]
        shard.unlink()
        said = refused("fit", cache, *LOGREG, "--run", cache.parent / "run")
        assert f"damaged shard {shard}: the file is missing" in said

    def test_a_truncated_shard_when_evaluating(
        self, refused: Refused, cache: Path, tiny_run: Path
    ) -> None:
        for shard in (cache / "shards").iterdir():
            shard.write_bytes(shard.read_bytes()[:1000])
        said = refused("evaluate", tiny_run, cache, "--json", cache.parent / "metrics.json")
        assert "damaged shard" in said


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (("--head", "logreg", "--accuracy-floor", "1.5"), "accuracy floor 1.5 is not between"),
            (("--head", "logreg", "--accuracy-floor", "-1"), "accuracy floor -1.0 is not between"),
            (("--head", "logreg", "--accuracy-floor", "nan"), "accuracy floor nan is not between"),
            (("--head", "keras", "--epochs", "0"), "--epochs can't be 0"),
            (("--head", "logreg", "--epochs", "3"), "--epochs is for --head keras, not logreg"),
            (("--head", "lda", "--ensemble", "3"), "--ensemble is for --head keras, not lda"),
            (("--head", "keras", "--ensemble", "0"), "--ensemble can't be 0"),
            (("--head", "keras", "--copies-per-epoch", "two"), "--copies-per-epoch can't be 'two'"),
            (
                ("--head", "keras", "--set", "accuracy_target=1.5"),
                "accuracy_target can't be '1.5'",
            ),
            (("--head", "keras", "--set", "recall_target=-1"), "recall_target can't be '-1'"),
            (("--head", "keras", "--set", "optimiser=adam"), "Did you mean optimizer?"),
            (("--head", "keras", "--set", "epochs"), "--set epochs has no value"),
            (("--head", "svm", "--set", "representation=flaten"), "representation can't be"),
            (("--head", "svm", "--calibration", "platt"), "--calibration can't be 'platt'"),
            (("--head", "logreg", "--tta"), "--tta averages over stored copies"),
            (("--head", "logreg,svn"), "there is no head 'svn'. Did you mean svm?"),
            (("--head", "all", "--set", "colour=red"), "no head has a setting 'colour'"),
            (("--head", "logreg", "--seed", "-1"), "--seed can't be -1"),
            (("--head", "keras", "--precision", "float8"), "--precision can't be 'float8'"),
            (("--head", "forest"), "there is no head 'forest'. Choose one of"),
            (("--head", "svn"), "there is no head 'svn'. Did you mean svm?"),
            (("--head", "logreg", "--accuracy", "0.9"), "No such option: --accuracy"),
            ((), "Missing option '--head'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_fit(
        self,
        refused: Refused,
        tiny_cache: Path,
        tmp_path: Path,
        options: tuple[str, ...],
        complaint: str,
    ) -> None:
        assert complaint in refused("fit", tiny_cache, "--run", tmp_path / "run", *options)

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ("layers:\n  - Dens: {units: 4}\n", "Did you mean Dense?"),
            ("layers:\n  - Lambda: {function: print}\n", "layer 1 of the head is a Lambda"),
            ("layers:\n  - Dense: {unitz: 4}\n", "layer 1 of the head (Dense) can't be built"),
            ("layers:\n  - Dense: [4]\n", "the settings of layer 1 (Dense) are not a mapping"),
            ("layers: Dense\n", "layers is not a list"),
            ("layers:\n  - Dense: {units: 4}\n", "one number an image is wanted"),
            ("- epochs\n", "is not a mapping of settings"),
            ("epochs: [1\n", "line 2 is not YAML"),
            ("epoch: 3\n", "Did you mean epochs?"),
        ],
    )
    def test_a_head_config(
        self, refused: Refused, tiny_cache: Path, tmp_path: Path, content: str, complaint: str
    ) -> None:
        (tmp_path / "head.yaml").write_text(content)
        options = ("--head", "keras", "--head-config", tmp_path / "head.yaml")
        assert complaint in refused("fit", tiny_cache, "--run", tmp_path / "run", *options)
        (tmp_path / "head.yaml").unlink()
        assert "there is no head config" in refused(
            "fit", tiny_cache, "--run", tmp_path / "run", *options
        )

    def test_a_run_without_a_place(self, refused: Refused, tiny_cache: Path) -> None:
        assert "Missing option '--run'" in refused("fit", tiny_cache, *LOGREG)

    def test_an_unknown_split(self, refused: Refused, tiny_run: Path) -> None:
        said = refused("evaluate", tiny_run, "--split", "tset")
        assert "no image in split 'tset'. Its splits are: test, train, val." in said

    def test_an_unknown_format(self, refused: Refused, tiny_run: Path, phantom_data: Path) -> None:
        assert "'xml'" in refused("predict", tiny_run, phantom_data, "--format", "xml")


class TestRuns:
    @pytest.mark.parametrize("command", ["evaluate", "predict"])
    def test_a_folder_that_is_not_a_run_or_not_there(
        self, refused: Refused, phantom_data: Path, tiny_cache: Path, tmp_path: Path, command: str
    ) -> None:
        more = (phantom_data,) if command == "predict" else ()
        said = refused(command, tiny_cache, *more)
        assert f"{tiny_cache} is not a run (it has no run.json)" in said
        said = refused(command, tmp_path / "gone", *more)
        assert f"there is no run at {tmp_path / 'gone'}" in said

    @pytest.mark.parametrize("file", ["run.json", "head.skops", "training.txt"])
    def test_a_run_with_a_truncated_or_missing_file(
        self, refused: Refused, tiny_run: Path, tmp_path: Path, file: str
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run)
        content = (run / file).read_bytes()
        if file != "training.txt":
            (run / file).write_bytes(content[: len(content) // 2])
            assert str(run / file) in refused("evaluate", run)
        (run / file).unlink()
        assert file in refused("evaluate", run)

    def test_a_run_whose_cache_is_gone(self, refused: Refused, cache: Path, tmp_path: Path) -> None:
        fit(open_cache(cache), HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.5)
        shutil.rmtree(cache)
        said = refused("evaluate", tmp_path / "run")
        assert f"there is no cache at {cache}, where {tmp_path / 'run'} was fitted" in said
        assert "give `featx evaluate` or `featx report` its new folder" in said

    def test_a_run_fitted_on_another_backbone(
        self, refused: Refused, tiny_run: Path, other_cache: Path, tmp_path: Path
    ) -> None:
        said = refused("evaluate", tiny_run, other_cache, "--json", tmp_path / "metrics.json")
        assert "backbone.input_size: 32 -> 40" in said

    def test_other_weights_for_a_prediction(
        self, refused: Refused, tiny_run: Path, phantom_data: Path, tmp_path: Path
    ) -> None:
        said = refused("predict", tiny_run, phantom_data, "--weights", tmp_path / "no.h5")
        assert f"there is no weights file {tmp_path / 'no.h5'}" in said

    def test_the_images_it_was_fitted_on(self, refused: Refused, tiny_run: Path) -> None:
        assert "fitted on these very images" in refused("evaluate", tiny_run, "--split", "train")


class TestImages:
    def test_a_folder_without_images(
        self, refused: Refused, tiny_run: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "notes.txt").touch()
        said = refused("predict", tiny_run, tmp_path / "images", "--out", tmp_path / "out.csv")
        assert f"no images in {tmp_path / 'images'}" in said

    def test_a_path_that_is_not_there(
        self, refused: Refused, tiny_run: Path, phantom_data: Path, tmp_path: Path
    ) -> None:
        said = refused("predict", tiny_run, phantom_data, tmp_path / "gone.png")
        assert f"there is no image or folder {tmp_path / 'gone.png'}" in said

    def test_no_path(self, refused: Refused, tiny_run: Path) -> None:
        assert "Missing argument 'IMAGE_OR_FOLDER...'" in refused("predict", tiny_run)


class TestDisks:
    def test_a_read_only_target(
        self, refused: Refused, tiny_cache: Path, read_only_folder: Path
    ) -> None:
        run = read_only_folder / "runs" / "run"
        said = refused("fit", tiny_cache, *LOGREG, "--run", run)
        assert f"no permission to write {run}" in said
        assert not list(read_only_folder.iterdir())

    def test_a_read_only_target_for_a_report(
        self, refused: Refused, tiny_run: Path, read_only_folder: Path
    ) -> None:
        said = refused("evaluate", tiny_run, "--json", read_only_folder / "new" / "m.json")
        assert "no permission to write" in said
        assert not list(read_only_folder.iterdir())

    @pytest.mark.parametrize("room", [0, 8, 40])
    def test_a_full_disk(
        self, refused: Refused, tiny_cache: Path, small_disk: MakeDisk, room: int
    ) -> None:
        """It fills up at the first file, at the head, or later: nothing of the run is left."""
        disk = small_disk("256k")
        (disk / "room").write_bytes(bytes(room * 1024))
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1024))
        (disk / "room").unlink()
        run = disk / "runs" / "run"
        said = refused("fit", tiny_cache, *LOGREG, "--run", run)
        assert f"no room left on the disk while writing {run}" in said
        assert [path.name for path in disk.iterdir()] == ["filler"]

    def test_a_file_where_the_run_should_be(
        self, refused: Refused, tiny_cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("mine")
        assert "is a file" in refused("fit", tiny_cache, *LOGREG, "--run", tmp_path / "file")
        below = tmp_path / "file" / "run"
        assert "a file is in the way" in refused("fit", tiny_cache, *LOGREG, "--run", below)

    def test_a_folder_of_something_else(
        self, refused: Refused, tiny_cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "cat.jpg").touch()
        run = tmp_path / "photos"
        said = refused("fit", tiny_cache, *LOGREG, "--run", run, "--force")
        assert f"{run} is not empty and not a run" in said


class TestInAProcessOfItsOwn:
    def test_the_error_is_the_last_line_and_the_only_one(
        self, commands: Server, tmp_path: Path
    ) -> None:
        done = commands.start("fit", tmp_path, *LOGREG, "--run", tmp_path / "run")
        assert done.wait() == 2
        assert done.out == ""
        assert done.err.count("\n") == 1
        assert str(tmp_path) in last_line(done.err)
        assert not list(tmp_path.iterdir())

    def test_a_traceback_is_shown_on_demand_only(self, commands: Server, tmp_path: Path) -> None:
        done = commands.start("--debug", "evaluate", tmp_path)
        assert done.wait() != 0
        assert "Traceback" in done.err
        assert "InputError" in done.err
