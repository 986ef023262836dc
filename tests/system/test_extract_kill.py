"""An extraction that is killed goes on where it stopped, and ends like one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featx_cache import open_cache

KILLS = 3


def command(data: Path, cache: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "featx", "-q", "extract", str(data), "--cache", str(cache)),
        *("--backbone", "vgg16", "--weights", "random", "--input-size", "32"),
        *("--precision", "float32", "--copies", "12", "--shard-rows", "13"),
    ]


def shards(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (cache / "shards").glob("shard-*.h5")}


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.name.endswith(".tmp")]


def wait_for_shards(process: subprocess.Popen[bytes], cache: Path, count: int) -> None:
    """Wait until some shards are finished, or the process is."""
    deadline = time.monotonic() + 120
    while process.poll() is None and len(shards(cache)) < count and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def uninterrupted(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("whole") / "cache"
    subprocess.run(command(phantom_data, cache), check=True, capture_output=True, timeout=200)
    return cache


def test_killed_again_and_again_the_cache_is_equal_row_for_row(
    phantom_data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    chance = random.Random(0)
    total, killed = len(shards(uninterrupted)), 0
    for kill in range(KILLS):
        before = shards(cache)
        target = max(len(before) + 1, (kill + 1) * total // (KILLS + 2))
        process = subprocess.Popen(
            command(phantom_data, cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_shards(process, cache, target)
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        killed += process.wait(60) == -signal.SIGKILL
        after = shards(cache)
        assert before.items() <= after.items(), "a finished shard was computed again"
    assert killed >= KILLS // 2
    kept = shards(cache)
    subprocess.run(command(phantom_data, cache), check=True, capture_output=True, timeout=200)
    assert kept.items() <= shards(cache).items()
    assert leftovers(cache) == []
    one, other = open_cache(uninterrupted), open_cache(cache)
    pd.testing.assert_frame_equal(one.images, other.images)
    pd.testing.assert_frame_equal(one.rows, other.rows)
    everything = np.arange(len(one.rows))
    assert np.array_equal(one.read(everything), other.read(everything))
    assert [error for _, error in other.verify() if error] == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_polite_signal_leaves_no_temporary_file(
    phantom_data: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        command(phantom_data, cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    wait_for_shards(process, cache, 2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert leftovers(cache) == []
    assert b"Traceback" not in stderr
