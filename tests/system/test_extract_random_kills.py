"""`extract` killed at random moments: each time all that was finished is whole and stays."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx_cache import open_cache
from featx_cache._shards import verify_shard
from tests.processes import Server

ROWS_PER_SHARD = 5
PROGRAM = f"""
import sys
from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
data, cache = sys.argv[1:]
backbone = load_backbone("vgg16", weights="random", input_size=32, precision="float32")
print("begins", flush=True)
options = ExtractionOptions(rows_per_shard={ROWS_PER_SHARD})
extract(load_manifest(data), cache, backbone, options=options, progress=False)
"""


def run(
    commands: Server, data: Path, cache: Path, kill_after: float | None = None
) -> tuple[bool, float]:
    """Run a job, kill it after so many seconds of work. Say whether it was killed, and when."""
    command = commands.start(data, cache, program=PROGRAM)
    while "begins" not in command.out:
        assert command.works, command.err
        time.sleep(0.005)
    started = time.monotonic()
    if kill_after is not None:
        time.sleep(kill_after)
        command.kill()
    assert command.wait() in (0, -signal.SIGKILL), command.err
    return command.code != 0, time.monotonic() - started


def shards(cache: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of last change of each finished shard."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").glob("shard-*.h5")
    }


@pytest.mark.long
@pytest.mark.parametrize("goal", [8, pytest.param(100, marks=pytest.mark.torture)])
def test_the_cache_equals_an_uninterrupted_one(
    commands: Server, phantom_data: Path, tiny_ncnn: Backbone, tmp_path: Path, goal: int
) -> None:
    cache, chance = tmp_path / "cache", random.Random(7)
    extract(
        load_manifest(phantom_data),
        tmp_path / "uninterrupted",
        tiny_ncnn,
        options=ExtractionOptions(rows_per_shard=ROWS_PER_SHARD),
    )
    expected = open_cache(tmp_path / "uninterrupted")
    rows = np.arange(len(expected.rows))
    killed, _ = run(commands, phantom_data, cache)
    assert not killed
    shutil.rmtree(cache)
    killed, whole = run(
        commands, phantom_data, cache
    )  # the second is what a job takes without warming up
    assert not killed
    kills, with_work = 0, 0
    finished: dict[str, tuple[int, int] | None] = {}
    while kills < goal:
        if (cache / "index.h5").exists():  # finished: begin anew
            shutil.rmtree(cache)
            finished.clear()
        killed, _ = run(commands, phantom_data, cache, chance.uniform(0.0, whole * 0.6))
        after = shards(cache) if cache.exists() else {}
        for name in after:
            verify_shard(cache / "shards" / name)
        assert {name: after.get(name) for name in finished} == finished
        with_work += killed and len(after) > len(finished)
        kills += killed
        finished = dict(after)
    assert with_work >= goal // 4, "most kills came before or after the work"
    killed, _ = run(commands, phantom_data, cache)
    assert not killed
    one = open_cache(cache)
    assert one.shard_names == expected.shard_names
    assert one.images.equals(expected.images)
    assert one.rows.equals(expected.rows)
    np.testing.assert_array_equal(one.read(rows), expected.read(rows))
    assert not list(cache.rglob("*.tmp"))
    assert not list((cache / "shards").glob(".*"))
