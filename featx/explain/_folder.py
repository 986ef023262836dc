"""Files of `featx explain`: a figure for each image, and a table as CSV and JSON."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from featx.errors import InputError
from featx.explain._explanations import MADE_BY, Explanation
from featx_cache._spreadsheets import path_cell, row_writer, text_cell
from featx_cache.files import atomic_path, open_regular

MAX_STEM_BYTES = 180
"""File systems allow names of 255 bytes, of which endings and temporary names need some."""

CSV_NAME, JSON_NAME = "explanations.csv", "explanations.json"
COLUMNS = (
    "path", "figure", "score", "threshold", "verdict", "uncertain", "peak_row", "peak_column",
    "peak", "rows", "columns", "method", "unit", "neighbours", "error",
)  # fmt: skip


def as_csv(explanations: Sequence[Explanation]) -> str:
    """Return explanations as CSV text. The paths of neighbors are a JSON list."""
    text = io.StringIO()
    write = row_writer(text)
    layers = [f"from_{name}" for name in (explanations[0].layers if explanations else ())]
    columns = [*COLUMNS, *layers]
    write(columns)
    for explanation in explanations:
        fields = explanation.as_row()
        fields["neighbours"] = json.dumps([n["path"] for n in fields["neighbours"]])
        write(_cell(column, fields[column]) for column in columns)
    return text.getvalue()


def _cell(column: str, value: Any) -> Any:
    if isinstance(value, str):
        return path_cell(value) if column in ("path", "figure") else text_cell(value)
    return "" if value is None else value


def as_json(explanations: Sequence[Explanation], about: dict[str, Any]) -> str:
    """Return explanations as JSON text, with the maps themselves."""
    found = []
    for explanation in explanations:
        heat = None if explanation.heat is None else explanation.heat.tolist()
        found.append(explanation.as_row() | {"heat": heat})
    content = {"made_by": MADE_BY, **about, "explanations": found}
    return json.dumps(content, indent=1) + "\n"


def figure_names(files: Sequence[Path]) -> list[str]:
    """Name a figure for each image. Images that share a name get numbers.

    Some file systems take a.png and A.png for one.
    """
    taken: set[str] = set()
    names = []
    for path in files:
        stem = path.stem
        while len(os.fsencode(stem)) > MAX_STEM_BYTES:
            stem = stem[:-1]
        number, name = 1, f"{stem}-explained.png"
        while name.lower() in taken:
            number += 1
            name = f"{stem}-explained-{number}.png"
        taken.add(name.lower())
        names.append(name)
    return names


def require_free(folder: Path, figures: Iterable[str] = (), *, force: bool) -> None:
    """Refuse to replace a file unasked, and a file that isn't an explanation at all."""
    for path in (folder / name for name in (*figures, CSV_NAME, JSON_NAME)):
        if path.exists() and not force:
            raise InputError(
                f"{path} exists already",
                "Give another folder, or `force=True` to replace explanations.",
            )
        if path.exists() and not _is_ours(path):
            raise InputError(
                f"{path} is there already, and featx didn't make it",
                "Give another folder, or remove it yourself.",
            )


def _is_ours(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            if path.name == CSV_NAME:
                return file.readline().rstrip(b"\n") == ",".join(COLUMNS).encode()
            if path.name == JSON_NAME:
                return bool(json.load(file)["made_by"] == MADE_BY)
            with Image.open(file, formats=["PNG"]) as image:
                return image.info.get("Software") == MADE_BY
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return False


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
