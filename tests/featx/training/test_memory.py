"""Memory that a process may still take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from featx.training import _memory as memory
from featx.training._memory import available_memory

LIMITED = """
import resource
from featx.training._memory import available_memory
free = available_memory()
resource.setrlimit(resource.RLIMIT_DATA, (2**34, 2**34))
large = available_memory()
resource.setrlimit(resource.RLIMIT_DATA, (2**31, 2**31))
print(large <= 2**34, available_memory() < 2**31, available_memory() > 0 or free == 0)
"""


def test_it_is_no_more_than_the_machine_has() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_a_limit_on_the_process_counts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr


def test_a_system_without_such_limits_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert 0 < available_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000", "memory.current": "400"}, 600),
        ({"memory.max": "1000", "memory.current": "400", "memory.stat": "inactive_file 50"}, 650),
        ({"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "1000"}, 0),
        ({"memory.max": "max", "memory.current": "400"}, None),
        ({}, None),
    ],
)
def test_a_control_group_s_limit_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    expected: int | None,
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    free = available_memory()
    monkeypatch.setattr(memory, "_groups", lambda: iter([tmp_path]))
    if expected is None:
        assert available_memory() > free / 2
    else:
        assert available_memory() == expected


def test_it_is_what_the_machine_has_free_where_nothing_else_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_groups", lambda: iter([]))
    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert available_memory() <= free.available


@pytest.mark.parametrize(
    ("line", "folders"),
    [
        ("0::/a/b", ["a/b", "a", ""]),
        ("4:cpu,memory:/a", ["memory/a", "memory"]),
        ("3:cpu,cpuacct:/a", []),
    ],
)
def test_groups_are_those_for_memory_and_the_ones_around_them(
    monkeypatch: pytest.MonkeyPatch, line: str, folders: list[str]
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: line + "\n")
    assert list(memory._groups()) == [memory.CGROUPS / folder for folder in folders]
