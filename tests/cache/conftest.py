"""A cache of a few rows, made without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from featx_cache._index import Provenance, RowLocations, write_index
from featx_cache._shards import RowKeys, shard_name, write_shard

SHAPE = (3, 3, 8)
SPEC = json.dumps({"backbone": {"name": "none"}, "seed": 1})


class Sample(NamedTuple):
    """A cache, and what it must give back."""

    folder: Path
    images: pd.DataFrame
    pairs: list[tuple[str, int]]
    embeddings: NDArray[np.float16]
    shards: list[str]


MakeCache = Callable[[Path], Sample]


@pytest.fixture
def made(tmp_path: Path) -> Sample:
    """Six images, the four of train with two copies each, in three shards out of index order."""
    return make_cache(tmp_path / "cache")


def make_cache(folder: Path) -> Sample:
    (folder / "shards").mkdir(parents=True)
    images = pd.DataFrame(
        {
            "path": [f"train/A/{n} ß\u4e2d.png" for n in range(4)]
            + ["val/A/4.png", "test/B/5.png"],
            "sha256": [hashlib.sha256(str(n).encode()).hexdigest() for n in range(6)],
            "label": ["A", "B", "A", "B", "A", "B"],
            "split": ["train"] * 4 + ["val", "test"],
            "group": [f"patient{n // 2}" for n in range(6)],
        }
    )
    rows = [(n, c) for n in range(4) for c in range(3)] + [(4, 0), (5, 0)]
    pairs = [(images["sha256"][image], copy) for image, copy in rows]
    random = np.random.default_rng(7)
    embeddings = random.normal(size=(len(rows), *SHAPE)).astype(np.float16)
    # Row numbers in each shard: neither in order nor contiguous, as after many changes to the data.
    contents = [[0, 1, 2, 9, 10, 11], [12, 5, 4, 3], [13, 6, 7, 8]]
    shard, shard_row = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    names = []
    for number, content in enumerate(contents):
        keys = RowKeys.of([pairs[row] for row in content])
        names.append(shard_name("fingerprint", keys))
        write_shard(folder / "shards" / names[-1], embeddings[content], keys, spec=SPEC)
        shard[content], shard_row[content] = number, range(len(content))
    places = RowLocations(
        image=np.array([image for image, _ in rows], np.int64),
        copy=np.array([copy for _, copy in rows], np.int16),
        shard=shard,
        shard_row=shard_row,
        shards=names,
    )
    labelling = Provenance(("A", "B"), {"train/A/bad.png": "the file is empty"}, "random", "/data")
    write_index(folder, images, places, labelling, spec=SPEC)
    return Sample(folder, images, pairs, embeddings, names)
