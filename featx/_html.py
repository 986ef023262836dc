"""Small HTML tables, for what notebooks show of runs, evaluations and predictions."""

from __future__ import annotations

import html
from collections.abc import Iterable

import pandas as pd


def html_table(
    table: pd.DataFrame, notes: Iterable[str] = (), *, title: str = "", number: str = "{:.4g}"
) -> str:
    """Return a table as HTML, with a title above it and a line below it for each note.

    Numbers that aren't whole are written in the format `number`.

    Examples
    --------
    >>> print(html_table(pd.DataFrame({"recall": [0.96]}), ["1 < 2"])[-27:])
    </table><div>1 &lt; 2</div>
    """
    above = f"<div><b>{html.escape(title)}</b></div>" if title else ""
    below = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
    page = table.to_html(index=False, na_rep="", float_format=number.format, border=0)
    return above + page + below
