"""Two `featx extract` on one cache at once: no shard twice, nothing lost, even if one is killed."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone, load_backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx_cache import open_cache
from tests.processes import Command, Server

ROWS_PER_SHARD = 5


def start(commands: Server, data: Path, cache: Path) -> Command:
    """Start extracting four copies into shards of one training image each."""
    options = ["--backbone", "vgg16", "--weights", "random", "--input-size", "96"]
    # Small batches, so that neither claims much ahead of what it computes.
    options += ["--precision", "float32", "--shard-rows", str(ROWS_PER_SHARD), "--batch-size", "1"]
    return commands.start("extract", data, "--cache", cache, *options)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The network of the commands."""
    return load_backbone("vgg16", weights="random", input_size=96, precision="float32")


def number(name: str, out: str) -> int:
    found = re.search(rf"{name} +(\d+)", out)
    return int(found.group(1)) if found else 0


def assert_whole(cache: Path, data: Path, backbone: Backbone, alone: Path) -> None:
    extract(
        load_manifest(data),
        alone,
        backbone,
        options=ExtractionOptions(rows_per_shard=ROWS_PER_SHARD, batch_size=1),
    )
    one, other = open_cache(cache), open_cache(alone)
    assert one.shard_names == other.shard_names
    assert len(list((cache / "shards").iterdir())) == len(one.shard_names)
    assert all(error is None for _, error in one.verify())
    rows = np.arange(len(one.rows))
    np.testing.assert_array_equal(one.read(rows), other.read(rows))


@pytest.mark.timeout(200)
def test_they_share_the_work(
    commands: Server, phantom_data: Path, backbone: Backbone, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    pair = [start(commands, phantom_data, cache) for _ in range(2)]
    assert [each.wait() for each in pair] == [0, 0], [each.err for each in pair]
    computed = [number("computed now", each.out) for each in pair]
    total = number("embeddings", pair[0].out)
    assert sum(computed) == total, "no row was computed twice"
    assert_whole(cache, phantom_data, backbone, tmp_path / "alone")


@pytest.mark.long
@pytest.mark.timeout(200)
def test_when_one_is_killed_the_other_does_its_share(
    commands: Server, phantom_data: Path, backbone: Backbone, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    victim, survivor = (start(commands, phantom_data, cache) for _ in range(2))
    deadline = time.monotonic() + 120
    claimed = f"pid={victim.pid}\n"
    while True:
        assert time.monotonic() < deadline
        assert victim.works, "it ended before it was killed"
        locks = list((cache / "shards").glob(".*.lock")) if cache.exists() else []
        try:
            if any(claimed in lock.read_text() for lock in locks):
                break
        except OSError:  # a claim that was given back meanwhile
            continue
        time.sleep(0.001)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    assert survivor.wait() == 0, survivor.err
    assert number("embeddings", survivor.out) > 0
    assert_whole(cache, phantom_data, backbone, tmp_path / "alone")
