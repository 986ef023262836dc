"""Every head as TensorFlow operations gives the scores that it gives itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from featx.errors import InputError
from featx.heads import HeadSpec, as_tensors, build, fit_arguments
from featx.heads._pooling import POOLINGS

KERAS = {"architecture": "gap", "dense_units": (4,), "epochs": 20, "learning_rate": 0.05}
KERAS |= {"precision": "float32", "dropout": 0.0}
GROUPS = np.arange(60) // 2
Y = GROUPS % 2


def embeddings(images: int = 60, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of two images a patient, whose class shows, though not always."""
    random = np.random.default_rng(seed)
    truth = np.arange(images) // 2 % 2
    grid = random.normal(size=(images, 4, 4, 6)) + 0.8 * truth[:, None, None, None]
    return grid.astype(np.float16).astype(np.float32)


def fitted(name: str, calibration: str | None = None, **settings: Any) -> Any:
    # More components than the rank would be made of rounding errors.
    few = {} if name == "keras" else {"components": 8}
    spec = HeadSpec.choose(name, calibration=calibration, settings=few | settings)
    head = build(spec)
    rows = fit_arguments(spec, groups=GROUPS, images=np.arange(60), copies=np.zeros(60, int))
    return head.fit(embeddings(), Y, **rows)


def require_same(head: Any) -> None:
    """Compare on images that it was fitted on, and on others."""
    import tensorflow as tf

    compute = as_tensors(head)
    # Splits of trees lie at values of training images: on which side these are is up to rounding.
    for seed in (1,) if "HistGradientBoosting" in str(head) else (0, 1):
        X = embeddings(seed=seed)
        graph = tf.function(compute)(tf.constant(X))
        assert graph.dtype == tf.float64
        wanted = head.predict_proba(X)[:, 1]
        spread = wanted.std()
        assert spread > 1e-6
        assert graph.numpy() == pytest.approx(wanted, abs=min(1e-5, spread / 20))


@pytest.mark.parametrize("name", ["logreg", "svm", "knn", "lda", "hgb"])
def test_with_its_defaults(name: str) -> None:
    require_same(fitted(name))


@pytest.mark.parametrize("settings", [KERAS, KERAS | {"ensemble": 2}])
def test_a_network_and_an_ensemble_of_them(settings: dict[str, Any]) -> None:
    require_same(fitted("keras", **settings))


@pytest.mark.parametrize("how", POOLINGS)
@pytest.mark.parametrize("standardize", [True, False])
def test_every_pooling(how: str, standardize: bool) -> None:
    require_same(fitted("logreg", representation=how, standardize=standardize, C=1.0))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("svm", {"kernel": "linear"}),
        ("svm", {"gamma": 0.05}),
        ("svm", {"gamma": "auto"}),
        ("knn", {"metric": "cosine"}),
        ("knn", {"metric": "manhattan"}),
        ("knn", {"n_neighbors": 200, "components": None}),
        ("lda", {"shrinkage": "auto"}),
        ("hgb", {"max_leaf_nodes": 2, "components": None}),
        ("logreg", {"penalty": "l1", "C": 1.0, "components": 5}),
    ],
)
def test_settings_that_change_the_arithmetic(name: str, settings: dict[str, Any]) -> None:
    require_same(fitted(name, **settings))


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic", "temperature"])
@pytest.mark.parametrize("name", ["logreg", "svm", "knn", "hgb"])
def test_every_calibration(name: str, calibration: str) -> None:
    require_same(fitted(name, calibration))


def test_a_calibrated_network() -> None:
    require_same(fitted("keras", "temperature", **KERAS))


def test_a_training_image_is_nearest_to_itself() -> None:
    head = fitted("knn")
    found = np.asarray(as_tensors(head)(embeddings()))
    assert found == pytest.approx(Y, abs=1e-5)


class TestRefusals:
    def test_an_unknown_classifier(self) -> None:
        head = Pipeline([("classifier", DummyClassifier().fit([[0.0], [1.0]], [0, 1]))])
        with pytest.raises(InputError, match="no way to write a DummyClassifier as a graph"):
            as_tensors(head)

    def test_an_unknown_step(self) -> None:
        head = Pipeline([("odd", FunctionTransformer()), ("classifier", DummyClassifier())])
        with pytest.raises(InputError, match="FunctionTransformer"):
            as_tensors(head)

    def test_a_machine_without_probabilities(self) -> None:
        head = Pipeline([("classifier", SVC().fit([[0.0], [1.0]], [0, 1]))])
        with pytest.raises(InputError, match="without calibration"):
            as_tensors(head)
