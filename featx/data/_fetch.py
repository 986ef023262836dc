"""Downloading public data sets: checked against pinned hashes, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx._progress import SILENT, Advance, Progress, progress_of
from featx._specs import require_known
from featx.errors import FeatxError, InputError
from featx_cache._text import first_line
from featx_cache.files import atomic_folder, make_folder

RETRIES = 2


class DownloadError(FeatxError):
    """A data set can't be downloaded, or has another hash than its publisher says.

    Nothing was left behind.

    Examples
    --------
    >>> DownloadError("pneumoniamnist.npz can't be downloaded", "Try again later.").code
    'download'
    """

    code = "download"


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """A public ``.npz`` file.

    Attributes
    ----------
    file
        Name of the file.
    url
        Folder of the file on the web.
    known_hash
        Hash that its publisher gives, ``algorithm:hexadecimal``.
    """

    file: str
    url: str
    known_hash: str


# Yang et al., MedMNIST v2, Scientific Data 2023; version 3.0 of the files. The hashes are those in
# the package medmnist.
_MEDMNIST = "https://zenodo.org/records/10519652/files/"
ARRAY_FILES = {
    "pneumoniamnist": ArrayFile(
        "pneumoniamnist.npz", _MEDMNIST, "md5:28209eda62fecd6e6a2d98b1501bb15f"
    ),
    "pneumoniamnist-224": ArrayFile(
        "pneumoniamnist_224.npz", _MEDMNIST, "md5:d6a3c71de1b945ea11211b03746c1fe1"
    ),
}

# Kermany, Zhang, Goldbaum; CC BY 4.0. The version is part of the name.
KAGGLE_SETS = {
    "chest-xray-pneumonia": "paultimothymooney/chest-xray-pneumonia/versions/2",
}

DATA_SETS = (*ARRAY_FILES, *KAGGLE_SETS)


def fetch_data(
    name: str, folder: str | Path, *, mirror: str | None = None, progress: Progress | bool = True
) -> Path:
    """Download a public data set, unless it is there already.

    Parameters
    ----------
    name
        ``pneumoniamnist`` (28x28), ``pneumoniamnist-224`` or ``chest-xray-pneumonia``, the original
        images, which needs the package kagglehub and may need a Kaggle account.
    folder
        Folder to put it in.
    mirror
        URL of a folder that has the ``.npz`` file, instead of the publisher's.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Path
        The file or folder. `featx.load_manifest` reads it.

    Raises
    ------
    InputError
        If the name is unknown, or kagglehub is missing.
    DownloadError
        If it can't be downloaded, or its hash is wrong.
    StorageError
        If the folder can't be written.

    Examples
    --------
    >>> import featx
    >>> path = featx.fetch_data("pneumoniamnist", "data")  # doctest: +SKIP
    >>> data = featx.load_manifest(path)  # doctest: +SKIP
    """
    require_known("data set", name, DATA_SETS)
    progress = progress_of(progress)
    if name in KAGGLE_SETS:
        if mirror is not None:
            raise InputError(f"`mirror` is for {' and '.join(ARRAY_FILES)}", "Leave it out.")
        return _fetch_kaggle(KAGGLE_SETS[name], Path(folder) / name, progress)
    file = ARRAY_FILES[name]
    if mirror is not None:
        file = ArrayFile(file.file, mirror.rstrip("/") + "/", file.known_hash)
    return fetch_file(file, Path(folder), progress)


def fetch_file(file: ArrayFile, folder: Path, progress: Progress = SILENT) -> Path:
    """Download one file with pooch. See `fetch_data`."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    place = folder / file.file
    if place.exists() and not pooch.hashes.hash_matches(place, file.known_hash):
        raise InputError(
            f"{place} is there already, and doesn't have the pinned hash {file.known_hash}",
            "Move it elsewhere, or give another `out`.",
        )
    make_folder(folder)
    registry = pooch.create(
        folder, file.url, registry={file.file: file.known_hash}, retry_if_failed=RETRIES
    )
    try:
        with _Bar(progress, file.file) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar)
            return Path(registry.fetch(file.file, downloader=downloader))
    except requests.RequestException as error:
        raise DownloadError(
            f"{file.file} can't be downloaded from {file.url} ({first_line(error)[:200]})",
            "Try again later, give another `mirror`, or put the file there by hand.",
        ) from error
    except ValueError as error:
        raise DownloadError(
            f"what {file.url} gives as {file.file} doesn't have the pinned hash {file.known_hash}",
            "It was altered or cut off on its way. Try again, or another `mirror`.",
        ) from error
    finally:
        for path in new:  # those that are empty
            with contextlib.suppress(OSError):
                path.rmdir()


def _fetch_kaggle(handle: str, folder: Path, progress: Progress) -> Path:
    """Download and unpack a data set with kagglehub."""
    if folder.is_dir() and any(folder.iterdir()):
        return _images_in(folder)
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise InputError(
            "downloads from Kaggle need the package kagglehub",
            "pip install 'featx[kaggle]', or download chest-xray-pneumonia by hand.",
        ) from error
    progress.note(f"Downloading {handle} with kagglehub (2.3 GB unpacked)")
    with atomic_folder(folder, replace=False) as temporary:
        try:
            kagglehub.dataset_download(handle, output_dir=str(temporary))
        except Exception as error:  # kagglehub's have no base of their own
            raise DownloadError(
                f"kagglehub can't download {handle} ({first_line(error)[:200]})",
                "Log in with a Kaggle token (`kagglehub.login()`), or download it by hand.",
            ) from error
        shutil.rmtree(temporary / ".complete", ignore_errors=True)
        _images_in(temporary)
    return _images_in(folder)


def _images_in(folder: Path) -> Path:
    """Find the folder with the splits in what was unpacked."""
    for path in (folder, *sorted(p for p in folder.rglob("*") if p.is_dir())):
        if (path / "train").is_dir():
            return path
    raise DownloadError(f"{folder} has no folder train", "Delete it and fetch again.")


class _Bar:
    """Passes on to a `Progress` what pooch tells a tqdm bar. The total comes after the start."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._stack = contextlib.ExitStack()
        self._advance: Advance = lambda _: None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def total(self) -> int:
        """Bytes to come. Setting it starts the bar."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._total = self._left = total
        self._stack.close()
        task = self._progress.task(f"Downloading {self._name}", total, "byte")
        self._advance = self._stack.enter_context(task)

    def update(self, done: int) -> None:
        """Count bytes. Pooch counts its last step as a whole one."""
        done = min(done, self._left)
        self._left -= done
        self._advance(done)

    def reset(self) -> None:
        """Do nothing: pooch winds a bar back before it fills it at the end."""
        self._advance = lambda _: None

    def close(self) -> None:
        """End the bar."""
        self._stack.close()
