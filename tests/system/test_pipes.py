"""Pipes where files should be: nothing waits for somebody who never writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from featx._archives import require_modest
from featx._progress import SILENT
from featx._run import load_run
from featx.backbones._standardization import load_standardization
from featx.data._dicom import own_salt
from featx.data._npz import arrays_in
from featx.data._tables import read_table
from featx.errors import FeatxError
from featx.extraction._cache_folder import _read_json
from featx.heads._own_layers import read_head_config
from featx.tuning._storage import StudyLocation, drop_torn_line, open_storage
from featx_cache import open_cache
from featx_cache._hdf5 import opened
from featx_cache._shards import verify_shard

pytestmark = pytest.mark.timeout(60)

READERS: dict[str, Callable[[Path], object]] = {
    "m.parquet": lambda path: read_table(path, SILENT),
    "standardization.npz": load_standardization,
    "images.npz": arrays_in,
    "model.keras": require_modest,
    "head.yaml": read_head_config,
    "index.h5": lambda path: open_cache(path.parent),
    "shard-1.h5": verify_shard,
    "weights.h5": lambda path: opened(path).__enter__(),
    "run.json": lambda path: load_run(path.parent),
    "study.journal": lambda path: open_storage(StudyLocation(path.parent, None, "run")),
    "study.journal ": lambda path: drop_torn_line(path),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_it(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises((FeatxError, OSError)):
        READERS[name](tmp_path / name)


def test_a_spec_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spec.json")
    assert _read_json(tmp_path / "spec.json") is None


def test_a_salt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATX_SALT", raising=False)
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path)
    os.mkfifo(tmp_path / "salt")
    with pytest.raises(FeatxError, match="salt"):
        own_salt()
