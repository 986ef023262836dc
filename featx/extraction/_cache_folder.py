"""The cache folder while it is being filled: who may fill it, and which files are removed."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from featx._specs import require_equal
from featx.backbones._precision import PrecisionChoice
from featx.backbones._runtime import RuntimeChoice
from featx.backbones._standardization import STANDARDIZATION_NAME, Standardization
from featx.errors import DamagedShardError, FeatxError, InputError
from featx.extraction._spec import ExtractionSpec
from featx.images import AugmentationSpec, preset_augmentation
from featx_cache import open_cache
from featx_cache._index import INDEX_NAME, SHARDS_NAME
from featx_cache._shards import FORMAT, verify_shard
from featx_cache.files import (
    Claims,
    atomic_path,
    lock,
    make_folder,
    open_regular,
    remove_leftovers_of,
    storage_errors,
)

SPEC_NAME = "spec.json"
DEFAULT_PRESET = "shift"
"""Copies of a new cache. The stress test decided; see ``docs/results.md``."""
OTHER_SETTINGS_HINT = "Use the same settings, or another `cache` folder."
INDEX_WAIT_SECONDS = 600.0
"""Time to wait for another process that writes the index, a minute for a million images."""
_LOCK_NAME = ".lock"
"""Name of a file that earlier versions made."""
_OWN_NAMES = (SPEC_NAME, STANDARDIZATION_NAME, _LOCK_NAME)
_SHARD = re.compile(r"shard-[0-9a-f]{20}\.h5")
_SCRATCH = re.compile(
    r"\.(?:shard-[0-9a-f]{20}\.h5|index\.h5|spec\.json|standardization\.npz)\.(?:lock|[0-9a-f]).*"
)
"""Files that featx puts beside its own while it makes them."""


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Prepare a cache folder, and remove what this call created if no shard was made.

    Several commands may fill one folder at once. They claim its shards one by one.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", "Give `cache` a folder.")
    shards = folder / SHARDS_NAME
    new = [path for path in (shards, folder, *folder.parents) if not path.exists()]
    _refuse_foreign(folder)
    mine = [folder / name for name in _OWN_NAMES if not (folder / name).exists()]
    try:
        make_folder(shards)
        Claims(shards).sweep()
        yield
    finally:
        if new and not any(shards.glob("*shard-*")):
            for path in mine:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            for path in new:
                with contextlib.suppress(OSError):
                    path.rmdir()


@contextlib.contextmanager
def index_lock(folder: Path) -> Iterator[None]:
    """Keep others from writing the index or the spec for the length of a block.

    A claim needs no locks of the file system, which some network file systems don't have.
    """
    with storage_errors(folder), lock(folder / INDEX_NAME, wait=INDEX_WAIT_SECONDS):
        for name in (INDEX_NAME, SPEC_NAME, STANDARDIZATION_NAME):
            remove_leftovers_of(folder / name)
        yield


def agree_on_spec(folder: Path, spec: ExtractionSpec) -> None:
    """Write down the spec of a cache, so that nobody fills it with other settings meanwhile."""
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
                OTHER_SETTINGS_HINT,
            )
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(mine, indent=2) + "\n")


def runtime_of(folder: str | Path, precision: PrecisionChoice) -> RuntimeChoice:
    """Return the runtime that a cache was begun with, so that it is filled with the same one.

    ``auto`` if there is no cache yet, or another number format is asked for than the runtime has.
    """
    written = _read_json(Path(folder) / SPEC_NAME)
    backbone = written.get("backbone") if isinstance(written, dict) else None
    if not isinstance(backbone, dict):
        return "auto"
    if backbone.get("runtime", "tensorflow") == "tensorflow":
        return "tensorflow"
    ncnn = backbone["runtime"] == "ncnn" and precision in ("auto", "float32")
    return "ncnn" if ncnn else "auto"


def augmentation_of(folder: str | Path, **changes: object) -> AugmentationSpec:
    """Return the augmentation that a cache was begun with, or the default one, with some changes.

    Raises
    ------
    pydantic.ValidationError
        If a value is out of range.
    """
    written = _read_json(Path(folder) / SPEC_NAME)
    own = written.get("augmentation") if isinstance(written, dict) else None
    given = {name: value for name, value in changes.items() if value is not None}
    if not isinstance(own, dict):
        return preset_augmentation(DEFAULT_PRESET, **given)
    return AugmentationSpec.model_validate(own | given)


def keep_standardization(folder: Path, standardization: Standardization) -> None:
    """Write the statistics with which the network's input is standardized. Runs copy them."""
    path = folder / STANDARDIZATION_NAME
    with index_lock(folder):
        if not path.is_file():
            standardization.save(path)


def discard(damaged: list[Path]) -> int:
    """Delete damaged shards that nobody has repaired by now, and count them."""
    for path in damaged:
        if path.exists() and not _is_own_shard(path):
            raise InputError(
                f"{path} isn't a shard that featx wrote, and would be deleted",
                "Move it elsewhere, or give another `cache`.",
            )
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
    """Read an object. None if there is none or it is damaged, and will be replaced."""
    try:
        with open_regular(path) as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_own_shard(path: Path) -> bool:
    """Say whether a damaged file is a shard of featx, by its name and its content or the index."""
    if not _SHARD.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    with contextlib.suppress(FeatxError):
        if path.name in open_cache(path.parent.parent).shard_names:
            return True
    with open_regular(path) as file:
        content = file.read()
    return not content or FORMAT.encode() in content


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something else, or whose shards are elsewhere."""
    shards = folder / SHARDS_NAME
    if shards.is_symlink():
        raise InputError(
            f"{shards} is a link, and what it leads to isn't featx's to delete",
            "Put the folder itself in its place, or give another `cache`.",
        )
    if not folder.is_dir() or _is_cache(folder):
        return
    for path in (*folder.iterdir(), *(shards.iterdir() if shards.is_dir() else ())):
        if path.name not in (SHARDS_NAME, _LOCK_NAME) and not _SCRATCH.fullmatch(path.name):
            raise InputError(
                f"{folder} is not empty and not a featx cache (it has {path.name})",
                "Give `cache` a new folder.",
            )


def _is_cache(folder: Path) -> bool:
    """Say whether a spec, an index or a shard shows that featx has filled a folder."""
    written = _read_json(folder / SPEC_NAME)
    if written is not None and {"backbone", "augmentation"} <= written.keys():
        return True
    with contextlib.suppress(FeatxError):
        open_cache(folder)
        return True
    shards = (folder / SHARDS_NAME).glob("shard-*.h5")
    return any(_is_own_shard(path) and path.stat().st_size for path in shards)
