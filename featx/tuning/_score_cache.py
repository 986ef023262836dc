"""Arrays that were computed once and are kept on disk, without pickle."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib._store_backends import CacheWarning, FileSystemStoreBackend

from featx._archives import require_modest

_BACKEND = "featx-npz"
RESULT_NAME = "result.npz"


class NpzStore(FileSystemStoreBackend):  # type: ignore[misc]
    """joblib's store in a folder, but for results that are dicts of arrays: ``.npz`` files.

    joblib would pickle them, and featx reads no pickle (design, decision 6).
    """

    def load_item(
        self, call_id: list[str], verbose: int = 1, timestamp: Any = None, metadata: Any = None
    ) -> dict[str, Any]:
        """Read a result.

        Raises
        ------
        KeyError
            When it isn't there.
        """
        del verbose, timestamp, metadata
        path = Path(self.location, *call_id, RESULT_NAME)
        if not path.is_file():
            raise KeyError(f"{path} does not exist")
        require_modest(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def dump_item(self, call_id: list[str], item: dict[str, Any], verbose: int = 1) -> None:
        """Write a result whole or not at all; without room on the disk it is computed again."""
        del verbose
        folder = Path(self.location, *call_id)
        temporary = folder / f"{RESULT_NAME}.{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, **item)
            temporary.replace(folder / RESULT_NAME)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            warnings.warn(f"{folder} can't be written: {error}", CacheWarning, stacklevel=2)

    def contains_item(self, call_id: list[str]) -> bool:
        """Say whether a result is there."""
        return Path(self.location, *call_id, RESULT_NAME).is_file()


joblib.register_store_backend(_BACKEND, NpzStore)


def memory_at(folder: Path) -> joblib.Memory:
    """Return a joblib memory whose results, dicts of arrays, lie in a folder as ``.npz`` files."""
    return joblib.Memory(str(folder), backend=_BACKEND, verbose=0)
