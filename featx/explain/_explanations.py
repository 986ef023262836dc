"""What `featx explain` leaves in a folder: a table of explanations, and names of their figures."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.errors import InputError
from featx.explain._figure import Neighbour, Verdict
from featx.explain._maps import Method, peak
from featx_cache._spreadsheets import path_cell, row_writer, text_cell
from featx_cache.files import atomic_path, open_regular

LONGEST_STEM = 180
"""Bytes; file systems allow 255, of which endings and temporary names need some."""

MADE_BY = "featx explain"
TABLE, LIST = "explanations.csv", "explanations.json"
COLUMNS = (
    "path", "figure", "score", "threshold", "verdict", "uncertain", "peak_row", "peak_column",
    "peak", "rows", "columns", "method", "unit", "neighbours", "error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found of one image file.

    Attributes
    ----------
    path
        As it was given.
    figure
        Name of the PNG file; empty when the image could not be read.
    verdict
        Score, threshold and so on; None when it could not be read.
    method
        How the heat map was made.
    heat : ndarray of shape (rows, columns), dtype float32, or None
        The map.
    neighbours
        Training images like it, of the class that it was called first.
    error
        Why it could not be read; empty when it could.
    """

    path: str
    figure: str
    verdict: Verdict | None
    method: Method
    heat: NDArray[np.float32] | None
    neighbours: tuple[Neighbour, ...] = ()
    error: str = ""


def as_csv(explanations: Sequence[Explanation]) -> str:
    """Return explanations as CSV text; the paths of neighbours are a JSON list."""
    text = io.StringIO()
    write = row_writer(text)
    write(COLUMNS)
    for explanation in explanations:
        fields = _fields(explanation)
        fields["neighbours"] = json.dumps([n["path"] for n in fields["neighbours"]])
        write(_cell(c, fields[c]) for c in COLUMNS)
    return text.getvalue()


def _cell(column: str, value: Any) -> Any:
    if isinstance(value, str):
        return path_cell(value) if column in ("path", "figure") else text_cell(value)
    return "" if value is None else value


def as_json(explanations: Sequence[Explanation], about: dict[str, Any]) -> str:
    """Return explanations as JSON text, with the maps themselves.

    Parameters
    ----------
    explanations
        One an image.
    about
        What is to be said of all: run, head, classes.
    """
    found = []
    for explanation in explanations:
        heat = None if explanation.heat is None else explanation.heat.tolist()
        found.append(_fields(explanation) | {"heat": heat})
    content = {"made_by": MADE_BY, **about, "explanations": found}
    return json.dumps(content, indent=1) + "\n"


def _fields(explanation: Explanation) -> dict[str, Any]:
    verdict, heat = explanation.verdict, explanation.heat
    row, column = (None, None) if heat is None else peak(heat)
    rows, columns = (None, None) if heat is None else heat.shape
    values = (
        explanation.path,
        explanation.figure,
        None if verdict is None else verdict.score,
        None if verdict is None else verdict.threshold,
        "" if verdict is None else verdict.called,
        None if verdict is None else verdict.uncertain,
        row,
        column,
        None if heat is None else float(heat.max()),
        rows,
        columns,
        explanation.method.name,
        explanation.method.unit,
        [
            {"path": n.path, "label": n.label, "distance": n.distance}
            for n in explanation.neighbours
        ],
        explanation.error,
    )
    return dict(zip(COLUMNS, values, strict=True))


def figure_names(files: Sequence[Path]) -> list[str]:
    """Name a figure for each image; images that share a name get numbers.

    Some file systems take a.png and A.png for one.
    """
    taken: set[str] = set()
    names = []
    for path in files:
        stem = path.stem
        while len(os.fsencode(stem)) > LONGEST_STEM:
            stem = stem[:-1]
        number, name = 1, f"{stem}-explained.png"
        while name.lower() in taken:
            number += 1
            name = f"{stem}-explained-{number}.png"
        taken.add(name.lower())
        names.append(name)
    return names


def require_replaceable(files: Iterable[Path], force: bool) -> None:
    """Refuse to replace a file unasked, and one that isn't an explanation at all.

    Raises
    ------
    InputError
        Naming the first such file.
    """
    for path in files:
        if path.exists() and not force:
            raise InputError(
                f"{path} exists already",
                "Give another folder, or `force=True` to replace explanations.",
            )
        if path.exists() and not _is_ours(path):
            raise InputError(
                f"{path} is there already, and `featx explain` didn't make it",
                "Give another folder, or remove it yourself.",
            )


def _is_ours(path: Path) -> bool:
    try:
        if path.name == TABLE:
            with open_regular(path) as file:
                return file.readline().rstrip(b"\n") == ",".join(COLUMNS).encode()
        if path.name == LIST:
            with open_regular(path) as file:
                return bool(json.load(file)["made_by"] == MADE_BY)
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as image:
            return image.info.get("Software") == MADE_BY
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return False


def write(path: Path, text: str) -> None:
    """Write a text file whole, or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
