"""`featx extract` killed again and again: nothing finished is lost, nothing half is kept."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx_cache import open_cache
from tests.processes import Command, Server

KILLS = 3
ROWS_PER_SHARD = 5


def start(commands: Server, data: Path, cache: Path) -> Command:
    """Start extracting four copies into shards of one training image each."""
    options = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
    options += ["--precision", "float32", "--shard-rows", str(ROWS_PER_SHARD)]
    return commands.start("extract", data, "--cache", cache, *options)


def shards(cache: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of last change of each finished shard."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").glob("*.h5")
    }


def wait_for(condition: Callable[[], bool], command: Command) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert command.works, f"it ended before it was killed: {command.err}"
        assert time.monotonic() < deadline, "it makes no shards"
        time.sleep(0.002)


def leftovers(cache: Path) -> list[Path]:
    return list(cache.rglob("*.tmp"))


@pytest.mark.timeout(280)
def test_cache_after_kills_equals_an_uninterrupted_one(
    commands: Server, phantom_data: Path, tiny_ncnn: Backbone, tmp_path: Path
) -> None:
    cache, chance = tmp_path / "cache", random.Random(20)
    finished: dict[str, tuple[int, int]] = {}
    grown = 0
    for kill in range(KILLS):
        command = start(commands, phantom_data, cache)
        new = chance.randint(0, 3)
        if new == 0:  # while it starts, or looks at what there is
            time.sleep(chance.uniform(0.1, 1.0))
        else:
            goal = len(finished) + new
            wait_for(lambda goal=goal: len(shards(cache)) >= goal, command)  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.03))
        command.kill()
        assert "Traceback" not in command.err
        assert command.wait() == -signal.SIGKILL, f"kill {kill} came too late"
        after = shards(cache)
        assert {name: after.get(name) for name in finished} == finished
        grown += len(after) > len(finished)
        finished = after
    assert grown >= KILLS // 2
    assert not (cache / "index.h5").exists()

    command = start(commands, phantom_data, cache)
    assert command.wait() == 0, command.err
    after = shards(cache)
    assert {name: after[name] for name in finished} == finished
    assert len(after) > len(finished)
    assert leftovers(cache) == []
    assert "Traceback" not in command.err

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
    commands: Server,
    phantom_data: Path,
    tmp_path: Path,
    number: signal.Signals,
    exit_code: int,
    message: str | None,
) -> None:
    cache = tmp_path / "cache"
    command = start(commands, phantom_data, cache)
    wait_for(lambda: len(shards(cache)) >= 2, command)
    command.send_signal(number)
    assert command.wait(60) == exit_code, command.err
    assert leftovers(cache) == []
    assert not (cache / "index.h5").exists()
    assert "Traceback" not in command.err
    if message:
        assert command.err.splitlines()[-1].startswith(message)
