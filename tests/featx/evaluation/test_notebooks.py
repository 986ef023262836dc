"""Tables that notebooks show: the figures that matter, and names that are no HTML."""

from __future__ import annotations

import pandas as pd
import pytest

from featx._scores import Scores
from featx.evaluation import Population, compare_populations, evaluate_scores, evaluate_subgroups

SCORES = Scores.from_arrays([0, 1, 0, 1], [0.2, 0.9, 0.6, 0.7], classes=("well", "<b>"))
KNOWN = Population.labelled(SCORES)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SCORES, "<td>&lt;b&gt;</td>"),
        (evaluate_scores(SCORES, 0.5), "<td>recall (sensitivity)</td>"),
        (
            evaluate_subgroups(SCORES, 0.5, pd.DataFrame({"ward": list("AABB")}), "ward"),
            "<th>ROC AUC</th>",
        ),
        (compare_populations(KNOWN, KNOWN), "There is no sign that this population differs"),
    ],
)
def test_a_value_shows_itself_as_a_table(value: object, shown: str) -> None:
    page = value._repr_html_()  # type: ignore[attr-defined]
    assert page.count("<table") == 1
    assert shown in page
    assert "\n" not in repr(value)
    assert repr(value).startswith(f"{type(value).__name__}(")
