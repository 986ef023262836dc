"""The folder of a distillation that isn't finished: its settings, rows and state."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import zipfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from featx._progress import Progress
from featx._specs import require_equal
from featx.backbones._parts import main_part
from featx.distilling._images import ImageFiles
from featx.distilling._spec import RowsSpec, TrainingSpec
from featx.errors import InputError, StorageError
from featx.extraction._extract_images import FilledShards
from featx.images import decode, make_copy
from featx_cache._index import SHARDS_NAME
from featx_cache._shards import SHA256_DTYPE, RowKeys, read_embeddings
from featx_cache.files import atomic_path, make_folder, open_regular, remove_leftovers_of

SETTINGS_NAME, KEYS_NAME = "settings.json", "rows.npz"
PIXELS_NAME, TARGETS_NAME = "pixels.npy", "embeddings.npy"
STATE_NAME = "state.npz"
NAMES = (SETTINGS_NAME, KEYS_NAME, PIXELS_NAME, TARGETS_NAME, STATE_NAME)
SPARE_BYTES = 100_000_000
"""Bytes of the state, the student and other small files."""
ROWS_PER_BLOCK = 512
"""Rows of the embeddings that are in memory at once, 43 MB of 9x9x512."""
LUMINANCE = np.array([0.2989, 0.5870, 0.1140], np.float32)
"""Shares of red, green and blue, as `featx.backbones.Backbone.embed` has them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a student learns from.

    Attributes
    ----------
    keys
        Image and copy of each row.
    pixels : array of shape (rows, size, size, 1 or 3), dtype uint8
        Inputs of the student.
    targets : array of shape (rows, *grid), dtype float16
        Embeddings of the teacher.
    """

    keys: RowKeys
    pixels: NDArray[np.uint8]
    targets: NDArray[np.float16]


class WorkFolder:
    """Files of a distillation, which the next call of the same settings goes on with.

    Parameters
    ----------
    path
        Folder, which is made when the settings are written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def state(self) -> Path:
        """File with the state of the training."""
        return self.path / STATE_NAME

    def agree(self, rows: RowsSpec, training: TrainingSpec) -> None:
        """Refuse other settings than those that the folder was begun with."""
        mine = _as_json(rows, training)
        written = self._written()
        if written is None:
            self._refuse_foreign()
        else:
            shared = {name: mine[name] for name in written}
            require_equal(
                f"the unfinished distillation in {self.path} was begun with other settings",
                written,
                shared,
                f"Use the same settings, or remove {self.path} to begin again.",
            )
            for name in NAMES:
                remove_leftovers_of(self.path / name)

    def begin_training(self, rows: RowsSpec, training: TrainingSpec) -> None:
        """Write down the settings of a training on the rows that there are."""
        if self._written() != (mine := _as_json(rows, training)):
            self._write_settings(mine)

    def forget_training(self) -> None:
        """Let the next call train anew from the same rows, with whatever settings."""
        self.state.unlink(missing_ok=True)
        self._write_settings({"rows": (self._written() or {})["rows"]})

    def remove(self) -> None:
        """Remove the files, and the folder if there is nothing else in it."""
        for name in reversed(NAMES):  # the settings last: they say whose folder it is
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def require_room(self, rows: int, shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
        """Refuse a disk that the rows don't fit on."""
        sizes = {
            PIXELS_NAME: rows * math.prod(shape),
            TARGETS_NAME: 2 * rows * math.prod(grid),
        }
        missing = [size for name, size in sizes.items() if not (self.path / name).exists()]
        place = next(path for path in (self.path, *self.path.parents) if path.exists())
        free = shutil.disk_usage(place).free
        needed = sum(missing) + (SPARE_BYTES if missing else 0)
        if free < needed:
            raise StorageError(
                f"{rows:,} rows need {_size(needed)} in {self.path}, and {_size(free)} are free",
                "Free some space, or give `out` a place on another disk.",
            )

    def open_rows(self, spec: RowsSpec, grid: tuple[int, ...]) -> Rows | None:
        """Open the rows. None says that some are missing or damaged."""
        size = spec.teacher.backbone.input_size
        try:
            with np.load(self.path / KEYS_NAME, allow_pickle=False) as file:
                keys = RowKeys(file["image_sha256"], file["copy"])
            pixels = np.load(self.path / PIXELS_NAME, mmap_mode="r", allow_pickle=False)
            targets = np.load(self.path / TARGETS_NAME, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        rows = len(keys.copy)
        if (pixels.shape, pixels.dtype) != ((rows, size, size, spec.channels), np.uint8):
            return None
        if (targets.shape, targets.dtype) != ((rows, *grid), np.float16):
            return None
        return Rows(keys, pixels, targets)

    def write_rows(
        self,
        images: ImageFiles,
        filled: FilledShards,
        spec: RowsSpec,
        grid: tuple[int, ...],
        progress: Progress,
    ) -> Rows:
        """Write inputs and embeddings of all copies of the images that can be read."""
        table = images.table[~images.table["path"].isin(filled.unreadable)]
        if table.empty:
            path, reason = next(iter(filled.unreadable.items()))
            raise InputError(
                f"no image in {images.root} can be decoded ({path}: {reason})",
                "Give a folder that has some.",
                parameter="data",
            )
        copies = np.arange(1 + spec.teacher.augmentation.copies, dtype=np.int16)
        keys = RowKeys(
            np.repeat(table["sha256"].to_numpy(object).astype(SHA256_DTYPE), len(copies)),
            np.tile(copies, len(table)),
        )
        rows, size = len(keys.copy), spec.teacher.backbone.input_size
        shape = (size, size, spec.channels)
        self.require_room(rows, shape, grid)
        if self._written() is None:
            self._write_settings(_as_json(spec))
        with atomic_path(self.path / KEYS_NAME) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, image_sha256=keys.image_sha256, copy=keys.copy)
        embeddings = _embeddings(keys, filled, spec, grid)
        self._write(TARGETS_NAME, (rows, *grid), np.float16, embeddings, progress, "Embeddings")
        paths = dict(zip(table["sha256"], table["path"], strict=True))
        pixels = _pixels(keys, images.root, paths, spec)
        with contextlib.closing(pixels):
            self._write(PIXELS_NAME, (rows, *shape), np.uint8, pixels, progress, "Inputs")
        found = self.open_rows(spec, grid)
        assert found is not None
        return found

    def _write(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: type[np.generic],
        blocks: Iterable[NDArray[np.generic]],
        progress: Progress,
        what: str,
    ) -> None:
        """Write an array block by block. Where a map of a file would end the process when the disk
        fills up, this is an error.
        """  # noqa: D205
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": shape,
        }
        with (
            progress.task(f"{what} of the student", shape[0], "row") as advance,
            atomic_path(self.path / name) as temporary,
            temporary.open("wb") as file,
        ):
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(block.tobytes())
                advance(len(block))

    def _written(self) -> dict[str, Any] | None:
        """Read the settings. None if there are none."""
        try:
            with open_regular(self.path / SETTINGS_NAME) as file:
                found = json.load(file)
        except (OSError, ValueError):
            return None
        known = isinstance(found, dict) and {"rows"} <= set(found) <= {"rows", "training"}
        return found if known and all(isinstance(v, dict) for v in found.values()) else None

    def _write_settings(self, settings: dict[str, Any]) -> None:
        make_folder(self.path)
        with atomic_path(self.path / SETTINGS_NAME) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n")

    def _refuse_foreign(self) -> None:
        """Refuse a folder that holds something else."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(
                f"{self.path} is a file, and the unfinished distillation needs the name",
                "Move it away, or give another `out`.",
            )
        for each in self.path.iterdir():
            if not each.name.startswith(f".{SETTINGS_NAME}."):
                raise InputError(
                    f"{self.path} is not empty and no unfinished distillation (it has {each.name})",
                    "Give another `out`, or move the folder away.",
                )


def _as_json(rows: RowsSpec, training: TrainingSpec | None = None) -> dict[str, Any]:
    """Return the settings as their file has them."""
    parts = {"rows": rows} if training is None else {"rows": rows, "training": training}
    return {name: spec.model_dump(mode="json") for name, spec in parts.items()}


def _embeddings(
    keys: RowKeys, filled: FilledShards, spec: RowsSpec, grid: tuple[int, ...]
) -> Iterator[NDArray[np.float16]]:
    """Read the main part of the rows' embeddings from shards, a block at a time."""
    shard, shard_row = filled.finished.find(keys)
    folder, shapes = filled.report.cache / SHARDS_NAME, spec.teacher.backbone.part_shapes
    for start in range(0, len(shard), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        found = np.empty((len(shard[block]), *grid), np.float16)
        for number in np.unique(shard[block]).tolist():
            where = np.flatnonzero(shard[block] == number)
            path = folder / filled.finished.names[number]
            found[where] = main_part(read_embeddings(path, shard_row[block][where]), shapes)
        yield found


def _pixels(
    keys: RowKeys, root: Path, paths: dict[str, str], spec: RowsSpec
) -> Generator[NDArray[np.uint8], None, None]:
    """Decode images and make their copies in threads, in order. One block is one image."""
    size, decoding = spec.teacher.backbone.input_size, spec.teacher.decoding

    def make(image: tuple[str, list[int]]) -> NDArray[np.uint8]:
        sha256, copies = image
        decoded = decode(root / paths[sha256], size, spec=decoding, sha256=sha256)
        made = [make_copy(decoded, spec.teacher.augmentation, sha256, copy) for copy in copies]
        return _in_channels(np.stack(made), spec.channels)

    images = [
        (sha256, [copy for _, copy in pairs])
        for sha256, pairs in groupby(keys.pairs(), key=lambda pair: pair[0])
    ]
    # Decoding leaves Python's lock, and threads need no time to start.
    run = joblib.Parallel(n_jobs=os.cpu_count() or 1, return_as="generator", prefer="threads")
    yield from run(joblib.delayed(make)(image) for image in images)


def _in_channels(images: NDArray[np.float32], channels: int) -> NDArray[np.uint8]:
    """Round images to whole grey values, with the channels that the student takes."""
    if channels < images.shape[-1]:
        images = (images @ LUMINANCE)[..., np.newaxis]
    whole = np.rint(images).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(whole, (*whole.shape[:-1], channels))


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
