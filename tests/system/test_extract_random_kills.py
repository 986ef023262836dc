"""`extract` killed at random moments: each time all that was finished is whole and stays."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx_cache import open_cache
from featx_cache._shards import verify_shard

ROWS_PER_SHARD = 5
# Loading TensorFlow takes longer than the whole job here, so it is done once, and each job is a
# process forked before TensorFlow has started a thread.
PROGRAM = """
import os, sys
import keras, tensorflow
from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        data, cache = line.rstrip("\\n").split("|")
        backbone = load_backbone("vgg16", weights="random", input_size=32, precision="float32")
        print("begins", flush=True)
        options = ExtractionOptions(rows_per_shard=ROWS)
        extract(load_manifest(data), cache, backbone, options=options)
        os._exit(0)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print("status", status, flush=True)
""".replace("ROWS", str(ROWS_PER_SHARD))


class Jobs:
    """Extractions in processes that can be killed."""

    def __init__(self, data: Path, cache: Path, log: Path) -> None:
        self._line = f"{data}|{cache}\n"
        with log.open("ab") as file:
            self._server = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def _read(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline().strip()
        assert line, "the server of jobs has ended"
        return line

    def run(self, kill_after: float | None) -> tuple[bool, float]:
        """Run a job, kill it after so many seconds of work. Say whether it was killed, and when."""
        assert self._server.stdin is not None
        self._server.stdin.write(self._line)
        self._server.stdin.flush()
        lines = {self._read(), self._read()}
        (pid,) = (int(line) for line in lines if line.isdigit())
        assert "begins" in lines
        started = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it may be done already
                os.kill(pid, signal.SIGKILL)
        status = self._read()
        assert status in ("status 0", f"status {int(signal.SIGKILL)}")
        return status != "status 0", time.monotonic() - started

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)


def shards(cache: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of last change of each finished shard."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (cache / "shards").glob("shard-*.h5")
    }


@pytest.mark.parametrize("goal", [8, pytest.param(100, marks=pytest.mark.torture)])
def test_the_cache_equals_an_uninterrupted_one(
    phantom_data: Path, tiny_ncnn: Backbone, tmp_path: Path, goal: int
) -> None:
    cache, log, chance = tmp_path / "cache", tmp_path / "log", random.Random(7)
    extract(
        load_manifest(phantom_data),
        tmp_path / "uninterrupted",
        tiny_ncnn,
        options=ExtractionOptions(rows_per_shard=ROWS_PER_SHARD),
    )
    expected = open_cache(tmp_path / "uninterrupted")
    rows = np.arange(len(expected.rows))
    jobs = Jobs(phantom_data, cache, log)
    killed, _ = jobs.run(None)
    assert not killed
    shutil.rmtree(cache)
    killed, whole = jobs.run(None)  # the second is what a job takes without warming up
    assert not killed
    kills, with_work = 0, 0
    finished: dict[str, tuple[int, int] | None] = {}
    while kills < goal:
        if (cache / "index.h5").exists():  # finished: begin anew
            shutil.rmtree(cache)
            finished.clear()
        killed, _ = jobs.run(chance.uniform(0.0, whole * 0.6))
        after = shards(cache) if cache.exists() else {}
        for name in after:
            verify_shard(cache / "shards" / name)
        assert {name: after.get(name) for name in finished} == finished
        with_work += killed and len(after) > len(finished)
        kills += killed
        finished = dict(after)
    assert with_work >= goal // 4, "most kills came before or after the work"
    killed, _ = jobs.run(None)
    assert not killed
    jobs.close()
    one = open_cache(cache)
    assert one.shard_names == expected.shard_names
    assert one.images.equals(expected.images)
    assert one.rows.equals(expected.rows)
    np.testing.assert_array_equal(one.read(rows), expected.read(rows))
    assert not list(cache.rglob("*.tmp"))
    assert not list((cache / "shards").glob(".*"))
