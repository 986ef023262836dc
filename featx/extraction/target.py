"""The cache folder while it is being filled: who may, with which spec, and what is taken away."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from featx.backbones import STANDARDIZATION_NAME, Standardization
from featx.errors import DamagedShardError, InputError
from featx.extraction.spec import ExtractionSpec
from featx.specs import require_equal
from featx_cache import (
    INDEX_NAME,
    SHARDS_NAME,
    Claims,
    alone,
    atomic_path,
    make_folder,
    open_regular,
    remove_leftovers,
    storage_errors,
    verify_shard,
)

SPEC_NAME = "spec.json"
OTHER_SETTINGS = "Use the same settings, or another --cache folder."
INDEX_SECONDS = 600.0
"""How long to wait for somebody who writes the index: of a million images it takes a minute."""
_LOCK_NAME = ".lock"
"""Of earlier versions."""
_OWN_NAMES = (SPEC_NAME, STANDARDIZATION_NAME, _LOCK_NAME)


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Prepare a cache folder; take away what this call created if it achieved nothing.

    Several commands may fill one folder at once: what they share is claimed shard by shard.

    Raises
    ------
    InputError
        When the folder is a file, or has other things in it.
    StorageError
        When it can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", "Give --cache a folder.")
    shards = folder / SHARDS_NAME
    new = [path for path in (shards, folder, *folder.parents) if not path.exists()]
    _refuse_foreign(folder)
    try:
        make_folder(shards)
        Claims(shards).sweep()
        yield
    finally:
        if new and not any(shards.glob("*shard-*")):
            for name in _OWN_NAMES:
                with contextlib.suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()


@contextlib.contextmanager
def index_lock(folder: Path) -> Iterator[None]:
    """Keep others from writing the index, or agreeing on a spec, for the length of a block.

    By a claim, which needs no locks of the file system: some network file systems have none.
    """
    with storage_errors(folder), alone(folder / INDEX_NAME, wait=INDEX_SECONDS):
        remove_leftovers(folder)
        yield


def agree_on_spec(folder: Path, spec: ExtractionSpec) -> None:
    """Write down what fills a cache, so that nobody fills it with something else meanwhile.

    Raises
    ------
    SpecMismatchError
        When the folder has shards by other settings, or someone is making some.
    """
    path = folder / SPEC_NAME
    with index_lock(folder):
        written = _read_json(path)
        mine = spec.model_dump(mode="json")
        if written == mine:
            return
        if written is not None and any((folder / SHARDS_NAME).glob("*shard-*")):
            require_equal(
                f"the cache {folder} is being made with other settings",
                written,
                mine,
                OTHER_SETTINGS,
            )
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(mine, indent=2) + "\n")


def keep_standardization(folder: Path, standardization: Standardization) -> None:
    """Put down what the network's input was standardized with; a run takes it along."""
    path = folder / STANDARDIZATION_NAME
    with index_lock(folder):
        if not path.is_file():
            standardization.save(path)


def discard(damaged: list[Path]) -> int:
    """Delete damaged shards, unless someone else has repaired them by now; count the deleted."""
    deleted = 0
    for path in damaged:
        with Claims(path.parent).held(path.name) as mine:
            if mine and path.exists() and not _is_whole(path):
                with storage_errors(path):
                    path.unlink()
                deleted += 1
    return deleted


def _is_whole(path: Path) -> bool:
    try:
        verify_shard(path)
    except DamagedShardError:
        return False
    return True


def _read_json(path: Path) -> dict[str, object] | None:
    """Read an object; None where there is none, or only a damaged one, which is then replaced."""
    try:
        with open_regular(path) as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_foreign(folder: Path) -> None:
    """Refuse to fill a folder that has something else in it."""
    if not folder.is_dir() or (folder / SHARDS_NAME).is_dir() or (folder / INDEX_NAME).exists():
        return
    if any(path.name not in _OWN_NAMES for path in folder.iterdir()):
        raise InputError(
            f"{folder} is not empty and not a featx cache", "Give --cache a new folder."
        )
