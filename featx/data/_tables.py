"""Tables in CSV and Parquet files and DataFrames, as text, with the place of each row."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import pandas as pd

from featx._progress import Advance, Progress
from featx.data._make_manifest import FILE_COLUMNS
from featx.data._manifest import COLUMNS
from featx.errors import InputError, NoLabelsError
from featx_cache._spreadsheets import as_text
from featx_cache._text import first_line
from featx_cache.files import open_regular

SEPARATORS = (",", ";", "\t")
PATH, LABEL = "path", "label"
_ROWS_PER_ADVANCE = 50_000

MAX_EXPANSION = 100
"""Largest size of a Parquet file in memory by its size on disk, in addition to `FREE_BYTES`."""
FREE_BYTES = 2**28
"""Bytes in memory that any Parquet file may have."""
_ROWS_AT_ONCE, _BATCH_BYTES = 8192, 2**27
_POINTER, _OVERHEAD = 8, 56
"""Bytes that a value takes in a list, and a text beside its characters."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(slots=True)
class Table:
    """Columns of text, and where each row stands.

    Attributes
    ----------
    source
        Path of the file, or what a DataFrame is called in messages.
    unit
        Kind of the places: line (CSV) or row (Parquet, DataFrame).
    columns
        Values by the name of their column. Missing values are empty.
    places
        Number of each row's line, or its label in the DataFrame's index.
    """

    source: str
    unit: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    places: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name without the folder."""
        return PurePath(self.source).name

    def error(self, row: int, what: str, hint: str = "") -> InputError:
        """Return an error that says where it is."""
        return InputError(self.at(row, what), hint)

    def at(self, row: int, what: str) -> str:
        """Say where something is."""
        return f"{self.source}, {self.unit} {self.places[row]}: {what}"


def read_table(data: Path | pd.DataFrame, progress: Progress) -> Table:
    """Read a DataFrame, a file whose name ends with ``.parquet``, or any other as CSV.

    It must have rows and the columns path and label. The separator of CSV is found in the header.
    """
    if isinstance(data, pd.DataFrame):
        return _read_frame(data)
    return _read_parquet(data) if data.suffix.lower() == ".parquet" else _read_csv(data, progress)


def _read_frame(frame: pd.DataFrame) -> Table:
    names = _header("the DataFrame", [str(name) for name in frame.columns])
    if frame.empty:
        raise InputError("the DataFrame has no rows", "featx needs a row an image.")
    table = Table("the DataFrame", "row", places=frame.index.tolist())
    exact = set(FILE_COLUMNS) <= set(names)
    for number, name in enumerate(names):
        column = frame.iloc[:, number]
        pairs = zip(column.tolist(), column.isna().tolist(), strict=True)
        texts = ["" if missing else str(value) for value, missing in pairs]
        strips = not exact and name not in (PATH, "sha256")
        table.columns[name] = [text.strip() for text in texts] if strips else texts
    return table


def _read_csv(path: Path, progress: Progress) -> Table:
    table = Table(str(path), "line")
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
        line = table.places[-1] + 1 if table.places else 1
        raise InputError(
            f"{path}, line {line} or below: {error}", "Is a quotation mark missing?"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {(error.strerror or str(error)).lower()}"
        ) from error
    if not table.places:
        raise InputError(
            f"{path} is empty" if not table.columns else f"{path} has a header and no rows",
            "featx needs the columns path and label, and a row an image.",
        )
    return table


def _separator(header: str) -> str:
    """Choose the separator that makes the header have the columns that it must have."""
    for separator in SEPARATORS:
        names = next(csv.reader([header], delimiter=separator), [])
        if {name.strip().lower() for name in names}.issuperset((PATH, LABEL)):
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
            names = _header(f"{table.source}, line 1", fields)
            # Tables that featx saved are read as they are. People write spaces that mean nothing.
            exact = set(FILE_COLUMNS) <= set(names)
            columns = [[] for _ in names]
            table.columns = dict(zip(names, columns, strict=True))
            continue
        table.places.append(line)
        if len(fields) != len(names):
            raise table.error(
                -1,
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
        if len(table.places) % _ROWS_PER_ADVANCE == 0:
            advance(done)
            done = 0
    advance(done)


def _header(where: str, fields: list[str]) -> list[str]:
    names = [as_text(name.strip()) for name in fields]
    names = [name.lower() if name.lower() in COLUMNS else name for name in names]
    if foreign := [name for name in names if not _is_text(name)]:
        raise InputError(
            f"{where}: the name of the column {foreign[0]!r} isn't in UTF-8",
            "Save the file as UTF-8.",
        )
    for name, error in ((PATH, InputError), (LABEL, NoLabelsError)):
        if name not in names:
            raise error(
                f"{where}: there is no column {name!r} in {', '.join(map(repr, names))}",
                "featx needs the columns path and label. split and group are welcome.",
            )
    twice = {name for name in names if names.count(name) > 1}
    if twice or "" in names[1:]:  # the first without a name is pandas's row number
        problem = f"the column {max(twice)!r} is there twice" if any(twice) else "an unnamed column"
        raise InputError(f"{where}: {problem}", "Name every column once.")
    return names


def _is_text(name: str) -> bool:
    """Say whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path) -> Table:
    try:
        columns, rows = _parquet_columns(path)
    except Exception as error:  # Arrow has many words for damage
        reason = first_line(error)[:200]
        raise InputError(f"{path} can't be read as Parquet ({reason})", "Save it again.") from error
    names = _header(f"{path}, line 1", [name for name, _ in columns])
    if not rows:
        raise InputError(f"{path} has no rows", "featx needs a row an image.")
    table = Table(str(path), "row", places=list(range(1, rows + 1)))
    table.columns = {name: values for name, (_, values) in zip(names, columns, strict=True)}
    return table


def _parquet_columns(path: Path) -> tuple[list[tuple[str, list[str]]], int]:
    """Return columns as text, missing values empty, and the number of rows.

    A small file may stand for any amount of text. Its size is checked before it is unpacked, by
    what the file says, and while it is unpacked, a few rows at a time.
    """
    import pyarrow.parquet as pq

    with open_regular(path) as file:
        room = MAX_EXPANSION * os.fstat(file.fileno()).st_size + FREE_BYTES
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
            raise ValueError(f"it would be unpacked to more than {MAX_EXPANSION} times its size")
    return columns, rows


def _rows_at_once(metadata: Any, file: BinaryIO, room: int) -> int:
    """Choose how many rows are unpacked at a time, so that they can't fill the memory."""
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
