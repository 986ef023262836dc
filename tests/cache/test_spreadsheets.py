"""Cells of CSV files that a spreadsheet must not run, and the way back."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx_cache._spreadsheets import as_cells, as_path, as_text, path_cell, text_cell, to_csv

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "+ve"]
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_text_and_paths(text: str) -> None:
    assert text_cell(text) == f"'{text}"
    assert path_cell(text) == f"./{text}"
    assert as_path(path_cell(text)) == text


@pytest.mark.parametrize(
    "text", ["", "NORMAL", "-", "+", "-1", "+1.5", "-1e-05", "1-2", "a=b", "'quoted'", "ünï"]
)
def test_other_text_and_numbers_stay(text: str) -> None:
    assert text_cell(text) == text


@given(st.text(st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "'", "a", "1", "."])))
def test_what_was_written_comes_back(text: str) -> None:
    cell = text_cell(text)
    if not text.startswith("'") or text.lstrip("'").startswith(STARTS):
        assert as_text(cell) == text
    assert not cell.startswith(STARTS) or cell in STARTS or float(cell) == float(text)


def test_tables_keep_their_numbers_and_what_is_missing() -> None:
    table = pd.DataFrame(
        {"path": ["=1.png", "a/=1.png"], "=label": ["=A", None], "score": [-1.5, 2.0]}
    )
    cells = as_cells(table)
    assert cells.to_csv(index=False) == "path,'=label,score\n./=1.png,'=A,-1.5\na/=1.png,,2.0\n"
    carriage = pd.DataFrame({"path": ["a\r=1.png"], "score": [-1.5]})
    assert to_csv(carriage) == '"path","score"\n"a\r=1.png",-1.5\n'
    assert as_cells(pd.DataFrame({"path": ["\udcff"]}, dtype=object)).loc[0, "path"] == "\udcff"
    assert as_cells(table[:0]).columns.tolist() == ["path", "'=label", "score"]
