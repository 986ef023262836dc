"""A small cache of random numbers: for examples, and to try code out."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pandas as pd

from featx_cache._cache import Cache
from featx_cache._index import SHARDS_NAME, Provenance, RowLocations, write_index
from featx_cache._shards import RowKeys, shard_name, write_shard

CLASSES = ("NORMAL", "PNEUMONIA")
EMBEDDING_SHAPE = (2, 2, 8)
_BACKBONE = {"name": "vgg19", "layer": "block5_pool", "weights": "random", "weights_seed": 0}
_SPEC = {
    "backbone": _BACKBONE | {"weights_sha256": "0" * 64, "input_size": 64},
    "augmentation": {"copies": 1},
}


def example_cache(patients: int = 36, *, seed: int = 0) -> Cache:
    """Make a small cache of random embeddings, without images and without a network.

    Heads can be fitted on it: the embeddings of the two classes differ a little. It lies in a
    temporary folder, which is removed when the cache is no longer used.

    Parameters
    ----------
    patients
        Number of patients. Each has two images, and four of six patients are in the split train.
        Images of that split have one augmented copy.
    seed
        Seed of the random numbers.

    Examples
    --------
    >>> from featx_cache import example_cache
    >>> cache = example_cache(patients=12)
    >>> cache
    Cache(vgg19 with random weights, 24 images, 40 embeddings of 2x2x8 float16)
    >>> cache.counts().loc["train"].to_dict()
    {'NORMAL': 8, 'PNEUMONIA': 8}
    """
    path = Path(tempfile.mkdtemp(prefix="featx-"))
    random = np.random.default_rng(seed)
    patient = np.arange(patients).repeat(2)
    label = patient % 2
    split = np.array(["train"] * 4 + ["val", "test"], object)[patient // 2 % 6]
    names = [f"{s}/{CLASSES[c]}/{n}.png" for n, (s, c) in enumerate(zip(split, label, strict=True))]
    images = pd.DataFrame(
        {
            "path": names,
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
            "label": np.array(CLASSES, object)[label],
            "split": split,
            "group": [f"patient{number}" for number in patient],
        }
    )
    copies = np.where(split == "train", 2, 1)
    image = np.arange(len(images)).repeat(copies)
    copy = np.concatenate([np.arange(number) for number in copies]).astype(np.int16)
    signal = label[image, None, None, None] * (np.arange(EMBEDDING_SHAPE[-1]) < 4)
    embeddings = random.normal(size=(len(image), *EMBEDDING_SHAPE)) + signal
    spec = json.dumps(_SPEC)
    keys = RowKeys.of(list(zip(images["sha256"].iloc[image], copy.tolist(), strict=True)))
    shard, row = shard_name(spec, keys), np.arange(len(image), dtype=np.int32)
    (path / SHARDS_NAME).mkdir()
    write_shard(path / SHARDS_NAME / shard, embeddings.astype(np.float16), keys, spec=spec)
    locations = RowLocations(image, copy, np.zeros_like(row), row, [shard])
    write_index(path, images, locations, Provenance(CLASSES, {}, "random"), spec=spec)
    cache = Cache(path)
    weakref.finalize(cache, shutil.rmtree, path, ignore_errors=True)
    return cache
