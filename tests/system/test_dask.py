"""`--engine dask`: the same cache, bit for bit, by other processes, even when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from featx.backbones import load_backbone
from featx.data import load_manifest
from featx.errors import FeatxError, InputError
from featx.extraction import ExtractionOptions, extract
from featx.extraction._engines import DaskEngine, _dask_failures
from featx.images import AugmentationSpec
from featx_cache import open_cache
from featx_cli.__main__ import _run
from tests.ports import free_port, listens

if TYPE_CHECKING:
    from tests.conftest import RunFeatx

pytest.importorskip("distributed", reason="Dask isn't installed: pip install 'featx[dask]'")

FAST = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32", "--runtime", "ncnn"]
FAST += ["--batch-size", "8", "--shard-rows", "9", "--copies", "8", "--augment", "study"]


@pytest.fixture(scope="module")
def local(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache of the local engine."""
    cache = tmp_path_factory.mktemp("local") / "cache"
    extract(
        load_manifest(phantom_data),
        cache,
        load_backbone("vgg16", weights="random", input_size=32, runtime="ncnn"),
        augmentation=AugmentationSpec(copies=8),
        options=ExtractionOptions(batch_size=8, rows_per_shard=9),
    )
    return cache


def assert_same(one: Path, other: Path) -> None:
    a, b = open_cache(one), open_cache(other)
    assert a.shard_names == b.shard_names
    assert a.images.equals(b.images)
    rows = np.arange(len(a.rows))
    np.testing.assert_array_equal(a.read(rows), b.read(rows))
    assert not [path for path in other.rglob(".*") if path.name != ".lock"]


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_a_local_cluster_makes_the_same_and_ends(
    phantom_data: Path, local: Path, tmp_path: Path, run_featx: RunFeatx
) -> None:
    command = ["extract", phantom_data, "--cache", tmp_path / "c", *FAST, "--engine", "dask"]
    done = run_featx([*command, "--workers", "2"])
    assert done.returncode == 0, done.stderr
    assert "distributed" not in done.stderr, "the workers' own log is of no use to the user"
    assert_same(local, tmp_path / "c")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_shard_of_a_killed_worker_is_made_by_another(
    phantom_data: Path, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a cluster that the command starts and ends itself."""
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "featx", "extract", str(phantom_data), "--cache", str(cache)]
    command += [*FAST, "--engine", "dask", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    victim = 0
    while not victim:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        # A claim names the process that is making the shard at this moment.
        for lock in (cache / "shards").glob(".*.lock") if cache.exists() else ():
            try:
                lines = lock.read_text().splitlines()
            except OSError:
                continue
            victim = next((int(x[4:]) for x in lines if x.startswith("pid=")), 0)
        time.sleep(0.005)
    assert victim != process.pid
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert_same(local, cache)
    assert out
    assert _run([*command[3:-4], "--engine", "dask"]) == 0
    assert "computed now 0" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A scheduler and a worker that someone started by hand."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    python = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen(
        [*python, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    worker = subprocess.Popen(
        [*python, "worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    while not listens(port):
        assert scheduler.poll() is None
        time.sleep(0.05)
    yield address
    for process in (worker, scheduler):
        process.terminate()
        process.wait(30)


@pytest.mark.timeout(600)
def test_a_scheduler_of_one_s_own_is_used(
    phantom_data: Path, local: Path, tmp_path: Path, cluster: str
) -> None:
    cache = tmp_path / "cache"
    command = ["extract", str(phantom_data), "--cache", str(cache), *FAST]
    assert _run([*command, "--engine", "dask", "--scheduler", cluster]) == 0
    assert_same(local, cache)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tcp://:x"])
def test_a_scheduler_that_is_not_there_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.extraction._engines.CONNECT_SECONDS", 1)
    with (
        pytest.raises(InputError, match=r"no Dask scheduler at .* `dask scheduler`"),
        DaskEngine(address)._client(),
    ):
        pass


def test_a_cluster_whose_workers_keep_dying_is_one_line() -> None:
    import distributed

    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://10.0.0.5:8786"))
    with (
        pytest.raises(FeatxError, match=r"tcp://10\.0\.0\.5:8786 died .*lower `batch_size`"),
        _dask_failures(client),
    ):
        raise distributed.KilledWorker("task", None, 3)
    with pytest.raises(InputError, match="has no workers"), _dask_failures(client):
        raise TimeoutError


def test_without_dask_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match=r"pip install 'featx\[dask\]'"),
        DaskEngine()._client(),
    ):
        pass
