"""Drawn chest X-rays with known lesions, to try featx without patients' data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.demo._anatomy import Body, cause_of, draw_body, draw_opacities, expose, generator, pose
from featx.demo._hospitals import USUAL, Hospital

LABELS = ("NORMAL", "PNEUMONIA")
SPLIT_SHARES = {"train": 0.64, "val": 0.11, "test": 0.25}
MIN_SIZE = 32


@dataclass(frozen=True, slots=True)
class Phantom:
    """One drawn X-ray.

    Attributes
    ----------
    pixels
        Array of shape (size, size), dtype uint8. Air is dark, bone bright.
    lesion
        Array of shape (size, size), dtype bool: where an opacity is. All False for NORMAL.
    label
        ``"NORMAL"`` or ``"PNEUMONIA"``.
    patient
        Number of the patient.

    Examples
    --------
    >>> draw_phantom(1, 1, "NORMAL", size=32).lesion.any()
    np.False_
    """

    pixels: NDArray[np.uint8]
    lesion: NDArray[np.bool_]
    label: str
    patient: int


def draw_phantom(
    patient: int,
    view: int,
    label: str,
    *,
    size: int = 224,
    seed: int = 0,
    hospital: Hospital = USUAL,
) -> Phantom:
    """Draw one X-ray of a patient.

    The image depends on the arguments alone, not on what was drawn before. Views of a patient
    share anatomy and lesions and differ in pose, exposure and noise. The label decides about the
    opacities and nothing else: the NORMAL and the PNEUMONIA image of the same patient and view
    are equal pixel by pixel away from them.

    Parameters
    ----------
    patient, view
        Numbers from 0 on.
    label
        ``"NORMAL"``, or ``"PNEUMONIA"`` for soft-edged opacities in the lungs.
    size
        Side of the square image in pixels, at least 32.
    seed
        Number from 0 on. Another seed is another population of patients.
    hospital
        Machine that makes the film, and how ill its patients are.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> phantom = draw_phantom(1, 1, "PNEUMONIA", size=64)
    >>> phantom.pixels.shape, phantom.pixels.dtype, bool(phantom.lesion.any())
    ((64, 64), dtype('uint8'), True)
    """
    _check(patient=patient, view=view, label=label, size=size, seed=seed)
    body, rng = Body.draw(seed, patient), generator(seed, patient, "view", view)
    x, y = pose(rng, size)
    brightness, air = draw_body(body, x, y)
    lesion = np.zeros((size, size), np.bool_)
    severity = rng.uniform(0.75, 1.0)
    if label == "PNEUMONIA":
        opacity, extent = draw_opacities(body, x, y, hospital)
        brightness += severity * body.sizes["air_depth"] * opacity * air
        lesion = (extent > 0.35) & (air > 0.3)
    return Phantom(expose(brightness, rng, hospital), lesion, label, int(patient))


def write_phantoms(
    root: Path,
    *,
    patients: int = 60,
    size: int = 224,
    seed: int = 0,
    masks: Path | None = None,
    hospital: Hospital = USUAL,
    shares: Mapping[str, float] = SPLIT_SHARES,
) -> Path:
    """Write a data set of phantoms as ``root/{train,val,test}/{NORMAL,PNEUMONIA}/NAME.png``.

    Half of the patients are sick, and each has one to three images. About 64 % of the patients
    go to train, 11 % to val and 25 % to test, none to two of them. Names are those of the Kaggle
    chest X-ray set, ``IM-{patient}-{view}.png`` and ``person{patient}_{cause}_{view}.png``, with
    cause ``bacteria`` for lobar and ``virus`` for blotchy opacities; patients and views count from
    1, so that ``draw_phantom(patient, view, label)`` draws an image again from its name.

    Parameters
    ----------
    root
        Folder to fill. It is made if it is missing.
    patients
        Number of patients, at least 6: one of each class in each split.
    size, seed
        See `draw_phantom`.
    masks
        Folder outside `root` for the lesion masks of the PNEUMONIA images, as
        ``masks/{train,val,test}/NAME.png``, 255 in a lesion and 0 elsewhere. None writes none.
    hospital
        Hospital of the patients. It says how many films each has, and how they look.
    shares
        Share of the patients in each split. The first split gets what the others leave.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    ValueError
        If a number is outside its range, or `masks` is in `root`.
    FileExistsError
        If a split folder is there already: patients of two data sets would mix.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     root = write_phantoms(Path(folder) / "data", patients=6, size=32)
    ...     sorted(path.name for path in root.iterdir())
    ['test', 'train', 'val']
    """
    _check(patients=patients, size=size, seed=seed, splits=len(shares))
    root, masks = Path(root), Path(masks) if masks is not None else None
    if masks is not None and masks.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"masks must be outside root {str(root)!r}, got {str(masks)!r}")
    films = hospital.films[0], hospital.films[1] + 1
    for target in (base / split for base in (root, masks) if base for split in shares):
        if target.exists():
            raise FileExistsError(f"{target} exists already. Choose another folder")
    for number, split, label in _assign(patients, seed, shares):
        patient = number + hospital.first_patient - 1
        folder = root / split / label
        folder.mkdir(parents=True, exist_ok=True)
        for view in range(1, 1 + int(generator(seed, patient, "views").integers(*films))):
            phantom = draw_phantom(patient, view, label, size=size, seed=seed, hospital=hospital)
            name = f"IM-{patient:04d}-{view:04d}.png"
            if label == "PNEUMONIA":
                name = f"person{patient}_{cause_of(seed, patient)}_{view}.png"
            Image.fromarray(phantom.pixels).save(folder / name)
            if masks is not None and label == "PNEUMONIA":
                (masks / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(phantom.lesion * np.uint8(255)).save(masks / split / name)
    return root


def _check(
    *, label: str = LABELS[0], size: int = MIN_SIZE, splits: int = 0, **numbers: int
) -> None:
    if label not in LABELS:
        raise ValueError(f"label must be one of {', '.join(LABELS)}, got {label!r}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, got {size!r}")
    for name, number in numbers.items():
        least = len(LABELS) * splits if name == "patients" else 0
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number!r}")


def _assign(
    patients: int, seed: int, shares: Mapping[str, float]
) -> Iterator[tuple[int, str, str]]:
    """Yield (patient, split, label) of patients 1, 2, ..., with each class in each split."""
    order = generator(seed, "split").permutation(np.arange(1, patients + 1))
    first, *others = shares
    for label, members in zip(LABELS, np.array_split(order, len(LABELS)), strict=True):
        ends = np.cumsum([max(1, round(len(members) * shares[split])) for split in others])
        for split, part in zip((*others, first), np.split(members, ends), strict=True):
            yield from ((int(patient), split, label) for patient in part)
