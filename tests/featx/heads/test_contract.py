"""Every head is a scikit-learn classifier, and works wherever one does."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    StratifiedGroupKFold,
    cross_val_predict,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.heads import HEADS, HeadSpec, build

SETTINGS: dict[str, dict[str, Any]] = {
    "keras": {"architecture": "gap", "dense_units": (), "epochs": 2, "precision": "float32"},
    "hgb": {"max_iter": 5},
}
PARAMETER = {
    "keras": "batch_size",
    "logreg": "classifier__C",
    "svm": "classifier__estimator__C",
    "knn": "classifier__n_neighbors",
    "lda": "classifier__shrinkage",
    "hgb": "classifier__max_iter",
}
VALUES: dict[str, list[Any]] = {"lda": [None, 0.9], "knn": [3, 5], "hgb": [2, 5], "keras": [8, 16]}


def make(name: str) -> Any:
    return build(HeadSpec.choose(name, settings=SETTINGS.get(name)))


def expected(_: Any) -> dict[str, str]:
    """List what fails, and why."""
    refits = "scikit-learn's Pipeline fits its own steps, not copies of them"
    return dict.fromkeys(
        ("check_estimators_overwrite_params", "check_dont_overwrite_parameters"), refits
    )


@parametrize_with_checks(
    [make(name) for name in HEADS if name != "keras"], expected_failed_checks=expected
)
def test_scikit_learn_s_estimator_checks_pass(estimator: Any, check: Any) -> None:
    """The Keras head's are in test_keras_head.py: its network has to be small for them."""
    check(estimator)


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """48 embeddings of 24 patients, whose class shows."""
    random = np.random.default_rng(0)
    groups = np.arange(48) // 2
    y = groups % 2
    X = random.normal(size=(48, 3, 3, 6)) + 1.5 * y[:, None, None, None]
    return X.astype(np.float16), y, groups


@pytest.fixture(params=HEADS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Data = tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]


def test_in_a_pipeline(name: str, data: Data) -> None:
    X, y, _ = data
    steps = [("scaling", FunctionTransformer(np.negative)), ("head", make(name))]
    fitted = Pipeline(steps).fit(X, y)
    alone = make(name).fit(-X, y).predict_proba(-X)
    assert fitted.predict_proba(X) == pytest.approx(alone, abs=1e-5)
    assert fitted.classes_.tolist() == [0, 1]


def test_in_a_grid_search_over_its_parameters_with_patients(name: str, data: Data) -> None:
    X, y, groups = data
    values: list[Any] = VALUES.get(name, [0.1, 1.0])
    search = GridSearchCV(make(name), {PARAMETER[name]: values}, cv=StratifiedGroupKFold(2))
    search.fit(X, y, groups=groups)
    assert search.best_params_[PARAMETER[name]] in values
    assert search.best_score_ > 0.4
    assert search.predict(X).shape == (48,)


def test_in_cross_validation_with_patients(name: str, data: Data) -> None:
    X, y, groups = data
    folds = StratifiedGroupKFold(3)
    scores = cross_val_predict(make(name), X, y, groups=groups, cv=folds, method="predict_proba")
    kept, held_out = next(folds.split(X, y, groups))
    alone = make(name).fit(X[kept], y[kept]).predict_proba(X[held_out])
    assert scores[held_out] == pytest.approx(alone, abs=1e-5)


def test_in_a_calibration(name: str, data: Data) -> None:
    X, y, _ = data
    calibrated = CalibratedClassifierCV(make(name), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).sum(axis=1) == pytest.approx(1.0, abs=1e-6)


def test_with_a_fixed_threshold(name: str, data: Data) -> None:
    X, y, _ = data
    head = make(name).fit(X, y)
    scores = head.predict_proba(X)[:, 1]
    threshold = float(np.median(scores))
    called = FixedThresholdClassifier(make(name), threshold=threshold).fit(X, y).predict(X)
    clear = np.abs(scores - threshold) > 1e-5
    assert np.array_equal(called[clear], (scores >= threshold)[clear].astype(int))


@pytest.mark.long
def test_in_processes_of_their_own_fitted_and_unfitted(name: str, data: Data) -> None:
    X, y, _ = data
    head = make(name).fit(X, y)
    there = joblib.Parallel(n_jobs=2)(
        joblib.delayed(_score)(each, X, y) for each in (head, clone(head))
    )
    for scores in there:
        assert scores == pytest.approx(head.predict_proba(X), abs=1e-5)


def _score(head: Any, X: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    fitted = head if hasattr(head, "classes_") else head.fit(X, y)
    return np.asarray(fitted.predict_proba(X))


def test_it_knows_its_classes_and_features(name: str, data: Data) -> None:
    X, y, _ = data
    table = pd.DataFrame(X.reshape(48, -1)[:, :9].astype(np.float64)).add_prefix("feature ")
    words = np.array(["NORMAL", "PNEUMONIA"])[y]
    head = make(name).fit(table, words)
    assert head.classes_.tolist() == ["NORMAL", "PNEUMONIA"]
    assert head.n_features_in_ == 9
    assert head.feature_names_in_.tolist() == table.columns.tolist()
    assert set(head.predict(table)) <= set(words)
    with pytest.raises(ValueError, match="feature names"):
        head.predict(table.iloc[:, ::-1])
    with pytest.raises(ValueError, match="8 features"):
        head.predict(table.to_numpy()[:, :8])
