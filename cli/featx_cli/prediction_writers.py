"""Verdicts as they come: rows of a table, of CSV, or of a JSON list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    "view",
)
RUN = "run"
"""First column, if there are several runs."""
_TABLE_COLUMNS = (*COLUMNS[1:-2], "path", "error", "view")
"""Columns of the table. Widths of paths and errors aren't known before, so these come last."""


class Writer(Protocol):
    """Writes rows and keeps none in memory."""

    def rows(self, predictions: Sequence[Prediction]) -> None:
        """Write those of one image: one, or one of each run."""

    def end(self) -> None:
        """Write what comes after the last row."""


class CsvWriter:
    """A header, then a line a verdict. Numbers have full precision."""

    def __init__(self, file: TextIO, classes: Iterable[str], runs: Sequence[str]) -> None:  # noqa: ARG002
        self._write, self._runs = row_writer(file), runs
        self._write([*([RUN] if runs else []), *COLUMNS])
        self._on_screen = file.isatty()

    def rows(self, predictions: Sequence[Prediction]) -> None:
        """Write those of one image."""
        for fields in _fields(predictions, self._runs):
            cells = {name: _plain(value) for name, value in fields.items()}
            cells["path"] = path_cell(cells["path"])
            for name in cells.keys() & {RUN, "prediction", "error"}:
                cells[name] = text_cell(cells[name])
            row = cells.values()
            self._write(map(_on_one_line, row) if self._on_screen else row)

    def end(self) -> None:
        """Write nothing: nothing comes after the last row."""


class JsonWriter:
    """A list of objects, one a line."""

    def __init__(self, file: TextIO, classes: Iterable[str], runs: Sequence[str]) -> None:  # noqa: ARG002
        self._file, self._runs = file, runs
        self._before = "[\n"

    def rows(self, predictions: Sequence[Prediction]) -> None:
        """Write those of one image."""
        for fields in _fields(predictions, self._runs):
            self._file.write(f"{self._before}  {json.dumps(fields)}")
            self._before = ",\n"

    def end(self) -> None:
        """Close the list."""
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class TableWriter:
    """Columns of fixed width: a row doesn't wait for the longest one.

    If there are several runs, an empty line is between two images.
    """

    def __init__(self, file: TextIO, classes: Iterable[str], runs: Sequence[str]) -> None:
        self._file, self._runs = file, runs
        self._between = ""
        columns = (*([RUN] if runs else []), *_TABLE_COLUMNS)
        self._widths = {name: len(name) for name in columns}
        if runs:
            self._widths[RUN] = max(map(len, (RUN, *map(_on_one_line, runs))))
        self._widths["prediction"] = max(map(len, ("prediction", *classes)))
        self._widths["path"] = self._widths["error"] = 0
        self._widths["score"] = len("0.0000")
        self._line({name: name for name in columns})

    def rows(self, predictions: Sequence[Prediction]) -> None:
        """Write those of one image."""
        self._file.write(self._between)
        self._between = "\n" if self._runs else ""
        for fields in _fields(predictions, self._runs):
            for name, value in fields.items():
                if isinstance(value, float):
                    fields[name] = f"{value:.2f}" if name == "distance" else f"{value:.4f}"
            flags = {True: "yes", False: "no", None: ""}
            fields |= {name: flags[fields[name]] for name in ("uncertain", "unlike_training")}
            self._line({name: _on_one_line(fields[name]) for name in self._widths})

    def end(self) -> None:
        """Write nothing: nothing comes after the last row."""

    def _line(self, cells: dict[str, str]) -> None:
        words = (RUN, "prediction", "path", "error", "view")
        padded = (
            cells[name].ljust(width) if name in words else cells[name].rjust(width)
            for name, width in self._widths.items()
        )
        self._file.write("  ".join(padded).rstrip() + "\n")


WRITERS: dict[str, Callable[[TextIO, Iterable[str], Sequence[str]], Writer]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
}


def write_verdicts(
    predictions: Iterable[Sequence[Prediction]],
    format: str,
    file: TextIO,
    classes: Iterable[str],
    runs: Sequence[str] = (),
) -> Iterable[Sequence[Prediction]]:
    """Write predictions as they come, and pass them on.

    Parameters
    ----------
    predictions
        Predictions, as `featx.scoring.predict_images_by_run` yields them: those of an image.
    format
        Format: ``table``, ``csv`` or ``json``.
    file
        File to write to. It is flushed after each image: a reader of a pipe doesn't wait.
    classes
        Names of the classes, for the width of their column.
    runs
        Names of the runs, which are then the first column. Empty if there is one run.
    """
    writer = WRITERS[format](file, classes, runs)
    for those_of_an_image in predictions:
        writer.rows(those_of_an_image)
        file.flush()
        yield those_of_an_image
    writer.end()


def _fields(predictions: Sequence[Prediction], runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the columns of each row of an image."""
    for number, prediction in enumerate(predictions):
        fields = {RUN: runs[number]} if runs else {}
        yield fields | {column: getattr(prediction, column) for column in COLUMNS}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def _on_one_line(value: Any) -> str:
    """Keep a name with a line end in it from looking like two rows."""
    return "" if value is None else printable(str(value))
