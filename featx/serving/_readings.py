"""Readings as `featx calibrate` takes them."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from featx.data import group_of
from featx.worklist import Item, Worklist
from featx_cache._spreadsheets import path_cell, row_writer, text_cell

READINGS_NAME = "readings.csv"
PATIENTS_NEEDED = 2
"""Patients of each class that `featx calibrate` needs at least."""
IMAGES_ADVISED = 30
"""Images of each class that are a good beginning: a few dozen, as `featx calibrate` says."""


@dataclass(frozen=True)
class Readings:
    """Images that a reader has read.

    Attributes
    ----------
    folder
        Folder that paths in the CSV are relative to.
    kept
        Images that are there.
    removed
        Images that aren't kept any more: they can't be scored again, so they are left out.
    foreign
        Images whose reading is no class of the run that is used now. They are left out, too.
    classes
        Negative and positive class.
    """

    folder: Path
    kept: tuple[Item, ...]
    removed: tuple[Item, ...]
    foreign: tuple[Item, ...]
    classes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of kept images of each class."""
        found = Counter(item.reading for item in self.kept)
        return {label: found[label] for label in self.classes}

    @property
    def enough(self) -> bool:
        """Whether `featx calibrate` has what it needs."""
        patients = {label: set[str]() for label in self.classes}
        for item in self.kept:
            patients[item.reading].add(_patient(item) or item.id)
        return all(len(found) >= PATIENTS_NEEDED for found in patients.values())

    def csv(self) -> str:
        """Write the columns path, label and group. Paths are relative to `folder`."""
        text = io.StringIO()
        write = row_writer(text)
        write(["path", "label", "group"])
        for item in self.kept:
            assert item.path is not None
            path = item.path.relative_to(self.folder).as_posix()
            # An image whose group is its own path counts as a patient of its own.
            group = text_cell(_patient(item) or path)
            write([path_cell(path), text_cell(item.reading), group])
        return text.getvalue()


def _patient(item: Item) -> str:
    """Return the patient of an image, or nothing if neither header nor name tells it."""
    told = group_of(item.name)
    return item.patient or ("" if told == item.name else told)


def readings_of(worklist: Worklist) -> Readings:
    """Collect the readings of a worklist."""
    classes, read = worklist.runs[0].classes, worklist.readings()
    return Readings(
        worklist.images_folder,
        tuple(i for i in read if i.path is not None and i.reading in classes),
        tuple(i for i in read if i.path is None),
        tuple(i for i in read if i.path is not None and i.reading not in classes),
        classes,
    )
