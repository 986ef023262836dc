"""CSV files that people open in a spreadsheet, which runs cells that look like formulas.

The rule is that of OWASP (CSV injection): no cell begins with ``=``, ``+``, ``-``, ``@``, a tab or
a line break. A path gets ``./`` in front, which leads to the same file. Other text gets an
apostrophe, which `as_text` takes away again. Numbers, and signs alone, stay as they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r\n]")
_NUMBER_OR_SIGN = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?|[=+\-@]", re.IGNORECASE)


def path_cell(path: str) -> str:
    """Write a path so that it is no formula, and still leads to the file.

    Examples
    --------
    >>> path_cell("=1+1.png"), path_cell("a/=1+1.png")
    ('./=1+1.png', 'a/=1+1.png')
    """
    return f"./{path}" if _FORMULA.match(path) else path


def as_path(cell: str) -> str:
    """Return the path that `path_cell` made a cell of.

    Examples
    --------
    >>> as_path("./=1+1.png"), as_path("./a.png")
    ('=1+1.png', './a.png')
    """
    return cell[2:] if cell.startswith("./") and _FORMULA.match(cell[2:]) else cell


def text_cell(text: str) -> str:
    """Write text so that it is no formula. `as_text` is the way back.

    Examples
    --------
    >>> text_cell("=1+1"), text_cell("-1.5"), text_cell("NORMAL")
    ("'=1+1", '-1.5', 'NORMAL')
    """
    acts = _QUOTED_FORMULA.match(text) or (
        _FORMULA.match(text) and not _NUMBER_OR_SIGN.fullmatch(text)
    )
    return f"'{text}" if acts else text


def as_text(cell: str) -> str:
    """Return the text that `text_cell` made a cell of.

    Examples
    --------
    >>> as_text("'=1+1"), as_text("'quoted'")
    ('=1+1', "'quoted'")
    """
    return cell[1:] if _QUOTED_FORMULA.match(cell) else cell


def row_writer(file: TextIO) -> Callable[[Iterable[Any]], None]:
    """Return a function that writes a row of CSV. Its text must be fit for a spreadsheet already.

    Python before 3.13 doesn't quote a carriage return, after which a reader begins a new row.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)

    def write(row: Iterable[Any]) -> None:
        cells = list(row)
        (quoted if _has_returns(cells) else plain).writerow(cells)

    return write


def to_csv(
    table: pd.DataFrame,
    target: Path | None = None,
    *,
    paths: Collection[str] = ("path",),
    **options: Any,
) -> str:
    """Write a table as CSV whose text is fit for a spreadsheet.

    Parameters
    ----------
    table
        Its numbers stay as they are, and its index is left out.
    target
        File to write. None returns the text.
    paths
        Columns that hold paths.
    options
        For `pandas.DataFrame.to_csv`.
    """
    cells = as_cells(table, paths=paths)
    returns = any(_has_returns(cells[name]) for name in cells if cells[name].dtype == object)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return cells.to_csv(target, index=False, quoting=quoting, **options) or ""  # type: ignore[call-overload]


def _has_returns(cells: Iterable[Any]) -> bool:
    return any(isinstance(cell, str) and "\r" in cell for cell in cells)


def as_cells(table: pd.DataFrame, *, paths: Collection[str] = ("path",)) -> pd.DataFrame:
    """Make the text of a table, and the names of its columns, fit for a spreadsheet."""
    import pandas as pd

    cells = {}
    for name, column in table.items():
        if column.dtype.kind not in "biuf":
            write = path_cell if name in paths else text_cell
            values = [write(value) if isinstance(value, str) else value for value in column]
            # Pandas's own type of text can't hold names that aren't UTF-8.
            column = pd.Series(values, column.index, dtype=object)
        cells[text_cell(str(name))] = column
    return pd.DataFrame(cells, index=table.index)
