"""Images that a run was fitted on in one way or another: they measure nothing, and are left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.data._columns import is_pseudonym
from featx.data._dicom import Pseudonyms, own_salt
from featx.errors import InputError
from featx.evaluation import plural
from featx.runs._fitted import FittedRun
from featx.runs._record import CALIBRATION_NAME
from featx_cache import Cache
from featx_cache._text import first_line

SMALLER_COPIES = (
    "Smaller or strongly compressed copies are not recognised here: put these images beside the "
    "training images and use `featx.inspect`, which compares pictures."
)
SAME_NAMES = "If these are other people with the same names, add `keep_known_patients=True`."


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Counts of images that were left out of an evaluation. Each image is plural once.

    Attributes
    ----------
    same_file
        Number of images that are byte-identical to one that the run was fitted on.
    known_patient
        Number of other images of patients whom the run was fitted on.
    near_duplicate
        Number of images whose embedding is nearly that of an image that the run was fitted on: the
        same picture in another format or size, without loss.
    patients
        Number of patients in `known_patient`.
    kept
        Number of images of known patients, and near duplicates, that were kept on request.
    unchecked
        Reason why patients and near duplicates couldn't be looked for. Empty if they could.

    Examples
    --------
    >>> left_out = LeftOut(same_file=3, known_patient=12, patients=5)
    >>> left_out.total
    15
    >>> left_out.sentence
    '15 images left out: 3 files and 12 images of 5 patients that the run was fitted on.'
    """

    same_file: int = 0
    known_patient: int = 0
    near_duplicate: int = 0
    patients: int = 0
    kept: int = 0
    unchecked: str = ""

    @property
    def total(self) -> int:
        """Number of images that were left out."""
        return self.same_file + self.known_patient + self.near_duplicate

    @property
    def sentence(self) -> str:
        """Sentence about the images that were left out or kept. Empty if there are none."""
        parts = []
        if self.same_file:
            parts.append(plural(self.same_file, "file"))
        if self.known_patient:
            patients = plural(self.patients, "patient")
            parts.append(f"{plural(self.known_patient, 'image')} of {patients}")
        if self.near_duplicate:
            parts.append(f"{plural(self.near_duplicate, 'near duplicate')} of images")
        *first, last = parts or [""]
        said = f"{', '.join(first)} and {last}" if first else last
        sentences = []
        if parts:
            sentences.append(
                f"{plural(self.total, 'image')} left out: {said} that the run was fitted on."
            )
        if self.kept:
            sentences.append(
                f"{plural(self.kept, 'image')} of patients that the run was fitted on "
                f"{'is' if self.kept == 1 else 'are'} measured, too: the numbers are too good."
            )
        if self.unchecked:
            sentences.append(f"Patients that the run was fitted on can't be told: {self.unchecked}")
        return " ".join(sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """`sentence`, and what to do if images were left out that shouldn't be."""
        hints = ((self.known_patient, SAME_NAMES), (self.near_duplicate, SMALLER_COPIES))
        return tuple(filter(None, [self.sentence, *(hint for count, hint in hints if count)]))

    def as_dict(self) -> dict[str, int | str]:
        """Return plain types for JSON."""
        return asdict(self)


def fresh_images(
    run: FittedRun, cache: Cache, table: pd.DataFrame, *, keep: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], LeftOut]:
    """Find the images that a run wasn't fitted on, by their bytes and their patients.

    Parameters
    ----------
    run, cache, table
        See `known_patients`. The table has sha256, too.
    keep
        Whether other images of known patients stay.

    Returns
    -------
    fresh, known : ndarray of shape (images,), dtype bool
        Images that stay, and other images of known patients.
    left_out : LeftOut
        Counts of the others.
    """
    same = require_other_files(run, table["sha256"])
    unchecked = ""
    try:
        known = known_patients(run, cache, table) & ~same
    except InputError as error:  # a report shows what is left of a damaged run, and says so
        known, unchecked = np.zeros(len(table), bool), str(error)
    files, others = int(same.sum()), int(known.sum())
    if keep:
        return ~same, known, LeftOut(same_file=files, kept=others, unchecked=unchecked)
    if (same | known).all():
        raise InputError(
            f"the run {run.path} was fitted on the patients of all these images "
            f"({plural(len(table), 'image')})",
            f"Give images of other patients. {SAME_NAMES}",
        )
    patients = int(table["group"][known].nunique())
    return ~(same | known), known, LeftOut(files, others, 0, patients, unchecked=unchecked)


def require_other_files(run: FittedRun, sha256: pd.Series[str]) -> NDArray[np.bool_]:
    """Say which files a run was fitted on, by their hashes."""
    same = sha256.isin(run.fitted_images).to_numpy(bool)
    if same.all():
        raise InputError(
            f"the run {run.path} was fitted on these very images, and they measure nothing",
            "Give images of other patients, or make a test split with `featx.split_manifest` "
            "before the run is fitted. The out-of-fold metrics are in run.json.",
        )
    return same


def without_near(
    run: FittedRun,
    near: NDArray[np.bool_],
    known: NDArray[np.bool_],
    left_out: LeftOut,
    *,
    keep: bool,
) -> tuple[NDArray[np.bool_], LeftOut]:
    """Leave out near duplicates, too: say which images stay.

    Parameters
    ----------
    run, keep
        See `fresh_images`.
    near, known : ndarray of shape (images,), dtype bool
        Near duplicates (see `featx.evaluation.Reference.has`), and images of known patients.
    left_out
        Counts so far.
    """
    if keep:
        return np.ones(len(near), bool), replace(left_out, kept=int((near | known).sum()))
    if near.all():
        raise InputError(
            f"the run {run.path} was fitted on nearly the same pictures as all of these",
            "Give images of other patients. If these are other pictures, add "
            "`keep_known_patients=True`.",
        )
    return ~near, replace(left_out, near_duplicate=int(near.sum()))


def known_patients(run: FittedRun, cache: Cache, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Say which images are of patients whom a run was fitted on, or who chose its threshold.

    Patients with the same name are the same. There are two sources of names. If a cache holds
    images that the run was fitted on, its other images have the names of the same list. In other
    data, names are compared with those in the run's own files. There, a name that is only the path
    or the file name of its image says nothing, because that patient isn't known: `img1.png` of two
    hospitals are two people. Runs of early versions don't name their patients.

    Parameters
    ----------
    run
        Run that was fitted.
    cache
        Cache that holds the images.
    table : DataFrame
        One row an image: path, group.
    """
    images = cache.images
    fitted = images["sha256"].isin(run.fitted_images) & (images["group"] != images["path"])
    names = set(images["group"][fitted])
    group = table["group"]
    own = fitted_table(run)
    if own is None:
        return group.isin(names).to_numpy(bool)
    mere_name = _is_file_name(own)
    names |= set(own["group"][~mere_name])
    told = ~_is_file_name(table)
    elsewhere = group.isin(set(own["group"])).to_numpy(bool) & told
    hidden = _same_behind_pseudonyms(group[told], set(own["group"][~mere_name]))
    return group.isin(names | hidden).to_numpy(bool) | elsewhere


def _same_behind_pseudonyms(group: pd.Series, known: set[str]) -> set[str]:
    """Return the names that are known, if only one of the two lists has this user's pseudonyms."""
    names, pseudonyms = set(group), Pseudonyms(own_salt)
    if not any(map(is_pseudonym, names | known)):
        return set()
    try:
        same = {name for name in names if not is_pseudonym(name) and pseudonyms.of(name) in known}
        return same | names & {pseudonyms.of(name) for name in known if not is_pseudonym(name)}
    except InputError:  # this user has no salt, and has hashed nothing
        return set()


def fitted_table(run: FittedRun) -> pd.DataFrame | None:
    """Return path and group of the images that a run was fitted on, or that chose its threshold.

    Returns
    -------
    DataFrame or None
        None for runs of early versions, which have no such file.
    """
    if not run.has_out_of_fold:
        return None
    table = run.head_out_of_fold[["path", "group"]]
    if CALIBRATION_NAME in run.record.files:
        table = pd.concat([table, run.read(CALIBRATION_NAME, _labelled)], ignore_index=True)
    return table


def _labelled(path: Path) -> pd.DataFrame:
    """Read the labelled images of a calibration. Images without labels chose nothing."""
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
        return table[["path", "group"]][: len(table) if "label" in table else 0]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path} is damaged: {first_line(error)}", "Calibrate the run again."
        ) from error


def _is_file_name(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Say whose patient has only the name of the image, or the path of another image."""
    paths, groups = table["path"].tolist(), table["group"].tolist()
    every = set(paths)
    found = [
        group in every or group in (name := PurePosixPath(path).name, name.split(".")[0])
        for path, group in zip(paths, groups, strict=True)
    ]
    return np.array(found, bool)
