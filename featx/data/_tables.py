"""The table in a CSV or Parquet file, as text, with the line that each of its rows stands in."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from featx._progress import Advance, Progress
from featx.data._build import PROBED
from featx.data._manifest import COLUMNS
from featx.errors import InputError
from featx_cache._spreadsheets import as_text
from featx_cache.files import open_regular

SEPARATORS = (",", ";", "\t")
REQUIRED = ("path", "label")
_ROWS_BETWEEN_NEWS = 50_000

EXPANSION = 100
"""How many times its size on disk a Parquet file may have in memory, beyond `SMALL`."""
SMALL = 2**28
"""Bytes that it may always have."""
_ROWS_AT_ONCE, _BATCH_BYTES = 8192, 2**27
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
                if value[:1] == "'":
                    value = as_text(value)
                value = shared.setdefault(value, value)
            column.append(value)
        if len(table.lines) % _ROWS_BETWEEN_NEWS == 0:
            advance(done)
            done = 0
    advance(done)


def _header(path: Path, fields: list[str]) -> list[str]:
    names = [as_text(name.strip()) for name in fields]
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
    if twice or "" in names[1:]:  # the first without a name is pandas's row number
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

    A small file may stand for any amount of text. It is bounded before it is unpacked, by what the
    file says of itself, and meanwhile, a few rows at a time.
    """
    import pyarrow.parquet as pq

    with open_regular(path) as file:
        room = EXPANSION * os.fstat(file.fileno()).st_size + SMALL
        parquet = pq.ParquetFile(file)
        rows, step = parquet.metadata.num_rows, _rows_at_once(parquet.metadata, file, room)
        names = [name for name in parquet.schema_arrow.names if not _PANDAS_INDEX.match(name)]
        columns: list[tuple[str, list[str]]] = [(name, []) for name in names]
        shared: list[dict[str, str]] = [{} for _ in names]
        room -= _POINTER * rows * len(names)
        for batch in (
            parquet.iter_batches(step, columns=names, use_threads=False) if room >= 0 else ()
        ):
            for (_, values), column, known in zip(columns, batch.columns, shared, strict=True):
                texts, taken = _texts_of(column, known)
                values += texts
                room -= taken
            if room < 0:
                break
        if room < 0:
            raise ValueError(f"it would be unpacked to more than {EXPANSION} times its size")
    return columns, rows


def _rows_at_once(metadata: Any, file: BinaryIO, room: int) -> int:
    """Choose how many rows are unpacked at a time, so that they can't fill the memory.

    Raises
    ------
    ValueError
        When one column alone says that it is too large.
    """
    longest = 1
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            size = column.total_uncompressed_size
            dictionary = 0
            if column.has_dictionary_page:  # each row may be its longest value
                dictionary = _page_size(file, column.dictionary_page_offset)
            if max(size, dictionary) > room:
                raise ValueError(f"{column.path_in_schema} is {size} bytes when it is unpacked")
            # In this encoding each text may begin as the one before it does, however long that is.
            delta = size if "DELTA_BYTE_ARRAY" in column.encodings else 0
            if column.physical_type == "BYTE_ARRAY":
                longest = max(longest, dictionary, delta)
    file.seek(0)
    return min(_ROWS_AT_ONCE, max(1, _BATCH_BYTES // longest))


def _page_size(file: BinaryIO, offset: int) -> int:
    """Read how large a page is when it is unpacked: the second number of its header.

    Headers are in Thrift's compact protocol: a byte that names the field, then 7 bits a byte.
    """
    file.seek(offset)
    header, value = file.read(16), 0
    number = 1 + next(place for place in range(1, len(header)) if header[place] < 0x80)
    for place, byte in enumerate(header[number + 1 :]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return value >> 1


def _texts_of(column: Any, known: dict[str, str]) -> tuple[list[str], int]:
    """Return a column's values as text, and how many bytes of memory it took to make them."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = column.fill_null("").to_numpy(zero_copy_only=False).tolist()
    else:
        found = column.to_pylist()
        values = ["" if value is None or value != value else str(value) for value in found]
    new = [value for value in set(values) if value not in known]
    if 2 * len(new) > len(values):  # most are different, such as paths
        new = values
    else:
        known.update(zip(new, new, strict=True))
        values = [known[value] for value in values]
    return values, column.nbytes + sum(map(len, new)) + _OVERHEAD * len(new)
