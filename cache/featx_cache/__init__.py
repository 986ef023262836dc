"""The embedding cache: HDF5 shards under one virtual index. Needs h5py, NumPy and pandas only.

`open_cache` reads a finished cache; `write_shard` and `write_index` make one. Nothing is imported
before it is used, so that errors can be caught without loading HDF5.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx_cache.cache import Cache, open_cache
    from featx_cache.claims import Claims
    from featx_cache.errors import (
        DamagedShardError,
        FeatxError,
        InputError,
        NotACacheError,
        SpecMismatchError,
        StorageError,
    )
    from featx_cache.files import (
        NotRegularFileError,
        atomic_folder,
        atomic_path,
        make_folder,
        open_regular,
        remove_leftovers_of,
        storage_errors,
    )
    from featx_cache.index import (
        IMAGE_COLUMNS,
        INDEX_NAME,
        SHARDS_NAME,
        TEXT,
        Labelling,
        RowPlaces,
        write_index,
    )
    from featx_cache.lazy import LazyEmbeddings, all_finite
    from featx_cache.outputs import is_stream, output_path
    from featx_cache.shards import RowKeys, read_keys, shard_name, verify_shard, write_shard
    from featx_cache.turns import WORKING_SECONDS, alone

_PLACES = {
    "cache": ("Cache", "open_cache"),
    "claims": ("Claims",),
    "errors": (
        "DamagedShardError",
        "FeatxError",
        "InputError",
        "NotACacheError",
        "SpecMismatchError",
        "StorageError",
    ),
    "files": (
        "NotRegularFileError",
        "atomic_folder",
        "atomic_path",
        "make_folder",
        "open_regular",
        "remove_leftovers_of",
        "storage_errors",
    ),
    "index": (
        "IMAGE_COLUMNS",
        "INDEX_NAME",
        "SHARDS_NAME",
        "TEXT",
        "Labelling",
        "RowPlaces",
        "write_index",
    ),
    "lazy": ("LazyEmbeddings", "all_finite"),
    "outputs": ("is_stream", "output_path"),
    "shards": ("RowKeys", "read_keys", "shard_name", "verify_shard", "write_shard"),
    "turns": ("WORKING_SECONDS", "alone"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "IMAGE_COLUMNS",
    "INDEX_NAME",
    "SHARDS_NAME",
    "TEXT",
    "WORKING_SECONDS",
    "Cache",
    "Claims",
    "DamagedShardError",
    "FeatxError",
    "InputError",
    "Labelling",
    "LazyEmbeddings",
    "NotACacheError",
    "NotRegularFileError",
    "RowKeys",
    "RowPlaces",
    "SpecMismatchError",
    "StorageError",
    "all_finite",
    "alone",
    "atomic_folder",
    "atomic_path",
    "is_stream",
    "make_folder",
    "open_cache",
    "open_regular",
    "output_path",
    "read_keys",
    "remove_leftovers_of",
    "shard_name",
    "storage_errors",
    "verify_shard",
    "write_index",
    "write_shard",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'featx_cache' has no attribute {name!r}")
    return getattr(importlib.import_module(f"featx_cache.{_MODULES[name]}"), name)
