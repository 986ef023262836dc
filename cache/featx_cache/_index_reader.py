"""Reading what an index holds, and refusing what featx wouldn't write there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from featx_cache._errors import NotACacheError
from featx_cache._hdf5 import UNREADABLE_FILE_ERRORS, OpenElsewhereError, dataset, opened
from featx_cache._index import INDEX_NAME, PARTS_NAME, SHARDS_NAME, require_unchanged
from featx_cache._text import first_line
from featx_cache.files._atomic import is_there

_TEXTS_PER_BLOCK = 65_536


def require_index(path: Path) -> None:
    """Refuse a folder without an index."""
    if is_there(path / INDEX_NAME, file=True):
        return
    if not is_there(path):
        raise NotACacheError(f"there is no cache at {path}", "Make one with `featx.extract`.")
    if (path / SHARDS_NAME).is_dir():
        raise NotACacheError(
            f"the cache at {path} is unfinished",
            "Run `featx.extract` again: it goes on where it stopped.",
        )
    raise NotACacheError(
        f"{path} is not a featx cache (it has no {INDEX_NAME})",
        "Make one with `featx.extract`.",
    )


@contextlib.contextmanager
def readable_index(index: Path) -> Iterator[h5py.File]:
    """Open an index. If HDF5 or this module complains about anything, it is none."""
    try:
        require_unchanged(index)
        with opened(index) as file:
            yield file
    except OpenElsewhereError as error:
        raise NotACacheError(
            str(error),
            "Close it there. If nothing has it open, delete index.h5 and run "
            "`featx.extract` again: finished shards are kept.",
        ) from error
    except UNREADABLE_FILE_ERRORS as error:
        raise NotACacheError(
            f"{index} can't be read as a featx cache index "
            f"({type(error).__name__}: {first_line(error)})",
            "Delete index.h5 and run `featx.extract` again: finished shards are kept.",
        ) from error


def own_source(file: str, name: str) -> bool:
    """Say whether the virtual dataset of an index may show a dataset: shards and parts only."""
    if file == ".":
        return name.lstrip("/").startswith(f"{PARTS_NAME}/")
    folder, _, shard = file.rpartition("/")
    return folder == SHARDS_NAME and not leads_away(shard)


def leads_away(name: str) -> bool:
    """Say whether a file name leads out of its folder."""
    return name in ("", ".", "..") or Path(name).name != name or "\0" in name


def json_value(text: str, kind: type) -> Any:
    """Read JSON of a kind: ``dict`` or ``list``."""
    value = json.loads(text)
    if not isinstance(value, kind):
        raise ValueError(f"{text[:40]!r} is not what featx writes there")
    return value


def single_text(held: h5py.Dataset) -> str:
    """Read a dataset of one text."""
    if held.shape != ():
        raise ValueError(f"a text of the shape {held.shape}")
    return str(held.asstr()[()])


def text_column(file: h5py.File, name: str) -> NDArray[np.object_]:
    """Read a column of text."""
    return decoded_column(dataset(file, name, "S", 1))


def number_column(
    file: h5py.File, name: str, length: int, below: int | None = None
) -> NDArray[Any]:
    """Read a column of numbers that are not negative, and below a limit if one is given."""
    column = dataset(file, name, "iu", 1)
    if len(column) != length:
        raise ValueError(f"{len(column)} values of {name}, and not {length}")
    values: NDArray[Any] = column[...]
    if length and (values.min() < 0 or (below is not None and values.max() >= below)):
        raise ValueError(f"a value of {name} is out of range")
    return values


def decoded_column(column: h5py.Dataset) -> NDArray[np.object_]:
    """Decode a column. Equal texts become one object, which saves memory."""
    texts = np.empty(len(column), object)
    known: dict[bytes, str] = {}
    for start in range(0, len(texts), _TEXTS_PER_BLOCK):
        block = column[start : start + _TEXTS_PER_BLOCK].tolist()
        texts[start : start + len(block)] = [
            known.setdefault(value, value.decode("utf-8", "surrogateescape")) for value in block
        ]
        if len(known) > _TEXTS_PER_BLOCK:  # all different: remembering them is of no use
            known.clear()
    return texts
