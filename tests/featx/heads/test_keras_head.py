"""The Keras head as a scikit-learn classifier."""

from __future__ import annotations

import gc
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.heads import KerasHead
from featx.heads._batches import Batches

SHAPE = (3, 3, 8)
EPOCHS = 5
LOGS = {"epoch", "loss", "accuracy", "recall", "seconds"}


class Draw(NamedTuple):
    """Input of a head in one step."""

    rows: list[int]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


class Spied(NamedTuple):
    """A head fitted on copies of images, and the steps it was shown."""

    head: KerasHead
    images: NDArray[np.int64]
    steps: list[Draw]


Data = tuple[NDArray[np.float16], NDArray[np.str_]]


@pytest.fixture(scope="module")
def data() -> Data:
    """48 embeddings whose class shows."""
    random = np.random.default_rng(0)
    labels = np.array(["NORMAL", "PNEUMONIA"])[np.arange(48) % 2]
    X = random.normal(size=(48, *SHAPE)) + 2.0 * (labels == "PNEUMONIA")[:, None, None, None]
    return X.astype(np.float16), labels


def make() -> KerasHead:
    return KerasHead(epochs=EPOCHS, batch_size=8, random_state=5)


@pytest.fixture(scope="module")
def fitted(data: Data) -> KerasHead:
    return make().fit(*data)


@pytest.fixture(scope="module")
def spied() -> Spied:
    """Fit on vectors: ten images, image i with i + 1 copies in a mixed order, 3 of 10 positive."""
    images = np.random.default_rng(1).permutation(np.repeat(np.arange(10), np.arange(1, 11)))
    X = np.stack([np.arange(len(images)), images], axis=1).astype(np.float32)
    y = (images >= 7).astype(int)
    seen: list[Draw] = []
    original = Batches.epoch

    def spy(self: Batches, number: int) -> Iterator[tuple[NDArray[Any], ...]]:
        steps = list(original(self, number))
        if number < EPOCHS:  # it is fed ahead
            for rows, targets, weights in steps:
                seen.append(Draw(rows[:, 0].astype(int).tolist(), targets, weights))
        return iter(steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "epoch", spy)
        head = KerasHead(epochs=EPOCHS, batch_size=4).fit(X, y, images=images)
    return Spied(head, images, seen)


class TestFitting:
    def test_probabilities_sum_to_1_and_the_second_is_the_last_class_s(
        self, fitted: KerasHead, data: Data
    ) -> None:
        X, labels = data
        probabilities = fitted.predict_proba(X)
        assert probabilities.shape == (48, 2)
        assert probabilities.min() >= 0
        assert probabilities.sum(axis=1) == pytest.approx(1.0)
        positive = probabilities[:, 1]
        assert positive[labels == "PNEUMONIA"].mean() > positive[labels == "NORMAL"].mean() + 0.3
        assert fitted.classes_.tolist() == ["NORMAL", "PNEUMONIA"]
        assert fitted.predict(X).tolist() == fitted.classes_[(positive >= 0.5).astype(int)].tolist()
        assert np.mean(fitted.predict(X) == labels) >= 0.8

    def test_scores_do_not_depend_on_which_images_are_scored_together(
        self, fitted: KerasHead, data: Data
    ) -> None:
        many = np.concatenate([data[0], data[0]])  # more than one batch
        together = fitted.predict_proba(many)
        assert fitted.predict_proba(many[40:41])[0] == pytest.approx(together[40], abs=1e-6)
        assert fitted.predict_proba(many[::-1]) == pytest.approx(together[::-1], abs=1e-6)

    def test_each_epoch_has_its_loss_accuracy_and_recall(self, fitted: KerasHead) -> None:
        assert len(fitted.history_) == EPOCHS
        assert all(set(logs) == LOGS for logs in fitted.history_)
        assert fitted.history_[-1]["loss"] < fitted.history_[0]["loss"]

    def test_same_seed_same_weights_and_metrics_and_no_global_random_state(
        self, fitted: KerasHead, data: Data
    ) -> None:
        import keras

        def draw() -> tuple[float, float, float]:
            return random.random(), float(np.random.random()), float(keras.random.uniform((1,))[0])

        keras.utils.set_random_seed(123)
        undisturbed = draw()
        keras.utils.set_random_seed(123)
        epochs: list[dict[str, float]] = []
        again = make().fit(*data, on_epoch=epochs.append)
        assert draw() == undisturbed
        assert epochs == again.history_
        for mine, other in zip(again.history_, fitted.history_, strict=True):
            assert mine | {"seconds": 0} == pytest.approx(other | {"seconds": 0}, abs=1e-6)
        weights = zip(again.model_.get_weights(), fitted.model_.get_weights(), strict=True)
        assert all(np.allclose(a, b, rtol=0, atol=1e-6) for a, b in weights)
        assert again.predict_proba(data[0]) == pytest.approx(
            fitted.predict_proba(data[0]), abs=1e-6
        )

    def test_bfloat16_keeps_float32_weights_and_restores_the_policy(self) -> None:
        import keras

        before = keras.mixed_precision.dtype_policy()
        X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
        head = KerasHead(epochs=1, precision="bfloat16").fit(X, np.arange(8) % 2)
        assert keras.mixed_precision.dtype_policy() == before
        assert head.model_.layers[0].compute_dtype == "bfloat16"
        assert all(weight.dtype == "float32" for weight in head.model_.weights)
        assert head.predict_proba(X).dtype == np.float32


class TestCopies:
    def test_an_epoch_sees_one_copy_of_each_image(self, spied: Spied) -> None:
        assert [len(step.rows) for step in spied.steps] == [4, 4, 2] * EPOCHS
        for start in range(0, 3 * EPOCHS, 3):
            drawn = [row for step in spied.steps[start : start + 3] for row in step.rows]
            assert sorted(spied.images[drawn].tolist()) == list(range(10))

    def test_copies_and_order_are_drawn_anew_each_epoch(self, spied: Spied) -> None:
        epochs = [
            [row for step in spied.steps[start : start + 3] for row in step.rows]
            for start in range(0, 3 * EPOCHS, 3)
        ]
        assert set(epochs[0]) != set(epochs[1])
        order = [spied.images[epoch].tolist() for epoch in epochs]
        assert order[0] != order[1]

    def test_it_trained_for_as_many_steps(self, spied: Spied) -> None:
        assert len(spied.head.history_) == EPOCHS
        assert all(logs["loss"] > 0 for logs in spied.head.history_)

    def test_classes_weigh_the_same_in_all_however_rare_one_is(self, spied: Spied) -> None:
        targets = np.concatenate([step.targets for step in spied.steps])
        weights = np.concatenate([step.weights for step in spied.steps])
        share = float((spied.images >= 7).mean())
        assert weights[targets == 1] == pytest.approx(0.5 / share)
        assert weights[targets == 0] == pytest.approx(0.5 / (1 - share))

    def test_vectors_skip_the_convolutions(self, spied: Spied) -> None:
        kinds = {type(layer).__name__ for layer in spied.head.model_.layers}
        assert kinds == {"Dense", "Dropout"}
        assert spied.head.n_features_in_ == 2


class TestRefusals:
    X = np.zeros((6, 4), np.float32)
    y = np.array([0, 1] * 3)

    @pytest.mark.parametrize(
        ("match", "y"),
        [
            ("1 class", np.zeros(6, int)),
            ("Only binary classification is supported", np.arange(6) % 3),
            ("Unknown label type", np.linspace(0.1, 0.9, 6)),
            ("inconsistent numbers of samples", np.array([0, 1, 0, 1, 0])),
        ],
        ids=["one class", "three classes", "a scale", "other length"],
    )
    def test_labels_that_are_not_two_classes(self, match: str, y: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match=match):
            KerasHead().fit(self.X, y)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_values_that_are_not_finite(self, value: float, dtype: Any) -> None:
        X = np.zeros((6, 2, 2, 3), dtype)
        X[3, 1, 0, 2] = value
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            KerasHead().fit(X, self.y)

    @pytest.mark.parametrize("name", ["epochs", "batch_size"])
    def test_no_epochs_or_empty_batches(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name}\n.*greater than or equal to 1"):
            KerasHead().set_params(**{name: 0}).fit(self.X, self.y)

    def test_scoring_and_saving_before_fitting(self, tmp_path: Path) -> None:
        with pytest.raises(NotFittedError):
            KerasHead().predict_proba(self.X)
        with pytest.raises(NotFittedError):
            KerasHead().save(tmp_path / "head.keras")

    def test_scoring_embeddings_of_another_shape(self, spied: Spied) -> None:
        with pytest.raises(ValueError, match="3 features"):
            spied.head.predict(np.zeros((2, 3), np.float32))


class TestCopying:
    def test_pickling_keeps_scores_parameters_and_history(
        self, fitted: KerasHead, data: Data
    ) -> None:
        back: KerasHead = pickle.loads(pickle.dumps(fitted))
        assert np.array_equal(back.predict_proba(data[0]), fitted.predict_proba(data[0]))
        assert back.get_params() == fitted.get_params()
        assert back.history_ == fitted.history_
        assert back.classes_.tolist() == fitted.classes_.tolist()
        assert hasattr(fitted, "model_")

    def test_an_unfitted_head_pickles_and_a_clone_is_unfitted(self, fitted: KerasHead) -> None:
        for copy in (pickle.loads(pickle.dumps(make())), clone(fitted)):
            assert copy.get_params() == fitted.get_params()
            assert not hasattr(copy, "model_")

    def test_a_saved_head_scores_as_before(
        self, fitted: KerasHead, data: Data, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path / "head.keras")
        back = KerasHead.load(tmp_path / "head.keras", fitted.classes_)
        assert np.array_equal(back.predict_proba(data[0]), fitted.predict_proba(data[0]))
        assert back.predict(data[0]).tolist() == fitted.predict(data[0]).tolist()
        assert back.n_features_in_ == fitted.n_features_in_


@pytest.fixture
def _small_network(one_layer: None, recwarn: pytest.WarningsRecorder) -> Iterator[None]:  # noqa: ARG001
    """Train one layer, without tracing it: what is checked is the estimator around it."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def rounding(estimator: KerasHead) -> dict[str, str]:  # noqa: ARG001
    reason = "a row's place in a batch changes the last bit of float32 products; 1e-6 is tested"
    names = ("check_methods_sample_order_invariance", "check_methods_subset_invariance")
    return dict.fromkeys(names, reason)


@pytest.mark.long
@pytest.mark.usefixtures("_small_network")
@parametrize_with_checks([KerasHead(epochs=1)], expected_failed_checks=rounding)
def test_scikit_learn_s_estimator_checks_pass(estimator: KerasHead, check: Any) -> None:
    check(estimator)


def test_a_few_batches_are_enough_to_predict_what_was_learnt() -> None:
    """Running means that were still those of the start would call everybody the same."""
    draw = np.random.default_rng(0)
    y = np.arange(64) % 2
    X = draw.normal(50.0, 1.0, (64, 4, 4, 8)).astype(np.float32)
    X[y == 1, :, :, 0] += 3.0
    head = KerasHead(epochs=6, batch_size=16).fit(X, y)
    assert head.history_[-1]["accuracy"] > 0.9
    assert (head.predict(X) == y).mean() > 0.9


def test_training_lets_go_of_the_embeddings() -> None:
    """TensorFlow keeps the function that feeds it for ever. It must not keep the array, too."""
    X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    KerasHead(epochs=1, stopping="patience").fit(X, np.arange(12) % 2)
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Batches]
