"""Labels of some images of a site, in a CSV file or a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import SILENT
from featx._specs import require_known
from featx.data._tables import Table, read_table
from featx.errors import InputError
from featx.evaluation import plural
from featx.populations._sampling_weights import WEIGHT, sampling_weights
from featx.populations._unlabelled_images import UnlabelledImages
from featx_cache._spreadsheets import as_path

MIN_LABELS = 20
"""Number of patients with a label that an estimate needs."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteLabels:
    """Labels of some images.

    Attributes
    ----------
    table
        Rows that have a label, with their places for messages.
    folder
        Folder that paths may be relative to, besides the folder of the images.
    sick : ndarray of shape (labels,), dtype bool
        True for the positive class.
    weight : ndarray of shape (labels,), dtype float64
        Number of images that each stands for. They are all 1 if the table has none.
    weighted
        Whether the table has weights.
    blank
        Number of rows without a label.
    """

    table: Table
    folder: Path
    sick: NDArray[np.bool_]
    weight: NDArray[np.float64]
    weighted: bool
    blank: int

    @classmethod
    def read(cls, labels: pd.DataFrame | str | Path, classes: tuple[str, str]) -> SiteLabels:
        """Read them. Rows without a label are left out and counted.

        Raises
        ------
        InputError
            If a label isn't one of the classes, a weight isn't a positive number, a path is there
            twice, or there are too few labels.
        """
        if isinstance(labels, str | Path):
            labels = Path(labels)
            if not labels.is_file():
                raise InputError(
                    f"there is no file of labels at {labels}", "Check the path.", parameter="labels"
                )
        table = read_table(labels, SILENT)
        given = table.columns["label"]
        kept = [row for row, label in enumerate(given) if label.strip()]
        blank = len(given) - len(kept)
        table.columns = {
            name: [column[row] for row in kept] for name, column in table.columns.items()
        }
        table.places = [table.places[row] for row in kept]
        if len(kept) < MIN_LABELS:
            raise InputError(
                f"{table.source} has {plural(len(kept), 'label')}"
                + (f" and {plural(blank, 'row')} without one" if blank else ""),
                f"Label {MIN_LABELS} images or more.",
                parameter="labels",
            )
        weight = np.ones(len(kept))
        if WEIGHT in table.columns:
            weight = sampling_weights(pd.Series(table.columns[WEIGHT]))
        return cls(
            table,
            labels.parent if isinstance(labels, Path) else Path(),
            np.array(_sick(table, classes), bool),
            weight,
            WEIGHT in table.columns,
            blank,
        )

    @property
    def blank_sentence(self) -> str:
        """Warning that labels are missing, or nothing."""
        if not self.blank:
            return ""
        return (
            f"CAUTION: {plural(self.blank, 'row')} of {self.table.name} without a label: images "
            "that are hard to label must not be left out."
        )

    def rows_in(self, images: UnlabelledImages) -> NDArray[np.intp]:
        """Find the image of each label among the images of a site.

        Raises
        ------
        InputError
            If one isn't among them, or two labels are of one image.
        """
        known: dict[str, int] = {}
        for row, path in enumerate(images.table["path"]):
            for way in (images.below(path), path, os.path.abspath(path)):  # noqa: PTH100
                known[os.path.normpath(way)] = row
        found: list[int] = []
        for number, written in enumerate(self.table.columns["path"]):
            path = as_path(written)
            ways = (os.path.normpath(path), os.path.abspath(self.folder / path))  # noqa: PTH100
            rows = [known[way] for way in ways if way in known]
            if not rows:
                raise self.table.error(
                    number,
                    f"{path!r} isn't among the images",
                    "Write paths relative to the folder of the images.",
                )
            if rows[0] in found:
                raise self.table.error(number, f"{path!r} has a label already", "Leave one out.")
            found.append(rows[0])
        return np.array(found, np.intp)


def _sick(table: Table, classes: tuple[str, str]) -> list[bool]:
    """Read the labels."""
    folded = {name.casefold(): name == classes[1] for name in classes}
    found = []
    for row, label in enumerate(table.columns["label"]):
        if (name := label.strip().casefold()) not in folded:
            try:
                require_known("class", label, classes)
            except InputError as error:
                raise table.error(row, error.what, error.hint) from None
        found.append(folded[name])
    return found
