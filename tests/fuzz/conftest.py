"""Limits of every reader of a hostile file: time, memory, and the folder that is its own."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import Prepared

SECONDS = 5.0
BYTES = 2**30

_TOLERANT: dict[str, Any] = {
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}
SHORT = settings(max_examples=50, derandomize=True, **_TOLERANT)
"""The same examples every time."""
LONG = settings(
    max_examples=int(os.environ.get("FEATX_FUZZ_EXAMPLES", "3000")), print_blob=True, **_TOLERANT
)

FORMS = pytest.mark.parametrize(
    "how",
    [SHORT, pytest.param(LONG, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])],
    ids=["short", "long"],
)


@dataclass(frozen=True)
class Limits:
    """Limits of a reader: it writes nothing elsewhere, and takes neither a gigabyte nor seconds."""

    folder: Path
    around: frozenset[str]

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        began, worked = time.monotonic(), time.process_time()
        with at_most(BYTES):
            yield
        assert time.process_time() - worked < SECONDS
        assert time.monotonic() - began < 6 * SECONDS  # of a machine that does other things too
        assert frozenset(os.listdir(self.folder.parent)) == self.around  # noqa: PTH208
        assert not os.listdir()  # noqa: PTH208


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let the process take so many bytes more than it has, TensorFlow's gigabytes included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Two folders side by side: ``target``, and an empty one that is the current."""
    for name in ("target", "current"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "current")
    return Limits(tmp_path / "target", frozenset({"target", "current"}))


def try_all(
    limits: Limits, how: settings, files: st.SearchStrategy[bytes], prepared: Prepared
) -> Counter[bool]:
    """Read whatever a strategy gives. Count refusals (True) and results (False).

    The long form says how many there were, in the file that ``FEATX_FUZZ_COUNTS`` names.
    """
    counts: Counter[bool] = Counter()

    @how
    @given(files)
    def check(content: bytes) -> None:
        with limits():
            counts[bool(prepared.outcome(content))] += 1

    check()
    if not how.derandomize:
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" (")[0]
        tell(f"{name}: {counts.total()} files, {counts[True]} refused, {counts[False]} read")
    return counts


def tell(what: str) -> None:
    """Add a line to the file that ``FEATX_FUZZ_COUNTS`` names, if it does."""
    with Path(os.environ.get("FEATX_FUZZ_COUNTS", os.devnull)).open("a") as file:
        file.write(f"{what}\n")
