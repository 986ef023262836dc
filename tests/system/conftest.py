"""Commands that are refused and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featx_cli.__main__ import _run

Refused = Callable[..., str]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must fail and change nothing. Return its last line."""

    def run(*arguments: object, code: int = 2) -> str:
        before = tree(tmp_path)
        capfd.readouterr()
        assert _run([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert tree(tmp_path) == before
        return last_line(err)

    return run


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of everything below a folder."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        size = status.st_size if path.is_file() else 0
        found[str(path)] = (size, status.st_mtime_ns if path.is_file() else 0)
    return found


def last_line(err: str) -> str:
    """Return the last line, which is the only one that is an error."""
    lines = err.splitlines()
    assert lines[-1].startswith("featx: error: ")
    assert sum("error" in line.lower() for line in lines) == 1
    assert "Traceback" not in err
    return lines[-1].removeprefix("featx: error: ")
