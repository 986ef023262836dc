"""`featx extract` killed again and again: nothing finished is lost, nothing half is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx_cache import open_cache

KILLS = 3
ROWS_PER_SHARD = 5
# Whoever starts the tests in the background makes Python ignore Ctrl-C; here it has to count.
PROGRAM = (
    "import runpy, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "runpy.run_module('featx', run_name='__main__', alter_sys=True)\n"
)


def start(data: Path, cache: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start extracting four copies into shards of one training image each."""
    command = [sys.executable, "-c", PROGRAM, "extract", str(data), "--cache", str(cache)]
    command += ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
    command += ["--precision", "float32", "--shard-rows", str(ROWS_PER_SHARD)]
    # A signal that arrives while coverage holds its own lock would leave it waiting for that lock.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def shards(cache: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of last change of each finished shard."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").glob("*.h5")
    }


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, f"it ended before it was killed: {log.read_text()}"
        assert time.monotonic() < deadline, "it makes no shards"
        time.sleep(0.002)


def leftovers(cache: Path) -> list[Path]:
    return list(cache.rglob("*.tmp"))


@pytest.mark.timeout(280)
def test_cache_after_kills_equals_an_uninterrupted_one(
    phantom_data: Path, tiny_ncnn: Backbone, tmp_path: Path
) -> None:
    cache, log, chance = tmp_path / "cache", tmp_path / "log", random.Random(20)
    finished: dict[str, tuple[int, int]] = {}
    grown = 0
    for kill in range(KILLS):
        process = start(phantom_data, cache, log)
        new = chance.randint(0, 3)
        if new == 0:  # while it starts, or looks at what there is
            time.sleep(chance.uniform(0.2, 4.0))
        else:
            goal = len(finished) + new
            wait_for(lambda goal=goal: len(shards(cache)) >= goal, process, log)  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.03))
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"kill {kill} came too late"
        after = shards(cache)
        assert {name: after.get(name) for name in finished} == finished
        grown += len(after) > len(finished)
        finished = after
    assert grown >= KILLS // 2
    assert not (cache / "index.h5").exists()

    process = start(phantom_data, cache, log)
    assert process.wait(120) == 0, log.read_text()
    after = shards(cache)
    assert {name: after[name] for name in finished} == finished
    assert len(after) > len(finished)
    assert leftovers(cache) == []
    assert "Traceback" not in log.read_text()

    extract(
        load_manifest(phantom_data),
        tmp_path / "uninterrupted",
        tiny_ncnn,
        options=ExtractionOptions(rows_per_shard=ROWS_PER_SHARD),
    )
    one, other = open_cache(cache), open_cache(tmp_path / "uninterrupted")
    assert set(after) == set(shards(tmp_path / "uninterrupted"))
    assert one.spec == other.spec
    assert one.images.equals(other.images)
    assert one.rows.equals(other.rows)
    rows = np.arange(len(one.rows))
    np.testing.assert_array_equal(one.read(rows), other.read(rows))
    assert all(error is None for _, error in one.verify())


@pytest.mark.parametrize(
    ("number", "exit_code", "message"),
    [
        (signal.SIGTERM, 143, None),
        (signal.SIGINT, 130, "featx: error: interrupted. Finished work is kept. Run the same"),
    ],
)
def test_a_polite_stop_leaves_no_temporary_file(
    phantom_data: Path, tmp_path: Path, number: signal.Signals, exit_code: int, message: str | None
) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    process = start(phantom_data, cache, log)
    wait_for(lambda: len(shards(cache)) >= 2, process, log)
    process.send_signal(number)
    assert process.wait(60) == exit_code, log.read_text()
    assert leftovers(cache) == []
    assert not (cache / "index.h5").exists()
    text = log.read_text()
    assert "Traceback" not in text
    if message:
        assert text.splitlines()[-1].startswith(message)
