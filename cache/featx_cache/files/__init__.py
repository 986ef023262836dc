"""Files that appear whole or not at all, and locks between processes and machines."""

from featx_cache.files._atomic import (
    NotRegularFileError,
    atomic_folder,
    atomic_path,
    is_there,
    make_folder,
    open_regular,
    remove_leftovers_of,
    storage_errors,
)
from featx_cache.files._claims import Claims
from featx_cache.files._locks import LOCK_WAIT_SECONDS, lock
from featx_cache.files._outputs import is_stream, output_path

__all__ = [
    "LOCK_WAIT_SECONDS",
    "Claims",
    "NotRegularFileError",
    "atomic_folder",
    "atomic_path",
    "is_stream",
    "is_there",
    "lock",
    "make_folder",
    "open_regular",
    "output_path",
    "remove_leftovers_of",
    "storage_errors",
]
