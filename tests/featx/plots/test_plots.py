"""Figures of scores: what is drawn, on whose axes, and what the legend says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx import Scores, plots
from featx.errors import InputError
from featx.evaluation import DecisionCurve, evaluate_scores
from featx.evaluation import decision_curve as weigh
from featx.evaluation._confidence_bands import roc_band
from featx.plots._style import new_axes, svg

SCORES = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9], classes=("NORMAL", "SICK"))
DRAWN_OF_SCORES: list[Callable[..., Axes]] = [
    plots.roc_curve,
    plots.precision_recall_curve,
    plots.threshold_curve,
    plots.calibration_curve,
    plots.score_histogram,
    plots.confusion_matrix,
]


class Evaluation:
    """Scores with their metrics, as `run.evaluate()` has them."""

    metrics = evaluate_scores(SCORES, 0.3)

    def as_scores(self) -> Scores:
        return SCORES

    def decision_curve(self) -> DecisionCurve:
        return weigh(SCORES, operating_point=0.3)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    pyplot.close("all")


def legend(axes: Axes) -> list[str]:
    figure = axes.get_figure(root=True)
    assert figure is not None
    found = axes.get_legend() or figure.legends[0]
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("draw", DRAWN_OF_SCORES, ids=lambda draw: str(draw.__name__))
def test_it_is_drawn_on_given_axes_or_on_a_figure_that_a_notebook_shows(
    draw: Callable[..., Axes],
) -> None:
    own = Figure().subplots()
    assert draw(SCORES, own) is own
    assert pyplot.get_fignums() == []
    axes = draw(Evaluation())
    assert pyplot.figure(pyplot.get_fignums()[0]) is axes.figure


def test_an_evaluation_brings_its_operating_point_and_interval() -> None:
    axes = plots.roc_curve(Evaluation(), Figure().subplots(), band=False)
    points = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    metrics = Evaluation.metrics
    assert np.asarray(points).ravel() == pytest.approx([1 - metrics.specificity, metrics.recall])
    interval = metrics.intervals["roc_auc"]
    assert legend(axes)[0] == f"AUC 1.000 ({interval.low:.3f} – {interval.high:.3f})"
    assert legend(plots.roc_curve(SCORES, Figure().subplots(), band=False))[0] == "AUC 1.000"


def test_several_are_drawn_together_by_their_names_each_with_its_band() -> None:
    worse = Scores.from_arrays([0, 0, 1, 1], [0.1, 0.7, 0.6, 0.9])
    axes = plots.roc_curve({"one": SCORES, "an$other$": worse}, Figure().subplots())
    assert legend(axes) == ["one, AUC 1.000", r"an\$other\$, AUC 0.750", "chance"]
    band = roc_band(worse)
    drawn = axes.collections[1].get_paths()[0].vertices
    assert np.nanmin(band.low) == pytest.approx(np.asarray(drawn)[:, 1].min())


@pytest.mark.parametrize("draw", DRAWN_OF_SCORES[:3], ids=lambda draw: str(draw.__name__))
def test_one_class_has_no_curve(draw: Callable[..., Axes]) -> None:
    with pytest.raises(InputError, match="all 2 images are of one class"):
        draw(SCORES[2:], Figure().subplots())


def test_good_curves_show_the_corner_in_which_they_bend() -> None:
    assert plots.roc_curve(Evaluation(), new_axes()).get_title() == "ROC curve, upper left corner"
    axes = plots.roc_curve(SCORES, new_axes(), band=False)
    assert (axes.get_title(), axes.get_xlim()) == ("ROC curve", (-0.02, 1.02))


def test_calibration_tells_scores_and_probabilities_apart() -> None:
    axes = plots.calibration_curve(SCORES, Figure().subplots())
    assert "score, which is the probability, with Wilson intervals" in legend(axes)
    axes = plots.calibration_curve(SCORES, probabilities=SCORES.score**2)
    assert legend(axes)[1:] == ["score, with Wilson intervals", "probability, made of the score"]


@pytest.mark.parametrize(
    ("threshold", "scale"),
    [(0.5, "linear"), (0.03, "linear"), (1.5e-5, "logit"), (1e-300, "logit"), (0.9999, "logit")],
)
def test_a_threshold_at_the_edge_stands_clear_of_the_axis(threshold: float, scale: str) -> None:
    scores = Scores.from_arrays([0, 0, 1, 1], [0.0, 1e-6, 1e-3, 1.0])
    axes = plots.score_histogram(scores, Figure().subplots(), threshold=threshold)
    assert axes.get_xscale() == scale
    counted = sum(patch.get_height() for patch in axes.patches if hasattr(patch, "get_height"))
    assert counted == 4
    if threshold > 1e-15:
        to_axis = axes.transData + axes.transAxes.inverted()
        assert 0.05 < to_axis.transform((threshold, 0.0))[0] < 0.95 or scale == "linear"
    assert 2 <= len(axes.get_xticks()) <= 12


def test_a_decision_curve_marks_the_own_threshold_and_shows_all_of_the_band() -> None:
    axes = plots.decision_curve(Evaluation())
    own = "own threshold, 0.3"
    assert legend(axes) == ["treat by the model", "treat all", "treat none", own]
    (point,) = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    assert np.asarray(point).ravel() == pytest.approx([0.3, 0.5 - 0.25 * 0.3 / 0.7])
    low, high = axes.get_ylim()
    assert -0.3 < low < 0.0  # treating all falls without end
    assert high > np.nanmax(weigh(SCORES).high)
    plain = plots.decision_curve(weigh(SCORES, resamples=0), Figure().subplots(), band=False)
    assert legend(plain) == ["treat by the model", "treat all", "treat none"]
    with pytest.raises(InputError, match="`curve` can't be"):
        plots.decision_curve(SCORES)  # type: ignore[arg-type]


def test_equal_figures_are_equal_files() -> None:
    one, other = (svg(plots.score_histogram(SCORES, new_axes(), threshold=0.5)) for _ in range(2))
    assert one == other
    assert one.startswith(b"<?xml")


def test_what_a_notebook_turns_on_for_its_first_figure_stays_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = pyplot.figure

    def figure(**options: Any) -> Figure:
        pyplot.ion()
        return make(**options)

    monkeypatch.setattr(pyplot, "figure", figure)
    plots.score_histogram(SCORES)
    assert pyplot.isinteractive()
    pyplot.ioff()
