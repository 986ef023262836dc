"""The quick benchmarks still run. What they measure is for docs/, not for tests."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compression(tiny_cache: Path) -> None:
    out = run("compression.py", tiny_cache, "--rows", "240", "--rounds", "1")
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")] == [
        "compression",
        "---",
        "none",
        "lzf",
        "gzip",
    ]


@pytest.mark.long
def test_a_million_records_in_small() -> None:
    out = run("scale.py", "--part", "million", "--records", "2000")
    for step in ("building the index", "`featx cache info`", "opening for training"):
        assert f"| {step} | " in out


@pytest.mark.parametrize(
    ("script", "option"),
    [
        ("extract.py", "--rounds"),
        ("study.py", "--epochs"),
        ("explain.py", "--images"),
        ("localize.py", "measure"),
        ("frontal.py", "--others"),
        ("serve.py", "latency"),
    ],
)
def test_the_long_ones_find_all_that_they_import(
    script: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(BENCHMARKS)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert not ended.value.code
    assert option in capsys.readouterr().out


@pytest.mark.long
def test_tuning(tiny_cache: Path) -> None:
    out = run("tune.py", tiny_cache, "--trials", "5", "--floor", "0.5", "--sleeps", "6")
    assert "| 5 trials of the threshold of logreg | s | ratio |" in out
    assert "| 4 | " in out
