"""Out-of-fold scores that were computed once and are kept on disk, without pickle."""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx._archives import require_modest
from featx.errors import FeatxError
from featx_cache.files import atomic_path

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True)
class HeadScores:
    """Out-of-fold scores of one setting of a head, and the seconds of fitting all folds."""

    scores: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True, slots=True)
class ScoreStore:
    """A folder with one ``.npz`` file for each key, which processes share.

    Two processes that compute the same key write the same scores: the last file stays.
    """

    folder: Path

    def path(self, key: str) -> Path:
        """Return the path of the scores of a key, which needn't be there."""
        return self.folder / f"{key}{SUFFIX}"

    def read(self, key: str) -> HeadScores | None:
        """Return the scores of a key. None if there are none, or the file is damaged."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            require_modest(path)
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = HeadScores(arrays["scores"].astype(np.float64), float(arrays["seconds"]))
                return found if found.scores.ndim == 1 and np.isfinite(found.scores).all() else None
        except (OSError, FeatxError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
            return None

    def write(self, key: str, found: HeadScores) -> None:
        """Write scores whole or not at all. On a full disk they are computed again."""
        with contextlib.suppress(OSError, FeatxError):
            self.folder.mkdir(exist_ok=True)
            with atomic_path(self.path(key)) as temporary, temporary.open("wb") as file:
                np.savez(file, scores=found.scores, seconds=np.array(found.seconds))
