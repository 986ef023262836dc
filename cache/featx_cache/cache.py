"""Reading a finished cache: tables, embeddings, facts, and a check of every byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx_cache.errors import DamagedShardError, FeatxError, InputError, NotACacheError
from featx_cache.index import DETAILS_NAME, FORMAT, IMAGE_COLUMNS, INDEX_NAME, SHARDS_NAME, TEXT
from featx_cache.lazy import LazyEmbeddings
from featx_cache.shards import read_embeddings, verify_shard

_TEXTS_AT_ONCE = 65_536


class Cache:
    """A folder of embeddings that was finished by ``featx extract``; open it with `open_cache`.

    Attributes
    ----------
    path : Path
        The folder.
    spec : dict
        What made the embeddings: backbone, preprocessing, augmentation, precision.
    classes : tuple of (str, str)
        The negative and the positive class.
    skipped : dict of str to str
        Images that could not be read, with the reason.
    weights, data : str
        Where the backbone's weights and the images were found when the cache was made.
    images : DataFrame
        One row an image: path, sha256, label, split, group (all text).
    rows : DataFrame
        One row an embedding: image (position in `images`), copy (0 is the untouched image).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index = path / INDEX_NAME
        if not index.is_file():
            raise _not_a_cache(path)
        try:
            with h5py.File(index, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise ValueError("unknown format")
                self._read_index(file)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise NotACacheError(
                f"{index} can't be read as a featx cache index ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else 'no detail'})",
                "Delete index.h5 and run the same `featx extract` command again: "
                "finished shards are kept.",
            ) from error

    def _read_index(self, file: h5py.File) -> None:
        self.spec: dict[str, Any] = json.loads(file.attrs["spec"])
        negative, positive = json.loads(file.attrs["classes"])
        self.classes: tuple[str, str] = (negative, positive)
        self.skipped: dict[str, str] = json.loads(file["skipped"].asstr()[()])
        self.weights, self.data = str(file.attrs["weights"]), str(file.attrs["data"])
        self.images = pd.DataFrame(
            {c: pd.array(_text(file[f"images/{c}"]), dtype=TEXT) for c in IMAGE_COLUMNS}
        )
        self.rows = pd.DataFrame({c: file[f"rows/{c}"][...] for c in ("image", "copy")})
        self._shard: NDArray[np.int32] = file["rows/shard"][...]
        self._shard_row: NDArray[np.int32] = file["rows/shard_row"][...]
        self._shards: list[str] = _text(file["shards/name"]).tolist()
        self.shape: tuple[int, ...] = tuple(file["embeddings"].shape)
        self.dtype: np.dtype[np.generic] = file["embeddings"].dtype
        if any(Path(name).name != name for name in self._shards):
            raise ValueError("a shard lies outside the cache")

    @cached_property
    def details(self) -> pd.DataFrame:
        """Further columns of the manifest, one row an image; read when they are asked for.

        Such as width, height, mode, source, cause, and whatever a CSV manifest had. Empty for a
        cache that was made before there were any.
        """
        with h5py.File(self.path / INDEX_NAME, "r") as file:
            found: dict[str, Any] = {}
            for name, column in file.get(DETAILS_NAME, {}).items():
                text = column.dtype.kind == "S"
                found[name] = pd.array(_text(column), dtype=TEXT) if text else column[...]
        return pd.DataFrame(found, index=self.images.index)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """Shape of one embedding, such as (9, 9, 512)."""
        return self.shape[1:]

    def row_numbers(self, *, splits: tuple[str, ...] | None, copies: bool) -> NDArray[np.intp]:
        """Select rows by split, with or without the augmented copies.

        Parameters
        ----------
        splits
            Names such as ``("train", "val")``; None takes every split.
        copies
            False takes only copy 0, the untouched image.

        Returns
        -------
        ndarray of shape (rows,), dtype intp
            Row numbers in ascending order.

        Raises
        ------
        InputError
            When no image is in those splits.
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
        """Return embeddings, labels and patients, for anyone's own scikit-learn code.

        Parameters
        ----------
        split
            One or more; None takes every split.
        copies
            How many augmented copies of an image to take besides the untouched one, at most; None
            takes all there are.

        Returns
        -------
        X : LazyEmbeddings of shape (rows, *embedding_shape)
            Read when it is used: ``X[fold]`` reads those rows, ``np.asarray(X)`` all of them.
        y : ndarray of shape (rows,), dtype int64
            1 for the positive class.
        groups : ndarray of shape (rows,), dtype object
            The patient of each row: give it to cross-validation, so that none is split.

        Raises
        ------
        InputError
            When no image is in the split.
        """
        splits = (split,) if isinstance(split, str) else split
        rows = self.row_numbers(splits=splits, copies=copies != 0)
        if copies:
            rows = rows[self.rows["copy"].to_numpy()[rows] <= copies]
        table = self.table(rows)
        y = (table["label"] == self.classes[1]).to_numpy().astype(np.int64)
        return LazyEmbeddings(self, rows), y, table["group"].to_numpy(dtype=object)

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
            Which of `rows` these are.
        embeddings : ndarray of shape (block, *embedding_shape)

        Raises
        ------
        DamagedShardError
            When a shard is missing, truncated or unreadable.
        """
        shards = self._shard[rows]
        for shard in np.unique(shards):
            positions = np.flatnonzero(shards == shard)
            yield (
                positions,
                read_embeddings(self._shard_path(shard), self._shard_row[rows[positions]]),
            )

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.floating]:
        """Read rows into one array, in the order asked for.

        Returns
        -------
        ndarray of shape (rows, *embedding_shape)
            In the cache's own dtype (float16 unless it was made otherwise).
        """
        result = np.empty((len(rows), *self.embedding_shape), self.dtype)
        for positions, embeddings in self.blocks(rows):
            result[positions] = embeddings
        return result

    def verify(self) -> Iterator[tuple[str, FeatxError | None]]:
        """Recompute the checksum of each shard; yield its name and its error, if any."""
        for number, name in enumerate(self._shards):
            try:
                keys, spec = verify_shard(self._shard_path(number))
                error = self._contradiction(number, keys.pairs(), spec)
            except DamagedShardError as damage:
                error = damage
            yield name, error

    @property
    def shard_names(self) -> tuple[str, ...]:
        """File names of the shards."""
        return tuple(self._shards)

    def bytes_on_disk(self) -> int:
        """Size of the index and the shards in bytes."""
        files = [self.path / INDEX_NAME, *(self.path / SHARDS_NAME / n for n in self._shards)]
        return sum(file.stat().st_size for file in files if file.exists())

    def _shard_path(self, number: int) -> Path:
        return self.path / SHARDS_NAME / self._shards[number]

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
        return DamagedShardError(
            f"shard {self._shard_path(number)} holds other rows than the index says",
            "Run the same `featx extract` command again.",
        )


def open_cache(path: str | Path) -> Cache:
    """Open the cache that ``featx extract`` made in the folder `path`.

    Raises
    ------
    NotACacheError
        When the folder is missing, holds no index, or the index can't be read.
    """
    return Cache(Path(path))


def _not_a_cache(path: Path) -> NotACacheError:
    if not path.exists():
        return NotACacheError(
            f"there is no cache at {path}", "Make one with `featx extract DATA --cache CACHE`."
        )
    if (path / SHARDS_NAME).is_dir():
        return NotACacheError(
            f"the cache at {path} is unfinished",
            "Run the same `featx extract` command again: it goes on where it stopped.",
        )
    return NotACacheError(
        f"{path} is not a featx cache (it has no {INDEX_NAME})",
        "Make one with `featx extract DATA --cache CACHE`.",
    )


def _text(dataset: h5py.Dataset) -> NDArray[np.object_]:
    """Decode a column; equal texts are one object, since most columns have few different ones."""
    texts = np.empty(len(dataset), object)
    known: dict[bytes, str] = {}
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        block = dataset[start : start + _TEXTS_AT_ONCE].tolist()
        texts[start : start + len(block)] = [
            known.setdefault(value, value.decode("utf-8", "surrogateescape")) for value in block
        ]
        if len(known) > _TEXTS_AT_ONCE:  # all different: remembering them is of no use
            known.clear()
    return texts
