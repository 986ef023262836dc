"""The figure of an explanation: what it says, and that its texts keep clear of each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from featx.explain import Method, Neighbor, Verdict
from featx.explain._figure import explanation_figure

CLASSES = ("NORMAL", "PNEUMONIA")
METHOD = Method("class activation", "logit", "each place's share of the score")
PIXELS = np.full((60, 90, 1), 100, np.float32)


def drawn(name: str = "a.png", **changes: Any) -> Figure:
    verdict = Verdict(
        changes.pop("score", 0.7), 0.4, changes.pop("band", (0.3, 0.5)),
        changes.pop("classes", CLASSES),
    )  # fmt: skip
    near = [
        (Neighbor(f"train/{label}/{n}.png", label, 0.1 * n), PIXELS if n else None)
        for n, label in enumerate(["PNEUMONIA", "PNEUMONIA", "NORMAL", "NORMAL"])
    ]
    neighbors = changes.pop("neighbors", near)
    image = np.zeros(changes.pop("shape", (300, 400, 1)))
    figure = explanation_figure(
        name, image, np.eye(3), METHOD, verdict, neighbors, changes.pop("notes", ())
    )
    figure.draw_without_rendering()
    return figure


def texts(figure: Figure) -> list[Text]:
    """Texts of a figure, apart from the numbers along axes."""
    ticks = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and id(text) not in ticks
    ]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


def test_it_says_score_threshold_verdict_and_unit() -> None:
    said = words(drawn())
    assert "a.png\ncalled PNEUMONIA, outside the uncertain range" in said
    assert "score 0.700" in said
    assert "threshold 0.400" in said
    assert "(logit of PNEUMONIA)" in said
    assert "doesn't prove why" in said
    assert "not a medical device" in said


@pytest.mark.parametrize(
    ("score", "band", "verdict"),
    [
        (0.45, (0.3, 0.5), "called PNEUMONIA: UNCERTAIN"),
        (0.31, (0.3, 0.5), "called NORMAL: UNCERTAIN"),
        (0.39, (0.395, 0.5), "called NORMAL, outside"),
        (0.4, None, "called PNEUMONIA"),
    ],
)
def test_a_score_in_the_band_is_uncertain(
    score: float, band: tuple[float, float] | None, verdict: str
) -> None:
    said = words(drawn(score=score, band=band))
    assert verdict in said
    assert ("uncertain range" in said) == (band is not None)


def test_a_score_near_0_or_1_is_not_rounded_to_it() -> None:
    assert "score 0.999912" in words(drawn(score=0.999912))


def test_neighbors_have_class_and_distance_but_no_name_and_a_note_where_they_are_gone() -> None:
    said = words(drawn())
    assert "PNEUMONIA, 0.100" in said
    assert "NORMAL, 0.300" in said
    assert "1.png" not in said
    assert said.count("not there") == 1
    assert "no neighbors" in words(drawn(neighbors=()))


@pytest.mark.parametrize("shape", [(300, 300, 1), (200, 640, 3), (640, 250, 1)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "x" * 300 + "$\\frac{1}{2}$ \n.png", "classes": ("HEALTHY $a$", "SICK_" * 20)},
        {"classes": ("$a$", "$\\frac{a}$"), "notes": ("No place spoke for $\\frac{a}$",)},
        {"score": 0.41, "notes": ["No place spoke for PNEUMONIA, so there is no contour."]},
    ],
    ids=["plain", "long names", "formulas", "uncertain"],
)
def test_no_text_is_cut_off_or_lies_on_another(
    shape: tuple[int, int, int], changes: dict[str, Any]
) -> None:
    figure = drawn(shape=shape, **changes)
    edge = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    assert len(boxes) > 10
    for text, box in boxes:
        assert box.x0 >= edge.x0 - 1, text
        assert box.x1 <= edge.x1 + 1, text
        assert box.y0 >= edge.y0 - 1, text
        assert box.y1 <= edge.y1 + 1, text
    for (one, first), (other, second) in combinations(boxes, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert width < 1 or height < 2, (one, other)
