"""Caches made without a network, and a run on the tiny cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from featx.extraction import ExtractionSpec
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx_cache import Cache, open_cache
from featx_cache._index import TEXT, Provenance, RowLocations, write_index
from featx_cache._shards import RowKeys, shard_name, write_shard

CLASSES = ("NORMAL", "PNEUMONIA")
SHAPE = (2, 2, 8)
BACKBONE = {
    "name": "vgg16",
    "weights": "trained",
    "weights_sha256": "0" * 64,
    "input_size": 64,
    "layer": "block5_pool",
    "precision": "float32",
}


@dataclass
class Contents:
    """Contents of a cache. A test may change it before it is written.

    Attributes
    ----------
    images
        Columns path, sha256, label, split, group.
    image, copy
        Image and copy of each row.
    embeddings
        Embedding of each row, float32. It is stored as float16.
    """

    images: pd.DataFrame
    image: NDArray[np.int64]
    copy: NDArray[np.int16]
    embeddings: NDArray[np.float32]

    def rows(self, **wanted: str) -> NDArray[np.intp]:
        """Rows of the images whose columns have the values given."""
        chosen = np.ones(len(self.images), bool)
        for column, value in wanted.items():
            chosen &= (self.images[column] == value).to_numpy()
        return np.flatnonzero(chosen[self.image])


Change = Callable[[Contents], None]


class MakeCache(Protocol):
    """See `make_cache`."""

    def __call__(
        self,
        folder: Path,
        *,
        patients: int = 24,
        copies: int = 1,
        change: Change | None = None,
        backbone: dict[str, Any] | None = None,
        classes: tuple[str, str] = CLASSES,
    ) -> Cache:
        """Write a cache and open it."""


def contents(patients: int, copies: int) -> Contents:
    """Make two images a patient. Of six patients of a class one is in val and one in test."""
    random = np.random.default_rng(0)
    number = np.arange(2 * patients)
    patient, view = number // 2, number % 2
    label = np.array(CLASSES, dtype=object)[patient % 2]
    split = np.array(["train"] * 4 + ["val", "test"], dtype=object)[patient // 2 % 6]
    path = [
        f"{s}/{c}/p{p:02}-{v}.png" for s, c, p, v in zip(split, label, patient, view, strict=True)
    ]
    images = pd.DataFrame(
        {
            "path": path,
            "sha256": [hashlib.sha256(p.encode()).hexdigest() for p in path],
            "label": label,
            "split": split,
            "group": [f"p{p:02}" for p in patient],
        },
        dtype=TEXT,
    )
    each = np.where(split == "train", copies + 1, 1)
    image = number.repeat(each)
    copy = np.concatenate([np.arange(n) for n in each]).astype(np.int16)
    signal = 0.6 * (patient % 2)[:, None, None, None] * (np.arange(SHAPE[-1]) < 3)
    own = random.normal(0, 0.7, (patients, 1, 1, SHAPE[-1]))[patient]
    embeddings = signal + own + random.normal(0, 0.5, (len(number), *SHAPE))
    rows = embeddings[image]
    rows[copy > 0] += random.normal(0, 0.1, (int((copy > 0).sum()), *SHAPE))
    return Contents(images, image, copy, rows.astype(np.float32))


@pytest.fixture(scope="session")
def make_cache() -> MakeCache:
    """Write a cache of two shards: 24 patients with two images each, one copy of those of train."""

    def make(
        folder: Path,
        *,
        patients: int = 24,
        copies: int = 1,
        change: Change | None = None,
        backbone: dict[str, Any] | None = None,
        classes: tuple[str, str] = CLASSES,
    ) -> Cache:
        made = contents(patients, copies)
        if change is not None:
            change(made)
        spec = ExtractionSpec.model_validate(
            {"backbone": BACKBONE | (backbone or {}), "augmentation": {"copies": copies}}
        )
        return write(folder, made, spec, classes)

    return make


def write(folder: Path, made: Contents, spec: ExtractionSpec, classes: tuple[str, str]) -> Cache:
    (folder / "shards").mkdir(parents=True)
    sha256 = made.images["sha256"].to_numpy()[made.image]
    shard = (np.arange(len(made.image)) % 2).astype(np.int32)
    names = []
    for number in (0, 1):
        rows = np.flatnonzero(shard == number)
        keys = RowKeys.of([(sha256[row], int(made.copy[row])) for row in rows])
        names.append(shard_name(spec.fingerprint, keys))
        content = made.embeddings[rows].astype(np.float16)
        write_shard(folder / "shards" / names[-1], content, keys, spec=spec.canonical_json())
    shard_row = (np.arange(len(made.image)) // 2).astype(np.int32)
    places = RowLocations(made.image, made.copy, shard, shard_row, names)
    labelling = Provenance(classes, {}, weights="/nowhere/vgg16.weights.h5", data="/nowhere")
    write_index(folder, made.images, places, labelling, spec=spec.canonical_json())
    return open_cache(folder)


@pytest.fixture(scope="session")
def small_network() -> Callable[..., Any]:
    """Build a network of one layer. Tracing the study's takes seconds a fit."""

    def build_network(shape: tuple[int, ...], _: Any, seed: int, **options: Any) -> Any:  # noqa: ARG001
        from keras import Input, Sequential, initializers, layers

        start = initializers.GlorotUniform(seed)
        out = layers.Dense(1, "sigmoid", kernel_initializer=start)
        return Sequential([Input(shape), *([layers.Flatten()] if len(shape) > 1 else []), out])

    return build_network


@pytest.fixture
def one_layer(small_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the Keras head that network."""
    monkeypatch.setattr("featx.heads._keras_head.build_network", small_network)


@pytest.fixture(scope="session")
def cache(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """The made cache as it is. Only read it."""
    return make_cache(tmp_path_factory.mktemp("made") / "cache")


@pytest.fixture(scope="session")
def fitted(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> FittedRun:
    """A logistic regression on the made cache. Copy the run before a change."""
    run: Path = tmp_path_factory.mktemp("made-run") / "logreg"
    return fit(cache, HeadSpec.choose("logreg"), run, accuracy_floor=0.6)
