"""Maps of linear heads: a map and a constant are the logit of the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from featx.explain._linear import Linear, linear_maps
from featx.heads import HeadSpec, build

if TYPE_CHECKING:
    from tests.featx.explain.conftest import Lesions

LINEAR: list[tuple[str, dict[str, Any]]] = [
    ("logreg", {}),
    ("logreg", {"components": 12}),
    ("svm", {"kernel": "linear"}),
    ("svm", {"kernel": "linear", "components": 12}),
    ("lda", {"components": 12}),
]
WAYS = [
    (how, standardize)
    for how in ("average", "max", "average+max", "pyramid", "flatten")
    for standardize in (False, True)
]


def fitted(lesions: Lesions, name: str, calibration: str | None = None, **settings: Any) -> Any:
    spec = HeadSpec.choose(name, settings=settings, calibration=calibration)
    return build(spec).fit(lesions.X, lesions.y)


def sums(head: Any, X: NDArray[Any]) -> NDArray[np.float64]:
    linear = Linear.of(head)
    assert linear is not None
    maps, rest = linear_maps(head, linear, X)
    return np.asarray(maps.sum(axis=(1, 2), dtype=np.float64) + rest)


def logits(head: Any, X: NDArray[Any]) -> NDArray[np.float64]:
    """Values that scikit-learn itself computes: scores have too few digits where they are sure."""
    classifier, features = head[-1], head[:-1].transform(X)
    if not hasattr(classifier, "calibrated_"):
        return np.asarray(classifier.decision_function(features), np.float64)
    inner = classifier.calibrated_.calibrated_classifiers_[0]
    platt = inner.calibrators[0]
    return np.asarray(-(platt.a_ * inner.estimator.decision_function(features) + platt.b_))


@pytest.mark.parametrize(("name", "settings"), LINEAR, ids=lambda value: str(value))
@pytest.mark.parametrize(("how", "standardize"), WAYS)
def test_the_cells_and_a_constant_sum_up_to_the_logit(
    lesions: Lesions, name: str, settings: dict[str, Any], how: str, standardize: bool
) -> None:
    if how == "flatten":
        settings = {"components": 12} | settings
    head = fitted(lesions, name, representation=how, standardize=standardize, **settings)
    # Images that it never saw, too.
    X = np.concatenate([lesions.X[:20], lesions.X[:20, ::-1, ::-1, ::-1]])
    np.testing.assert_allclose(sums(head, X), logits(head, X), atol=1e-4)


@pytest.mark.parametrize("calibration", ["sigmoid", "temperature"])
def test_a_calibration_that_is_linear_in_the_logit_is_part_of_it(
    lesions: Lesions, calibration: str
) -> None:
    head = fitted(lesions, "logreg", calibration, C=1e-4)
    score = head.predict_proba(lesions.X)[:, 1].astype(np.float64)
    np.testing.assert_allclose(expit(sums(head, lesions.X)), score, atol=1e-5)


def test_under_an_isotonic_calibration_it_is_the_decision_function(lesions: Lesions) -> None:
    head = fitted(lesions, "svm", "isotonic", kernel="linear", components=12)
    svc = head.named_steps["classifier"].calibrated_.calibrated_classifiers_[0].estimator
    decision = svc.decision_function(head[:-1].transform(lesions.X))
    np.testing.assert_allclose(sums(head, lesions.X), decision, atol=1e-4)


def test_the_constant_is_the_average_training_image_s(lesions: Lesions) -> None:
    head = fitted(lesions, "logreg", representation="average", standardize=False)
    linear = Linear.of(head)
    assert linear is not None
    maps, _ = linear_maps(head, linear, lesions.X)
    assert abs(maps.sum(axis=(1, 2)).mean()) < 1e-4


def test_a_cell_that_says_more_gets_more(lesions: Lesions) -> None:
    head = fitted(lesions, "logreg")
    linear = Linear.of(head)
    assert linear is not None
    sick = lesions.y == 1
    maps, _ = linear_maps(head, linear, lesions.X[sick])
    highest = maps.reshape(len(maps), -1).argmax(axis=1)
    assert (highest == lesions.row[sick] * 4 + lesions.column[sick]).mean() > 0.95


@pytest.mark.parametrize("name", ["knn", "hgb", "svm"])
def test_heads_that_are_not_linear_are_none(lesions: Lesions, name: str) -> None:
    assert Linear.of(fitted(lesions, name, components=12)) is None
