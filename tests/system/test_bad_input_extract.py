"""Bad input for `featx extract` and `featx cache`: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from featx_cache import open_cache
from tests.cli.conftest import Featx, featx
from tests.system.conftest import Refused, tree

if TYPE_CHECKING:
    from tests.conftest import MakeDisk
    from tests.processes import Server

__all__ = ["featx"]

FAST = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
FAST += ["--precision", "float32", "--runtime", "tensorflow", "--copies", "0"]


def draw(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 40), value).save(path, "PNG")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images a class."""
    for number, name in enumerate(("A/0.png", "A/1.png", "B/2.png", "B/3.png")):
        draw(tmp_path / "data" / name, 60 * number)
    return tmp_path / "data"


def no_images(data: Path) -> None:
    for path in data.rglob("*.png"):
        path.unlink()


def one_class(data: Path) -> None:
    shutil.rmtree(data / "B")


def three_classes(data: Path) -> None:
    draw(data / "C" / "4.png", 5)


def no_readable_image_in_a_class(data: Path) -> None:
    (data / "B" / "2.png").write_text("no image")
    (data / "B" / "3.png").write_bytes(b"")


def a_folder_named_like_an_image(data: Path) -> None:
    (data / "A" / "x.jpeg").mkdir()


def missing(data: Path) -> None:
    shutil.rmtree(data)


def a_file(data: Path) -> None:
    shutil.rmtree(data)
    data.write_text("no folder")


class TestData:
    """Found before TensorFlow is loaded."""

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (missing, "data does not exist"),
            (a_file, "data is neither a folder nor a .csv, .tsv, .parquet or .npz file"),
            (no_images, "no images in"),
            (one_class, "two classes, and here there is 1: A"),
            (three_classes, "two classes, and here there are 3: A, B, C"),
            (no_readable_image_in_a_class, "class 'B' has no readable image"),
            (a_folder_named_like_an_image, "x.jpeg is a folder with the name of an image"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_is_refused(
        self, data: Path, refused: Refused, spoil: Callable[[Path], None], message: str
    ) -> None:
        spoil(data)
        assert message in refused("extract", data, "--cache", data.parent / "cache", *FAST)

    def test_tensorflow_is_not_loaded_for_it(self, data: Path, tmp_path: Path) -> None:
        missing(data)
        program = (
            "import sys; from featx_cli.__main__ import _run; code = _run(sys.argv[1:])\n"
            "assert code == 2 and 'tensorflow' not in sys.modules"
        )
        command = ["extract", str(data), "--cache", str(tmp_path / "cache"), *FAST]
        subprocess.run([sys.executable, "-c", program, *command], check=True)


class TestManifests:
    """Lists of images with something wrong in them: the line is named."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "m.csv is empty"),
            ("path\nA/0.png\n", "line 1: there is no column 'label'"),
            ("path,label\nA/0.png,A\nB/2.png;B\n", "line 3: 1 field, where the header has 2"),
            ("path,label\nA/0.png,A\nB/2.png,B\nA/0.png,A\n", "line 4: the path 'A/0.png' was"),
            ("path,label\nA/0.png,A\nB/2.png,B\nB/3.png,b\n", "line 4: the label 'b' is almost"),
            ("path,label\nA/0.png,A\n../x.png,B\n", "line 3: the path '../x.png' leads out of"),
            ("path,label\nA/0.png,A\n/x.png,B\n", "line 3: the path '/x.png' leads out of"),
            ("path,label\nA/0.png,A\nlink.png,B\n", "line 3: the path 'link.png' leads out of"),
        ],
        ids=["empty", "column", "separators", "twice", "case", "above", "absolute", "link"],
    )
    def test_are_refused(
        self, data: Path, tmp_path: Path, refused: Refused, text: str, message: str
    ) -> None:
        draw(tmp_path / "x.png", 7)
        (data / "link.png").symlink_to(tmp_path / "x.png")
        (data / "m.csv").write_text(text)
        assert message in refused("extract", data / "m.csv", "--cache", tmp_path / "cache", *FAST)

    def test_what_cannot_be_read_is_skipped_with_a_reason(
        self, data: Path, tmp_path: Path, commands: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        Image.new("1", (30_000, 30_000)).save(data / "huge.png")
        Image.new("1", (10_000, 10_000)).save(data / "large.png")
        (data / "empty.png").touch()
        strange = b"comma, line\nbreak \xff.png".decode(errors="surrogateescape")
        (data / "A" / "1.png").rename(data / strange)
        names = ["A/0.png", strange, "B/2.png", "large.png", "huge.png", "empty.png", "gone.png"]
        lines = [f'"{name}",{"AABABAB"[i]}' for i, name in enumerate(names)]
        text = "\n".join(["path,label", *lines])
        (data / "m.csv").write_text(text, errors="surrogateescape")
        result = commands.run("extract", data / "m.csv", "--cache", tmp_path / "cache", *FAST)
        opened = open_cache(tmp_path / "cache")
        assert opened.images["path"].tolist() == names[:4]
        assert list(opened.skipped) == names[4:]
        assert "900000000 pixels) exceeds limit of 178956970 pixels" in opened.skipped["huge.png"]
        assert "Warning" not in result.err


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--copies", "-1"], "--copies can't be -1"),
            (["--copies", "many"], "'--copies': Input should be a valid integer"),
            (["--batch-size", "0"], "--batch-size must be at least 1, not 0"),
            (["--shard-rows", "0"], "--shard-rows must be at least 1, not 0"),
            (["--seed", "-1"], "--seed can't be -1"),
            (["--rotation", "270"], "--rotation can't be 270.0"),
            (["--zoom", "1"], "--zoom can't be 1.0"),
            (["--width-shift", "nan"], "--width-shift can't be nan"),
            (["--storage-dtype", "float64"], "--storage-dtype"),
            (["--precision", "int8"], "--precision"),
            (["--on-error", "ignore"], "--on-error"),
            (["--preprocess", "zscore"], "--preprocess"),
            (["--jpeg-reduction", "-1"], "--jpeg-reduction can't be -1"),
            (["--layer", "block5_pol"], "no layer 'block5_pol'. Did you mean block5_pool"),
            (["--device", "tpu"], "no device 'tpu'. Give auto, cpu, or gpu:N"),
            (["--device", "gpu:7"], "there is no gpu:7: TensorFlow sees"),
            (["--backbone", "gone.keras"], "a saved model has its own weights"),
            (["--backbone", "gone.keras", "--weights", "imagenet"], "there is no saved model"),
            (["--engine", "dask", "--device", "gpu:0"], "--device gpu:0 is for --engine local"),
            (["--workers", "2"], "need --engine dask"),
            (["--scheduler", "tcp://10.0.0.5:8786"], "need --engine dask"),
            (["--engine", "dask", "--workers", "0"], "--workers must be at least 1, not 0"),
            (
                ["--engine", "dask", "--workers", "2", "--scheduler", "tcp://10.0.0.5:8786"],
                "--workers can't be had with --scheduler",
            ),
            (["--engine", "spark"], "--engine"),
            (["--compression", "zip"], "--compression"),
            (["--classes", "A"], "exactly two classes, and here there is 1"),
            (["--classes", "A,C"], "no class 'C' in the data. It has: A, B"),
            (["--positive", "C"], "no class 'C' in the data"),
            (["--group-regex", "("], "--group-regex '(' is not a regular expression"),
            (["--group-regex", r"(\d{9})"], "doesn't match 'A/0.png'"),
            (["--input-size", "10"], "--input-size 10 doesn't suit vgg16"),
            (["--input-size", "9999"], "--input-size 9999 is not between 1 and 4096 pixels"),
            (["--backbone", "vgg18"], "no backbone 'vgg18'. Did you mean vgg1"),
            (["--weights", "gone.h5"], "no weights file gone.h5"),
            (["--batchsize", "4"], "No such option: --batchsize"),
        ],
    )
    def test_is_refused(
        self, data: Path, refused: Refused, options: list[str], message: str
    ) -> None:
        cache = data.parent / "cache"
        assert message in refused("extract", data, "--cache", cache, *FAST, *options)

    def test_without_a_cache_the_option_is_named(self, data: Path, refused: Refused) -> None:
        said = refused("extract", data)
        assert said == "Missing option '--cache'. See `featx extract --help`."


class TestTarget:
    def test_with_other_things_in_it_is_refused(
        self, data: Path, tmp_path: Path, refused: Refused
    ) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "letter.txt").write_text("Dear mum,")
        said = refused("extract", data, "--cache", tmp_path / "cache", *FAST)
        assert "cache is not empty and not a featx cache" in said

    def test_that_is_a_file_is_refused(self, data: Path, tmp_path: Path, refused: Refused) -> None:
        (tmp_path / "cache").write_text("text")
        for target in ("cache", "cache/below"):
            assert "file" in refused("extract", data, "--cache", tmp_path / target, *FAST)

    def test_that_is_read_only_is_refused(
        self, data: Path, read_only_folder: Path, refused: Refused
    ) -> None:
        for target in (read_only_folder, read_only_folder / "cache"):
            said = refused("extract", data, "--cache", target, *FAST)
            assert "no permission to write" in said
        assert not list(read_only_folder.iterdir())

    def test_made_with_other_settings_is_refused_and_left_alone(
        self, phantom_data: Path, tiny_cache: Path, tmp_path: Path, refused: Refused
    ) -> None:
        shutil.copytree(tiny_cache, tmp_path / "cache")
        said = refused("extract", phantom_data, "--cache", tmp_path / "cache", *FAST)
        assert "made with other settings (augmentation.copies: 1 -> 0)" in said

    @pytest.mark.timeout(200)
    def test_on_a_full_disk_is_refused_and_filled_after_making_room(
        self, phantom_data: Path, tiny_cache: Path, small_disk: MakeDisk, featx: Featx
    ) -> None:
        disk = small_disk("1m")
        (disk / "ballast").write_bytes(bytes(1024 * 1024 - 60_000))
        cache = disk / "cache"
        arguments = ["extract", phantom_data, "--cache", cache, *FAST[:-1], "1"]
        arguments += ["--shard-rows", "20", "--augment", "study"]
        assert "no room left on the disk" in featx(*arguments).error
        kept = {p.name: p.stat().st_mtime_ns for p in (cache / "shards").iterdir()}
        assert 0 < len(kept) < 4
        assert {path.name for path in cache.iterdir()} == {"shards", "spec.json"}
        assert all(name.endswith(".h5") for name in kept)

        assert "is unfinished" in featx("cache", "info", cache).error
        (disk / "ballast").unlink()
        code, _, err = featx(*arguments)
        assert code == 0, err
        names = {p.name: p.stat().st_mtime_ns for p in (cache / "shards").iterdir()}
        assert {name: names[name] for name in kept} == kept
        one, other = open_cache(cache), open_cache(tiny_cache)
        assert set(one.shard_names) == set(other.shard_names)
        assert one.images.equals(other.images)


class TestCacheCommands:
    @pytest.mark.parametrize("command", ["info", "verify"])
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("missing", "there is no cache at"),
            ("folder", "is not a featx cache"),
            ("file", "is not a featx cache"),
            ("unfinished", "is unfinished"),
            ("rubbish", "can't be read as a featx cache index"),
        ],
    )
    def test_a_path_that_is_no_cache_is_refused(
        self, tmp_path: Path, refused: Refused, command: str, kind: str, message: str
    ) -> None:
        target = tmp_path / "cache"
        if kind == "file":
            target.write_text("text")
        elif kind != "missing":
            target.mkdir()
        if kind == "unfinished":
            (target / "shards").mkdir()
        if kind == "rubbish":
            (target / "index.h5").write_text("rubbish")
        assert message in refused("cache", command, target)

    def test_verify_names_a_truncated_shard(
        self, tiny_cache: Path, tmp_path: Path, featx: Featx
    ) -> None:
        cache = tmp_path / "cache"
        shutil.copytree(tiny_cache, cache)
        shard = sorted((cache / "shards").glob("*.h5"))[2]
        shard.write_bytes(shard.read_bytes()[:-500])
        before = tree(tmp_path)
        code, out, err = featx("cache", "verify", cache)
        assert code == 2
        assert "1 of 4 shards in" in err
        assert "Run the same `featx extract` command again" in err
        assert [shard.name in line for line in out.splitlines()] == [True]
        assert tree(tmp_path) == before
        # `info` reads no embeddings and still answers.
        assert featx("cache", "info", cache)[0] == 0
