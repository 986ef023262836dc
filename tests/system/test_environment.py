"""Machines as they are: full disks, odd names, no terminal, another locale, a clock set back.

(`extract` on full and read-only disks: test_bad_input_extract.py; `fit`: test_bad_input_runs.py.)
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featx._run import load_run
from featx_cache import StorageError, open_cache
from featx_cache.files import Claims, atomic_path
from featx_cache.files import _claims as claims
from tests.conftest import MakeDisk
from tests.processes import Server

FLOOR = ("--accuracy-floor", "0.5")
TINY = ("--backbone", "vgg16", "--weights", "random", "--input-size", "32", "--copies", "0")
torture = pytest.mark.torture


@pytest.fixture(scope="module")
def run(commands: Server, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, to be read."""
    run = tmp_path_factory.mktemp("environment") / "logreg"
    commands.run("fit", tiny_cache, "--head", "logreg", "--run", run, *FLOOR)
    return run


WRITERS: dict[str, Callable[[Path, Path, Path, Path], list[str | Path]]] = {
    # run, cache, data, and the folder to write to
    "fit": lambda _, cache, __, to: ["fit", cache, "--head", "lda", "--run", to / "run", *FLOOR],
    "tune": lambda _, cache, __, to: [
        "tune", cache, "--head", "logreg", "--run", to / "run", "--trials", "2", *FLOOR,
    ],
    "calibrate": lambda run, cache, __, to: ["calibrate", run, cache, "--run", to / "r", *FLOOR],
    "report": lambda run, _, __, to: ["report", run, "--out", to / "r.html", "--out-of-fold"],
    "evaluate": lambda run, _, __, to: ["evaluate", run, "--json", to / "m.json"],
    "predict": lambda run, _, data, to: ["predict", run, data / "test", "--out", to / "v.csv"],
    "data split": lambda _, __, data, to: ["data", "split", data, "--out", to / "m.csv"],
    "data show": lambda _, __, data, to: ["data", "show", data, "--out", to / "figures"],
    "explain": lambda run, _, data, to: ["explain", run, data / "test", "--out", to / "why"],
    "export": lambda run, _, __, to: ["export", run, "--onnx", to / "run.onnx"],
}  # fmt: skip
SLOW = ("data show", "explain", "export", "evaluate", "calibrate", "predict")
CASES = [pytest.param(name, marks=torture) if name in SLOW else name for name in WRITERS]


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_is_told_in_one_line_and_left_as_it_was(
    commands: Server,
    run: Path,
    tiny_cache: Path,
    phantom_data: Path,
    small_disk: MakeDisk,
    name: str,
) -> None:
    disk = small_disk("64k")
    with (
        contextlib.suppress(OSError),
        (disk / "filling").open("wb", buffering=0) as file,
    ):
        while file.write(bytes(512)):
            pass
    command = commands.start(*WRITERS[name](run, tiny_cache, phantom_data, disk))
    assert command.wait() == 2, command.err
    assert "no room left on the disk" in command.error
    assert [path.name for path in disk.iterdir()] == ["filling"]


@pytest.mark.parametrize("name", CASES)
def test_a_place_that_cannot_be_written_is_told_in_one_line(
    commands: Server,
    run: Path,
    tiny_cache: Path,
    phantom_data: Path,
    read_only_folder: Path,
    name: str,
) -> None:
    command = commands.start(*WRITERS[name](run, tiny_cache, phantom_data, read_only_folder))
    assert command.wait() == 2, command.err
    assert f"no permission to write {read_only_folder}" in command.error
    assert not list(read_only_folder.iterdir())


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    with pytest.raises(StorageError, match="name is too long"), atomic_path(target) as temporary:
        temporary.touch()


STRANGE = 'It\'s a "study" – 100 % 🫁 [1] $HOME `x` *? ünï\tcode; '
STRANGE += "x" * (200 - len(STRANGE))


def test_a_path_with_quotes_an_emoji_and_200_characters(
    commands: Server, phantom_data: Path, tmp_path: Path
) -> None:
    place = tmp_path / STRANGE
    data, cache, run = place / "data", place / "cache", place / "run"
    shutil.copytree(phantom_data, data)
    image = next((data / "test" / "NORMAL").iterdir())
    image = image.rename(image.with_name(f"{STRANGE}.png"))
    commands.run("data", "split", data, "--out", place / "m.csv")
    commands.run("extract", place / "m.csv", "--cache", cache, *TINY)
    commands.run("cache", "verify", cache)
    commands.run("fit", cache, "--head", "logreg", "--run", run, *FLOOR)
    commands.run("predict", run, image, "--format", "csv", "--out", place / "v.csv")
    commands.run("report", run, "--out", place / "r.html", "--out-of-fold")
    (row,) = csv.DictReader((place / "v.csv").open(newline=""))
    assert row["path"] == str(image)
    assert row["error"] == ""
    names = {path.name for path in place.iterdir()}
    assert not [name for name in names if name.startswith(".")]
    assert names >= {"cache", "run", "m.csv", "r.html", "r.md", "r_files", "r_model_card.md"}


def featx(*arguments: str | Path, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -m featx`` in a process of its own, however odd its surroundings."""
    command = [sys.executable, "-m", "featx", *map(str, arguments)]
    return subprocess.run(command, check=False, **more)  # type: ignore[call-overload,no-any-return]


def test_the_c_locale_shows_names_as_they_are(tiny_cache: Path, tmp_path: Path) -> None:
    cache = shutil.copytree(tiny_cache, tmp_path / "Lungen – ünï 🫁")
    # Without the ways by which Python goes round the C locale.
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = featx("cache", "info", cache, env={**os.environ, **plain}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert cache.name.encode() in done.stdout
    gone = tmp_path / "wëg"
    done = featx("cache", "info", gone, env={**os.environ, **plain}, capture_output=True)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"featx: error: there is no cache at ")


CLOSED = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.argv[1], sys.argv[1:])"


def test_without_any_terminal_input_or_output(tiny_cache: Path, tmp_path: Path) -> None:
    for cache, code in ((tiny_cache, 0), (tmp_path / "gone", 2)):
        command = [sys.executable, "-c", CLOSED, sys.executable, "-m", "featx"]
        command += ["cache", "info", str(cache)]
        done = subprocess.run(command, check=False, start_new_session=True)
        assert done.returncode == code


HOMELESS = """
import sys
from featx_cli.__main__ import _run
for line in sys.argv[1:]:
    code = _run(line.split("|"))
    assert code == 0, (line, code)
"""


@pytest.mark.long
def test_a_home_that_cannot_be_written(
    phantom_data: Path, read_only_folder: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    lines = [
        ["extract", phantom_data, "--cache", cache, *TINY],
        ["fit", cache, "--head", "logreg", "--run", run, *FLOOR],
        ["report", run, "--out", tmp_path / "r.html", "--out-of-fold"],
    ]
    unset = ("KERAS_HOME", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS, *("|".join(map(str, line)) for line in lines)],
        env={**environment, "HOME": str(read_only_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "r.html").is_file()
    assert not list(read_only_folder.iterdir())


@torture
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't pin processes")
def test_one_processor_gives_the_same_results(
    commands: Server, phantom_data: Path, tmp_path: Path
) -> None:
    for name, cpus in (("one", (min(os.sched_getaffinity(0)),)), ("all", ())):
        cache, run = tmp_path / name / "cache", tmp_path / name / "run"
        for order in (
            ["extract", phantom_data, "--cache", cache, *TINY, "--precision", "float32"],
            ["fit", cache, "--head", "logreg", "--run", run, *FLOOR],
        ):
            command = commands.start(*order, cpus=cpus)
            assert command.wait() == 0, command.err
    one, other = ((tmp_path / name / "run" / "oof.csv").read_text() for name in ("one", "all"))
    assert one == other


class TestClockSetBack:
    """All that is there is of the future."""

    def test_everything_is_read_and_replaced(
        self, commands: Server, tiny_cache: Path, run: Path, tmp_path: Path
    ) -> None:
        cache = shutil.copytree(tiny_cache, tmp_path / "cache")
        mine = shutil.copytree(run, tmp_path / "run")
        self.age(tmp_path)
        commands.run("cache", "verify", cache)
        commands.run("evaluate", mine, cache)
        commands.run("report", mine, "--out", tmp_path / "r.html", "--out-of-fold")
        self.age(tmp_path)

        commands.run("fit", cache, "--head", "lda", "--run", mine, *FLOOR, "--force")
        assert load_run(mine).record.head.name == "lda"
        assert open_cache(cache).images.equals(open_cache(tiny_cache).images)

    def test_the_claim_of_a_machine_that_is_no_more_is_taken_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "LEASE_SECONDS", 0.6)
        theirs, mine = Claims(tmp_path), Claims(tmp_path)
        assert theirs.take("shard.h5")
        lock = tmp_path / ".shard.h5.lock"
        elsewhere = lock.read_text().replace(os.uname().nodename, "elsewhere")
        theirs.release_all()
        lock.write_text(elsewhere)
        self.age(tmp_path)
        end = time.monotonic() + 20
        while not mine.take("shard.h5"):
            assert time.monotonic() < end, "it is waited for until the clock catches up"
            time.sleep(0.1)
        mine.release_all()

    @staticmethod
    def age(folder: Path) -> None:
        future = time.time() + 10 * 86_400
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (future, future))
