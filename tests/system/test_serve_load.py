"""The service under load. The benchmark has the long form, and prints what is checked here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.test_benchmarks import run

IMAGES = 400
MAX_GROWTH = 1.1


def table(text: str) -> list[dict[str, str]]:
    """Read a table in Markdown."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    names, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.long
def test_clients_at_once_lose_nothing_and_memory_stays(tiny_ncnn_run: Path) -> None:
    (found,) = table(run("serve.py", "load", tiny_ncnn_run, "--images", str(IMAGES)))
    assert found["images"] == str(IMAGES)
    assert int(found["sent"]) > IMAGES
    assert (found["lost"], found["doubled"], found["out of order"]) == ("0", "0", "0")
    assert float(found["growth, answering"]) < MAX_GROWTH
    assert float(found["growth, scoring"]) < MAX_GROWTH


def test_a_long_list() -> None:
    found = table(run("serve.py", "list", "--images", "2000"))
    assert [row["question"] for row in found][:2] == ["open the folder", "newest 500"]
