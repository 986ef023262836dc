"""Bad input for `featx extract` and `featx cache`: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from featx_cache import open_cache
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity

if TYPE_CHECKING:
    from tests.conftest import MakeDisk, RunFeatx

FAST = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
FAST += ["--precision", "float32", "--copies", "0"]


def draw(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 40), value).save(path, "PNG")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images a class."""
    for number, name in enumerate(("A/0.png", "A/1.png", "B/2.png", "B/3.png")):
        draw(tmp_path / "data" / name, 60 * number)
    return tmp_path / "data"


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder with the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def assert_refused(code: int, out: str, err: str, message: str) -> None:
    """Assert exit code 2 and one line of error, the last, that has `message` in it."""
    assert code == 2, err
    lines = err.splitlines()
    assert lines[-1].startswith("featx: error: ")
    assert message in lines[-1]
    assert sum("error" in line.lower() for line in lines) == 1, err
    assert "Traceback" not in err + out


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
        self,
        data: Path,
        tmp_path: Path,
        featx: Callable[..., tuple[int, str, str]],
        spoil: Callable[[Path], None],
        message: str,
    ) -> None:
        spoil(data)
        before = tree(tmp_path)
        code, out, err = featx("extract", data, "--cache", tmp_path / "cache", *FAST)
        assert_refused(code, out, err, message)
        assert out == ""
        assert tree(tmp_path) == before

    def test_tensorflow_is_not_loaded_for_it(self, data: Path, tmp_path: Path) -> None:
        missing(data)
        program = (
            "import sys; from featx_cli.__main__ import _run; code = _run(sys.argv[1:])\n"
            "assert code == 2 and 'tensorflow' not in sys.modules"
        )
        command = ["extract", str(data), "--cache", str(tmp_path / "cache"), *FAST]
        subprocess.run([sys.executable, "-c", program, *command], check=True)


@pytest.fixture
def featx(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which saves loading TensorFlow."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = _run([str(argument) for argument in arguments])
        finally:
            set_verbosity(Verbosity.NORMAL)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


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
        self,
        data: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        text: str,
        message: str,
    ) -> None:
        draw(tmp_path / "x.png", 7)
        (data / "link.png").symlink_to(tmp_path / "x.png")
        (data / "m.csv").write_text(text)
        before = tree(tmp_path)
        code = _run(["extract", str(data / "m.csv"), "--cache", str(tmp_path / "cache"), *FAST])
        out, err = capfd.readouterr()
        assert_refused(code, out, err, message)
        assert tree(tmp_path) == before

    def test_what_cannot_be_read_is_skipped_with_a_reason(
        self, data: Path, tmp_path: Path, run_featx: RunFeatx, monkeypatch: pytest.MonkeyPatch
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
        result = run_featx(["extract", data / "m.csv", "--cache", tmp_path / "cache", *FAST])
        assert result.returncode == 0, result.stderr
        opened = open_cache(tmp_path / "cache")
        assert opened.images["path"].tolist() == names[:4]
        assert list(opened.skipped) == names[4:]
        assert "900000000 pixels) exceeds limit of 178956970 pixels" in opened.skipped["huge.png"]
        assert "Warning" not in result.stderr


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
        self,
        data: Path,
        tmp_path: Path,
        featx: Callable[..., tuple[int, str, str]],
        options: list[str],
        message: str,
    ) -> None:
        before = tree(tmp_path)
        code, out, err = featx("extract", data, "--cache", tmp_path / "cache", *FAST, *options)
        assert_refused(code, out, err, message)
        assert out == ""
        assert tree(tmp_path) == before

    def test_without_a_cache_the_option_is_named(
        self, data: Path, featx: Callable[..., tuple[int, str, str]]
    ) -> None:
        code, out, err = featx("extract", data)
        assert_refused(code, out, err, "Missing option '--cache'. See `featx extract --help`.")

    def test_as_a_process_it_is_the_same(
        self, data: Path, tmp_path: Path, run_featx: RunFeatx
    ) -> None:
        before = tree(tmp_path)
        arguments = ["extract", data, "--cache", tmp_path / "cache", "--copies", "-1"]
        result = run_featx(arguments)
        assert_refused(result.returncode, result.stdout, result.stderr, "--copies can't be -1")
        assert len(result.stderr.splitlines()) == 1
        assert tree(tmp_path) == before

    def test_debug_shows_the_traceback(self, data: Path, run_featx: RunFeatx) -> None:
        result = run_featx(["--debug", "extract", data, "--cache", "c", "--batch-size", "0"])
        assert result.returncode != 0
        assert "Traceback" in result.stderr
        assert "InputError" in result.stderr


class TestTarget:
    def test_with_other_things_in_it_is_refused(
        self, data: Path, tmp_path: Path, featx: Callable[..., tuple[int, str, str]]
    ) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "letter.txt").write_text("Dear mum,")
        before = tree(tmp_path)
        code, out, err = featx("extract", data, "--cache", tmp_path / "cache", *FAST)
        assert_refused(code, out, err, "cache is not empty and not a featx cache")
        assert tree(tmp_path) == before

    def test_that_is_a_file_is_refused(
        self, data: Path, tmp_path: Path, featx: Callable[..., tuple[int, str, str]]
    ) -> None:
        (tmp_path / "cache").write_text("text")
        before = tree(tmp_path)
        for target in ("cache", "cache/below"):
            code, out, err = featx("extract", data, "--cache", tmp_path / target, *FAST)
            assert_refused(code, out, err, "file")
        assert tree(tmp_path) == before

    def test_that_is_read_only_is_refused(
        self, data: Path, read_only_folder: Path, featx: Callable[..., tuple[int, str, str]]
    ) -> None:
        for target in (read_only_folder, read_only_folder / "cache"):
            code, out, err = featx("extract", data, "--cache", target, *FAST)
            assert_refused(code, out, err, "no permission to write")
        assert tree(read_only_folder) == {}

    def test_made_with_other_settings_is_refused_and_left_alone(
        self,
        phantom_data: Path,
        tiny_cache: Path,
        tmp_path: Path,
        featx: Callable[..., tuple[int, str, str]],
    ) -> None:
        shutil.copytree(tiny_cache, tmp_path / "cache")
        before = tree(tmp_path)
        code, out, err = featx("extract", phantom_data, "--cache", tmp_path / "cache", *FAST)
        assert_refused(code, out, err, "made with other settings (augmentation.copies: 1 -> 0)")
        assert tree(tmp_path) == before

    @pytest.mark.timeout(200)
    def test_on_a_full_disk_is_refused_and_filled_after_making_room(
        self,
        phantom_data: Path,
        tiny_cache: Path,
        small_disk: MakeDisk,
        featx: Callable[..., tuple[int, str, str]],
    ) -> None:
        disk = small_disk("1m")
        (disk / "ballast").write_bytes(bytes(1024 * 1024 - 60_000))
        cache = disk / "cache"
        arguments = ["extract", phantom_data, "--cache", cache, *FAST[:-1], "1"]
        arguments += ["--shard-rows", "20"]
        assert_refused(*featx(*arguments), "no room left on the disk")
        kept = {p.name: p.stat().st_mtime_ns for p in (cache / "shards").iterdir()}
        assert 0 < len(kept) < 4
        assert {path.name for path in cache.iterdir()} == {"shards", "spec.json"}
        assert all(name.endswith(".h5") for name in kept)

        assert_refused(*featx("cache", "info", cache), "is unfinished")

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
        self,
        tmp_path: Path,
        featx: Callable[..., tuple[int, str, str]],
        command: str,
        kind: str,
        message: str,
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
        before = tree(tmp_path)
        code, out, err = featx("cache", command, target)
        assert_refused(code, out, err, message)
        assert out == ""
        assert tree(tmp_path) == before

    def test_as_a_process_it_is_the_same(self, tmp_path: Path, run_featx: RunFeatx) -> None:
        result = run_featx(["cache", "info", tmp_path])
        assert_refused(result.returncode, result.stdout, result.stderr, "is not a featx cache")
        assert len(result.stderr.splitlines()) == 1

    def test_verify_names_a_truncated_shard(
        self, tiny_cache: Path, tmp_path: Path, featx: Callable[..., tuple[int, str, str]]
    ) -> None:
        cache = tmp_path / "cache"
        shutil.copytree(tiny_cache, cache)
        shard = sorted((cache / "shards").glob("*.h5"))[2]
        shard.write_bytes(shard.read_bytes()[:-500])
        before = tree(tmp_path)
        code, out, err = featx("cache", "verify", cache)
        assert_refused(code, out, err, "1 of 4 shards in")
        assert "Run the same `featx extract` command again" in err
        assert [shard.name in line for line in out.splitlines()] == [True]
        assert tree(tmp_path) == before
        # `info` reads no embeddings and still answers.
        assert featx("cache", "info", cache)[0] == 0


def test_a_pipe_that_is_closed_early_is_no_error(tiny_cache: Path) -> None:
    command = f"{sys.executable} -m featx cache info {tiny_cache} | head -c 1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
    assert "error" not in result.stderr.lower()
