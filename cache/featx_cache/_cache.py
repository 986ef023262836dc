"""Reading a finished cache: tables, embeddings, facts, and a check of every byte."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx_cache._embeddings import LazyEmbeddings
from featx_cache._errors import DamagedShardError, FeatxError, InputError
from featx_cache._hdf5 import dataset, member, text_attribute
from featx_cache._index import (
    DETAILS_NAME,
    FORMAT,
    IMAGE_COLUMNS,
    INDEX_NAME,
    PARTS_NAME,
    SHARDS_NAME,
    TEXT,
)
from featx_cache._index_reader import (
    decoded_column,
    json_value,
    leads_away,
    number_column,
    own_source,
    readable_index,
    require_index,
    single_text,
    text_column,
)
from featx_cache._shards import read_embeddings, verify_shard
from featx_cache._text import plural, printable
from featx_cache.files._atomic import is_there
from featx_cache.files._outputs import output_path

MAX_EMBEDDING_SIZE = 2**28
"""Most numbers in one embedding. The largest layer of a network at 1024 pixels has 2**26."""


class Cache:
    """A folder of embeddings. `featx.extract` makes one, and `open_cache` opens it.

    Attributes
    ----------
    path : Path
        Folder of the cache.
    spec : dict
        All that made the embeddings: backbone, preprocessing, augmentation, precision.
    classes : tuple of (str, str)
        Names of the negative and the positive class.
    skipped : dict of str to str
        Images that could not be read, with the reason.
    weights, data : str
        Places where the backbone's weights and the images were when the cache was made.
    images : DataFrame
        One row an image: path, sha256, label, split, group (all text).
    rows : DataFrame
        One row an embedding: image (position in `images`), copy (0 is the untouched image).

    Examples
    --------
    >>> from featx_cache import example_cache
    >>> cache = example_cache()
    >>> cache
    Cache(vgg19 with random weights, 72 images, 120 embeddings of 2x2x8 float16)
    >>> X, y, patients = cache.to_numpy("train")
    >>> X.shape, int(y.sum()), len(set(patients))
    ((48, 2, 2, 8), 24, 24)
    >>> cache.to_frame(pooled=True).columns.tolist()[:7]
    ['path', 'sha256', 'label', 'split', 'group', 'embedding_0', 'embedding_1']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = path.absolute()  # so that it is found after a change of the working folder
        require_index(path)
        with readable_index(path / INDEX_NAME) as file:
            if text_attribute(file, "format") != FORMAT:
                raise ValueError("unknown format")
            self._read_index(file)

    def __repr__(self) -> str:
        kind = f"{_by(self.embedding_shape)} {self.dtype}"
        return (
            f"Cache({self._backbone_name()}, {plural(len(self.images), 'image')}, "
            f"{plural(len(self.rows), 'embedding')} of {kind})"
        )

    def _repr_html_(self) -> str:
        facts = {
            "cache": str(self.path),
            "backbone": self._backbone_name(),
            "embedding": f"{_by(self.embedding_shape)} {self.dtype}",
            "copies of an image": f"up to {self.rows['copy'].max()}",
            "unreadable images": f"{len(self.skipped):,}",
            "on disk": f"{self.bytes_on_disk() / 1e6:,.1f} MB",
        }
        rows = "".join(
            f"<tr><th>{name}</th><td>{html.escape(printable(value))}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>{self.counts().to_html(border=0)}"

    def _backbone_name(self) -> str:
        backbone = self.spec.get("backbone") or {}
        untrained = " with random weights" if backbone.get("weights") == "random" else ""
        return f"{backbone.get('name', 'unknown backbone')}{untrained}"

    def _read_index(self, file: h5py.File) -> None:
        self.spec: dict[str, Any] = json_value(text_attribute(file, "spec"), dict)
        negative, positive = json_value(text_attribute(file, "classes"), list)
        self.classes: tuple[str, str] = (str(negative), str(positive))
        skipped = json_value(single_text(member(file, "skipped")), dict)
        self.skipped: dict[str, str] = {path: str(why) for path, why in skipped.items()}
        self.weights, self.data = text_attribute(file, "weights"), text_attribute(file, "data")
        self.images = pd.DataFrame(
            {c: pd.array(text_column(file, f"images/{c}"), dtype=TEXT) for c in IMAGE_COLUMNS}
        )
        self._shards: list[str] = text_column(file, "shards/name").tolist()
        if any(leads_away(name) for name in self._shards):
            raise ValueError("a shard lies outside the cache")
        embeddings = dataset(file, "embeddings", "f", sources=own_source)
        self.shape: tuple[int, ...] = tuple(embeddings.shape)
        self.dtype: np.dtype[np.generic] = embeddings.dtype
        if len(self.shape) < 2 or math.prod(self.shape[1:]) > MAX_EMBEDDING_SIZE:
            raise ValueError(f"embeddings of the shape {self.shape[1:]}")
        rows = self.shape[0]
        self.rows = pd.DataFrame(
            {
                "image": number_column(file, "rows/image", rows, below=len(self.images)),
                "copy": number_column(file, "rows/copy", rows),
            }
        )
        self._shard: NDArray[np.int32] = number_column(file, "rows/shard", rows, len(self._shards))
        self._shard_row: NDArray[np.int32] = number_column(file, "rows/shard_row", rows)

    @cached_property
    def details(self) -> pd.DataFrame:
        """Further columns of the manifest, such as width and height, one row an image.

        They are read when they are asked for. Old caches have none.
        """
        with readable_index(self._folder / INDEX_NAME) as file:
            found: dict[str, Any] = {}
            for name in member(file, DETAILS_NAME) if DETAILS_NAME in file else ():
                column = dataset(file, f"{DETAILS_NAME}/{name}", "Siu", 1)
                if len(column) != len(self.images):
                    raise ValueError(f"{len(column)} values of {name}")
                text = column.dtype.kind == "S"
                found[name] = pd.array(decoded_column(column), dtype=TEXT) if text else column[...]
        return pd.DataFrame(found, index=self.images.index)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """Shape of one embedding, such as (9, 9, 512)."""
        return self.shape[1:]

    def counts(self) -> pd.DataFrame:
        """Count images by split (rows) and class (columns)."""
        counts = pd.crosstab(self.images["split"], self.images["label"])
        splits = sorted(counts.index, key=lambda name: (name != "train", name != "val", name))
        return counts.reindex(index=splits, columns=list(self.classes), fill_value=0)

    def row_numbers(self, *, splits: tuple[str, ...] | None, copies: bool) -> NDArray[np.intp]:
        """Return row numbers of some splits, or of all for None, with or without augmented copies.

        Raises
        ------
        InputError
            If no image is in those splits.
        """
        wanted = np.ones(len(self.rows), bool)
        if splits is not None:
            split = self.images["split"].to_numpy()[self.rows["image"].to_numpy()]
            wanted = np.isin(split, splits)
        if not wanted.any():
            raise InputError(
                f"{self.path} has no image in split {' or '.join(splits or ())!r}",
                f"Its splits are: {', '.join(sorted(self.images['split'].unique()))}.",
            )
        if not copies:
            wanted &= self.rows["copy"].to_numpy() == 0
        return np.flatnonzero(wanted)

    def table(self, rows: NDArray[np.intp]) -> pd.DataFrame:
        """Return path, sha256, label, split, group and copy of the given rows."""
        chosen = self.rows.iloc[rows]
        table = self.images.iloc[chosen["image"].to_numpy()].reset_index(drop=True)
        return table.assign(copy=chosen["copy"].to_numpy())

    def as_arrays(
        self, split: str | tuple[str, ...] | None = "train", *, copies: int | None = 0
    ) -> tuple[LazyEmbeddings, NDArray[np.int64], NDArray[np.object_]]:
        """Return embeddings that are read when they are used, labels and patients.

        Parameters
        ----------
        split
            Name of a split, or several names. None takes every split.
        copies
            Most augmented copies of an image besides the untouched one. None takes all.

        Returns
        -------
        X : LazyEmbeddings of shape (rows, *embedding_shape)
            ``X[fold]`` reads the rows of a fold, and ``np.asarray(X)`` reads all.
        y : ndarray of shape (rows,), dtype int64
            1 for the positive class.
        groups : ndarray of shape (rows,), dtype object
            Patient of each row. Cross-validation needs them, so that no patient is divided.

        Raises
        ------
        InputError
            If no image is in the split.
        """
        splits = (split,) if isinstance(split, str) else split
        rows = self.row_numbers(splits=splits, copies=copies != 0)
        if copies:
            rows = rows[self.rows["copy"].to_numpy()[rows] <= copies]
        table = self.table(rows)
        y = (table["label"] == self.classes[1]).to_numpy().astype(np.int64)
        return LazyEmbeddings(self, rows), y, table["group"].to_numpy(dtype=object)

    def to_numpy(
        self, split: str | tuple[str, ...] | None = None, *, copies: int | None = 0
    ) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.object_]]:
        """Read embeddings into memory, with labels and patients. See `as_arrays`."""
        X, y, groups = self.as_arrays(split, copies=copies)
        return self.read(X.rows), y, groups

    def to_frame(
        self, split: str | tuple[str, ...] | None = None, *, pooled: bool = False
    ) -> pd.DataFrame:
        """Return one row an image: path, sha256, label, split, group and further columns.

        Parameters
        ----------
        split
            See `as_arrays`.
        pooled
            Whether to add the mean of each channel over the untouched image's embedding, as the
            columns ``embedding_0``, ``embedding_1`` and so on (float32). Of embeddings of several
            layers, it is the deepest layer's.
        """
        X = self.as_arrays(split)[0]
        image = self.rows["image"].to_numpy()[X.rows]
        frames = [self.images.iloc[image], self.details.iloc[image]]
        frames = [frame.reset_index(drop=True) for frame in frames]
        if pooled:
            parts = (self.spec.get("backbone") or {}).get("parts")
            shape = parts[0]["shape"] if parts else self.embedding_shape
            means = np.empty((len(X), shape[-1]), np.float32)
            for positions, embeddings in X.blocks():
                # The deepest layer comes first.
                main = embeddings.reshape(len(positions), -1)[:, : math.prod(shape)]
                channels = main.reshape(len(positions), -1, shape[-1])
                means[positions] = channels.mean(axis=1, dtype=np.float32)
            names = [f"embedding_{number}" for number in range(means.shape[1])]
            frames.append(pd.DataFrame(means, columns=names))
        return pd.concat(frames, axis=1)

    def to_parquet(
        self,
        path: str | Path,
        *,
        split: str | tuple[str, ...] | None = None,
        pooled: bool = False,
        force: bool = False,
    ) -> None:
        """Write the table of `to_frame` as a Parquet file.

        Raises
        ------
        InputError
            If the name doesn't end in .parquet, the file is there and `force` isn't given, or a
            path in the cache isn't UTF-8.
        StorageError
            If the file can't be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".parquet":  # else `force` could replace an image, or a shard
            raise InputError(f"the table is Parquet, not {path.name!r}", "Name it .parquet.")
        if is_there(path) and not force:
            raise InputError(f"{path} exists already", "Give another file, or `force=True`.")
        frame = self.to_frame(split, pooled=pooled)
        with output_path(path, replace=force) as temporary:
            try:
                frame.to_parquet(temporary, index=False, engine="pyarrow")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"Parquet can't hold file names that aren't UTF-8 ({error.object!r})",
                    "Rename the files and extract again, or use `to_frame`.",
                ) from error

    def shard_of(self, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return the number of the shard that each row lies in."""
        return self._shard[rows]

    def blocks(
        self, rows: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]:
        """Read rows shard by shard, so that memory holds one shard at a time.

        Yields
        ------
        positions : ndarray of shape (block,), dtype intp
            Positions in `rows` of what was read.
        embeddings : ndarray of shape (block, *embedding_shape)

        Raises
        ------
        DamagedShardError
            If a shard is missing, truncated or unreadable.
        """
        shards = self._shard[rows]
        for shard in np.unique(shards):
            positions = np.flatnonzero(shards == shard)
            path = self._shard_path(shard)
            embeddings = read_embeddings(path, self._shard_row[rows[positions]])
            if embeddings.shape[1:] != self.embedding_shape or embeddings.dtype != self.dtype:
                raise _other_rows(path)
            yield positions, embeddings

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.floating]:
        """Read rows into one array, in the order asked for.

        Returns
        -------
        ndarray of shape (rows, *embedding_shape)
            Embeddings in the cache's own dtype (float16 unless it was made otherwise).
        """
        result: NDArray[np.floating] | None = None
        for positions, embeddings in self.blocks(rows):
            if result is None:  # not before a shard has shown that it is as large as the index says
                result = np.empty((len(rows), *self.embedding_shape), self.dtype)
            result[positions] = embeddings
        return np.empty((0, *self.embedding_shape), self.dtype) if result is None else result

    def verify(self) -> Iterator[tuple[str, FeatxError | None]]:
        """Recompute the checksum of each shard, and yield its name and its error or None.

        Raises
        ------
        NotACacheError
            If the virtual dataset shows data of other files than the shards.
        """
        with readable_index(self._folder / INDEX_NAME) as file:
            for part in member(file, PARTS_NAME) if PARTS_NAME in file else ():
                dataset(file, f"{PARTS_NAME}/{part}", "f", sources=own_source)
        for number, name in enumerate(self._shards):
            error: FeatxError | None
            try:
                keys, spec = verify_shard(self._shard_path(number))
                error = self._contradiction(number, keys.pairs(), spec)
            except InputError as damage:
                error = damage
            yield name, error

    @property
    def shard_names(self) -> tuple[str, ...]:
        """File names of the shards."""
        return tuple(self._shards)

    def bytes_on_disk(self) -> int:
        """Size of the index and the shards in bytes."""
        folder = self._folder
        files = [folder / INDEX_NAME, *(folder / SHARDS_NAME / n for n in self._shards)]
        return sum(file.stat().st_size for file in files if file.exists())

    def _shard_path(self, number: int) -> Path:
        return self._folder / SHARDS_NAME / self._shards[number]

    def _contradiction(
        self, number: int, pairs: list[tuple[str, int]], spec: str
    ) -> DamagedShardError | None:
        """Say whether a whole shard holds something else than the index believes."""
        rows = np.flatnonzero(self._shard == number)
        table = self.table(rows)
        believed = list(zip(table["sha256"], table["copy"].tolist(), strict=True))
        held = [pairs[i] if i < len(pairs) else None for i in self._shard_row[rows].tolist()]
        if json.loads(spec) == self.spec and believed == held:
            return None
        return _other_rows(self._shard_path(number))


def open_cache(path: str | Path) -> Cache:
    """Open the cache in a folder that `featx.extract` filled.

    Raises
    ------
    NotACacheError
        If the folder is missing, holds no index, or the index can't be read.

    Examples
    --------
    >>> from featx_cache import example_cache, open_cache
    >>> example = example_cache()
    >>> open_cache(example.path).classes
    ('NORMAL', 'PNEUMONIA')
    """
    return Cache(Path(path))


def _other_rows(shard: Path) -> DamagedShardError:
    return DamagedShardError(
        f"shard {shard} holds other rows than the index says",
        "Run `featx.extract` again.",
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
