"""One process at a time on a target, and what a killed one left is taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from featx_cache import InputError, StorageError
from featx_cache.files import lock

KILLED = """
import os, signal, sys
from pathlib import Path
from featx_cache.files import _atomic, atomic_folder, lock
target = Path(sys.argv[1])
if sys.argv[2] == "between two renames":
    rename = Path.rename

    def killing(self, to):
        rename(self, to)
        if to.name.endswith(".old.tmp"):
            os.kill(os.getpid(), signal.SIGKILL)

    _atomic.swap_paths = lambda one, other: False  # as on NFS
    Path.rename = killing
with lock(target), atomic_folder(target) as folder:
    (folder / "file").write_text("half of")
    if sys.argv[2] == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_another_waits_or_is_refused_in_one_line(tmp_path: Path) -> None:
    target = tmp_path / "a" / "run"
    with lock(target):
        for wait in (0.0, 0.1):
            refused = pytest.raises(InputError, match=r"another featx is at work on .*run\. Wait")
            with refused, lock(target, wait=wait):
                pass
        with lock(tmp_path / "a" / "run.csv", wait=0.0):  # something else
            pass
    with lock(target, wait=0.0):
        pass


def test_parents_that_it_made_go_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), lock(tmp_path / "a" / "b" / "run"):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(read_only_folder: Path) -> None:
    with pytest.raises(StorageError, match="no permission"), lock(read_only_folder / "a" / "run"):
        pass


@pytest.mark.parametrize("name", ["run", "run[1] *", "rün $x"])
def test_a_killed_owner_is_followed_at_once_and_its_leftovers_go(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.mkdir()
    (target / "old").touch()
    others = {f".{name}.csv.0a1b2c3d.tmp", f".{name}.tmp", ".else.0a1b2c3d.tmp", ".lock"}
    for other in others:
        (tmp_path / other).touch()
    done = subprocess.run([sys.executable, "-c", KILLED, target, "writing"], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == len(others) + 3
    with lock(target, wait=0.0):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {name, *others}
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_folder_that_was_just_being_replaced_gets_its_name_back(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "old").touch()
    command = [sys.executable, "-c", KILLED, str(target), "between two renames"]
    assert subprocess.run(command, check=False).returncode == -9
    assert not target.exists()
    with lock(target, wait=0.0):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in target.iterdir()] == ["old"]
