"""Verdicts as they come: rows of a table, of CSV, or of a JSON list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from featx_cache._spreadsheets import path_cell, row_writer, text_cell
from featx_cache._text import printable

if TYPE_CHECKING:
    from featx.scoring import Prediction

COLUMNS = (
    "path",
    "score",
    "probability",
    "threshold",
    "prediction",
    "uncertain",
    "unlike_training",
    "distance",
    "error",
)
_TABLE_COLUMNS = (*COLUMNS[1:-1], "path", "error")
"""Columns of the table. Widths of paths and errors aren't known before, so these come last."""


class Writer(Protocol):
    """Writes rows and keeps none in memory."""

    def row(self, prediction: Prediction) -> None:
        """Write one."""

    def end(self) -> None:
        """Write what comes after the last row."""


class CsvWriter:
    """A header, then a line a verdict. Numbers have full precision."""

    def __init__(self, file: TextIO, classes: tuple[str, str]) -> None:  # noqa: ARG002
        self._write = row_writer(file)
        self._write(COLUMNS)
        self._on_screen = file.isatty()

    def row(self, prediction: Prediction) -> None:
        """Write one."""
        cells = {name: _plain(value) for name, value in _fields(prediction).items()}
        cells["path"] = path_cell(cells["path"])
        for name in ("prediction", "error"):
            cells[name] = text_cell(cells[name])
        row = cells.values()
        self._write(map(_on_one_line, row) if self._on_screen else row)

    def end(self) -> None:
        """Write nothing: nothing comes after the last row."""


class JsonWriter:
    """A list of objects, one a line."""

    def __init__(self, file: TextIO, classes: tuple[str, str]) -> None:  # noqa: ARG002
        self._file = file
        self._before = "[\n"

    def row(self, prediction: Prediction) -> None:
        """Write one."""
        self._file.write(f"{self._before}  {json.dumps(_fields(prediction))}")
        self._before = ",\n"

    def end(self) -> None:
        """Close the list."""
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class TableWriter:
    """Columns of fixed width: a row doesn't wait for the longest one."""

    def __init__(self, file: TextIO, classes: tuple[str, str]) -> None:
        self._file = file
        self._widths = {name: len(name) for name in _TABLE_COLUMNS}
        self._widths["prediction"] = max(map(len, ("prediction", *classes)))
        self._widths["path"] = 0
        self._line({name: name for name in _TABLE_COLUMNS})

    def row(self, prediction: Prediction) -> None:
        """Write one."""
        fields = _fields(prediction)
        for name, value in fields.items():
            if isinstance(value, float):
                fields[name] = f"{value:.2f}" if name == "distance" else f"{value:.4f}"
        flags = {True: "yes", False: "no", None: ""}
        fields |= {name: flags[fields[name]] for name in ("uncertain", "unlike_training")}
        self._line({name: _on_one_line(fields[name]) for name in _TABLE_COLUMNS})

    def end(self) -> None:
        """Write nothing: nothing comes after the last row."""

    def _line(self, cells: dict[str, str]) -> None:
        words = ("prediction", "path", "error")
        padded = (
            cells[name].ljust(width) if name in words else cells[name].rjust(width)
            for name, width in self._widths.items()
        )
        self._file.write("  ".join(padded).rstrip() + "\n")


WRITERS: dict[str, Callable[[TextIO, tuple[str, str]], Writer]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
}


def write_verdicts(
    predictions: Iterable[Prediction], format: str, file: TextIO, classes: tuple[str, str]
) -> Iterable[Prediction]:
    """Write predictions as they come, and pass them on.

    Parameters
    ----------
    predictions
        Predictions, as `featx.scoring.predict_images` yields them.
    format
        Format: ``table``, ``csv`` or ``json``.
    file
        File to write to. It is flushed after each row: a reader of a pipe doesn't wait.
    classes
        Names of the two classes, for the width of their column.
    """
    writer = WRITERS[format](file, classes)
    for prediction in predictions:
        writer.row(prediction)
        file.flush()
        yield prediction
    writer.end()


def _fields(prediction: Prediction) -> dict[str, Any]:
    return {column: getattr(prediction, column) for column in COLUMNS}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _on_one_line(value: Any) -> str:
    """Keep a name with a line end in it from looking like two rows."""
    return "" if value is None else printable(str(value))
