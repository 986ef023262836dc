"""The table in a CSV or Parquet file, as text, with the line that each of its rows stands in."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from featx.data.build import PROBED
from featx.data.manifest import COLUMNS
from featx.errors import InputError
from featx.progress import Advance, Progress
from featx_cache import open_regular

SEPARATORS = (",", ";", "\t")
REQUIRED = ("path", "label")
_ROWS_BETWEEN_NEWS = 50_000

EXPANSION = 100
"""How many times its size on disk a Parquet file may have in memory, beyond `SMALL`."""
SMALL = 2**28
"""Bytes that it may always have."""
_ROWS_AT_ONCE = 8192
_POINTER, _OVERHEAD = 8, 56
"""Bytes that a value takes in a list, and a text beside its characters."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(slots=True)
class Table:
    """Columns of text, and the line (CSV) or row (Parquet) that each row stands in."""

    path: Path
    unit: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def complaint(self, row: int, what: str, hint: str = "") -> InputError:
        return InputError(f"{self.path}, {self.unit} {self.lines[row]}: {what}", hint)


def read_table(path: Path, progress: Progress) -> Table:
    """Read a CSV file, or one whose name ends with ``.parquet``.

    Parameters
    ----------
    path
        Has the columns path and label. Of CSV the separator is found in the header.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When it can't be read, has no such columns or no rows, with the number of the line.
    """
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, progress)


def _read_csv(path: Path, progress: Progress) -> Table:
    table = Table(path, "line")
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header = file.readline()
            file.seek(0)
            if "\0" in header:
                raise InputError(f"{path}, line 1: it isn't text in UTF-8", "Save it as UTF-8.")
            separator = _separator(header)
            with progress.task(f"Reading {path.name}", path.stat().st_size, "byte") as advance:
                _read_rows(table, csv.reader(file, delimiter=separator, strict=True), advance)
    except csv.Error as error:
        line = table.lines[-1] + 1 if table.lines else 1
        raise InputError(
            f"{path}, line {line} or below: {error}", "Is a quotation mark missing?"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {(error.strerror or str(error)).lower()}"
        ) from error
    if not table.lines:
        raise InputError(
            f"{path} is empty" if not table.columns else f"{path} has a header and no rows",
            "featx needs the columns path and label, and a row an image.",
        )
    return table


def _separator(header: str) -> str:
    """Choose the separator that makes the header have the columns that it must have."""
    for separator in SEPARATORS:
        names = next(csv.reader([header], delimiter=separator), [])
        if {name.strip().lower() for name in names}.issuperset(REQUIRED):
            return separator
    return ","


def _read_rows(table: Table, reader: Any, advance: Advance) -> None:
    """Read what `csv.reader` gives, which knows the number of the line that it has read."""
    names: list[str] = []
    shared: dict[str, str] = {}
    columns: list[list[str]] = []
    last, done, exact = 0, 0, False
    for fields in reader:
        line, last = last + 1, reader.line_num
        if not fields:
            continue
        if not names:
            names = _header(table.path, fields)
            # What featx saved is read as it is; in what people write, spaces mean nothing.
            exact = set(PROBED) <= set(names)
            columns = [[] for _ in names]
            table.columns = dict(zip(names, columns, strict=True))
            continue
        table.lines.append(line)
        if len(fields) != len(names):
            raise table.complaint(
                len(table.lines) - 1,
                f"{len(fields)} field{'s' if len(fields) != 1 else ''}, where the header has "
                f"{len(names)}",
                "Use one separator throughout, and put fields that contain it in quotation marks.",
            )
        done += sum(map(len, fields)) + len(fields)
        for name, column, value in zip(names, columns, fields, strict=True):
            if name not in ("path", "sha256"):
                value = value if exact else value.strip()
                value = shared.setdefault(value, value)
            column.append(value)
        if len(table.lines) % _ROWS_BETWEEN_NEWS == 0:
            advance(done)
            done = 0
    advance(done)


def _header(path: Path, fields: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    names = [name.lower() if name.lower() in COLUMNS else name for name in names]
    if foreign := [name for name in names if not _is_text(name)]:
        raise InputError(
            f"{path}, line 1: the name of the column {foreign[0]!r} isn't in UTF-8",
            "Save the file as UTF-8.",
        )
    for name in REQUIRED:
        if name not in names:
            raise InputError(
                f"{path}, line 1: there is no column {name!r} in {', '.join(map(repr, names))}",
                "featx needs the columns path and label; split and group are welcome.",
            )
    twice = {name for name in names if names.count(name) > 1}
    if twice or "" in names:
        problem = f"the column {max(twice)!r} is there twice" if any(twice) else "an unnamed column"
        raise InputError(f"{path}, line 1: {problem}", "Name every column once.")
    return names


def _is_text(name: str) -> bool:
    """Say whether a name can be written as UTF-8; values that can't are kept as they are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path) -> Table:
    try:
        columns, rows = _parquet_columns(path)
    except Exception as error:  # Arrow has many words for damage
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{path} can't be read as Parquet ({reason})", "Save it again.") from error
    names = _header(path, [name for name, _ in columns])
    if not rows:
        raise InputError(f"{path} has no rows", "featx needs a row an image.")
    table = Table(path, "row", lines=list(range(1, rows + 1)))
    table.columns = {name: values for name, (_, values) in zip(names, columns, strict=True)}
    return table


def _parquet_columns(path: Path) -> tuple[list[tuple[str, list[str]]], int]:
    """Return names with values as text, and how many there are; missing values are empty.

    A small file may stand for any amount of text: what it unpacks to is bounded before, by what it
    says of itself, and while it is read, a few rows at a time. Text that is stored once is held
    once.
    """
    import pyarrow.parquet as pq

    with open_regular(path) as file:
        # With no threads, and no reading ahead, no more than a few rows are unpacked at a time.
        parquet = pq.ParquetFile(file, read_dictionary=_texts_in(path, file))
        room = EXPANSION * os.fstat(file.fileno()).st_size + SMALL
        rows, step = parquet.metadata.num_rows, _rows_at_once(parquet.metadata, room)
        names = [name for name in parquet.schema_arrow.names if not _PANDAS_INDEX.match(name)]
        columns: list[tuple[str, list[str]]] = [(name, []) for name in names]
        room -= _POINTER * rows * len(names)
        for batch in parquet.iter_batches(step, use_threads=False) if room >= 0 else ():
            for (name, values), column in zip(columns, batch.select(names).columns, strict=True):
                texts, taken = _texts_of(column)
                values += texts
                room -= taken
            if room < 0:
                break
        if room < 0:
            raise ValueError(f"it would be unpacked to more than {EXPANSION} times its size")
    return columns, rows


def _texts_in(path: Path, file: BinaryIO) -> list[str]:
    """List the columns that hold text, which are read as dictionaries: values, and their numbers."""
    import pyarrow.parquet as pq

    schema = pq.ParquetFile(file).schema
    file.seek(0)
    return [
        column.path for column in map(schema.column, range(len(schema)))
        if column.physical_type == "BYTE_ARRAY"
    ]  # fmt: skip


def _rows_at_once(metadata: Any, room: int) -> int:
    """Choose how many rows are unpacked at a time, so that they can't fill the memory.

    Raises
    ------
    ValueError
        When one column alone says that it is too large.
    """
    step = _ROWS_AT_ONCE
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            size = column.total_uncompressed_size
            if size > room:
                raise ValueError(f"{column.path_in_schema} is {size} bytes when it is unpacked")
            # In this encoding each text may begin as the one before it does, however long that is.
            if size and "DELTA_BYTE_ARRAY" in column.encodings:
                step = min(step, max(1, room // size))
    return step


def _texts_of(column: Any) -> tuple[list[str], int]:
    """Return a column's values as text, and how many bytes of memory the texts take."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        values = column.to_pylist()
        texts = ["" if value is None or value != value else str(value) for value in values]
        return texts, sum(map(len, texts)) + _OVERHEAD * len(texts)
    number = column.indices.fill_null(-1).to_numpy()
    used, place = np.unique(number, return_inverse=True)
    known = column.dictionary.take(pa.array(used[used >= 0])).to_pylist()
    known = [""] * int(used[:1].tolist() == [-1]) + known
    different = ["" if value is None or value != value else str(value) for value in known]
    taken = sum(map(len, different)) + _OVERHEAD * len(different)
    return [different[each] for each in place.tolist()], taken
