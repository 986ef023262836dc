"""The study's Keras head as a scikit-learn classifier."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.heads.keras_network import build_head

PREDICT_BATCH = 64

EpochCallback = Callable[[dict[str, float]], None]


class KerasHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The study's convolutional head on cached embeddings.

    Adam on binary cross-entropy, accuracy and recall watched. Equal parameters and data give equal
    weights on a CPU; the global random state is neither used nor changed.

    Parameters
    ----------
    epochs
        Passes over the training images.
    batch_size
        Images a step.
    learning_rate
        Of Adam at the first step; it falls to zero along a half cosine (Loshchilov and Hutter
        2017), which takes the noise of the last epochs out of the operating point.
    class_weight
        ``balanced`` weighs the classes inversely to their frequency; None doesn't.
    precision
        ``float32``, or ``bfloat16`` arithmetic with float32 weights.
    random_state
        Seed of the initial weights, dropout and the order of images.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    n_features_in_ : int
        Length of the embedding's first axis.
    model_ : keras.Sequential
    history_ : list of dict
        Loss, accuracy and recall on the training images, one dict an epoch.
    """

    def __init__(
        self,
        *,
        epochs: int = 8,
        batch_size: int = 32,
        learning_rate: float = 5e-4,
        class_weight: Literal["balanced"] | None = "balanced",
        precision: Literal["float32", "bfloat16"] = "float32",
        random_state: int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.precision = precision
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        images: ArrayLike | None = None,
        on_epoch: EpochCallback | None = None,
    ) -> KerasHead:
        """Train on embeddings.

        Parameters
        ----------
        X : array of shape (images, rows, columns, channels) or (images, features)
            float16 is read as it is, batch by batch.
        y : array of shape (images,)
            Two classes.
        images : array of shape (rows,), optional
            Which image each row is a copy of. Each epoch then sees one copy of each image, drawn
            at random, as the study's generator did; without it every row is an image.
        on_epoch
            Called after each epoch with its loss, accuracy and recall.

        Raises
        ------
        ValueError
            When there aren't two classes, values are not finite, or a parameter is out of range.
        """
        import keras

        array, labels = self._validate(X, y)
        targets = (labels == self.classes_[1]).astype(np.float32)
        copies = _copies(np.arange(len(labels)) if images is None else np.asarray(images))
        steps = -(-len(copies) // self.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.epochs * steps)
        with _policy(self.precision):
            self.model_ = build_head(
                array.shape[1:], int(self.random_state), steps=self.epochs * steps
            )
        self.model_.compile(
            keras.optimizers.Adam(schedule),
            "binary_crossentropy",
            metrics=["accuracy", keras.metrics.Recall(name="recall")],
        )
        # Else Adam makes its variables in the first step, and TensorFlow traces the step twice.
        self.model_.optimizer.build(self.model_.trainable_variables)
        self.history_: list[dict[str, float]] = []

        def record(epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG001
            self.history_.append({name: float(value) for name, value in logs.items()})
            if on_epoch is not None:
                on_epoch(self.history_[-1])

        self.model_.fit(
            self._batches(array, targets, copies),
            epochs=self.epochs,
            steps_per_epoch=steps,
            # `_batches` shuffles; Keras would warn that it can't.
            shuffle=False,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=record)],
        )
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the probability of each class.

        Returns
        -------
        ndarray of shape (images, 2), dtype float32
        """
        check_is_fitted(self, "model_")
        array: NDArray[Any] = validate_data(
            self, X, reset=False, allow_nd=True, dtype=[np.float16, np.float32, np.float64]
        )
        parts = [
            np.asarray(self.model_(array[start : start + PREDICT_BATCH], training=False))
            for start in range(0, len(array), PREDICT_BATCH)
        ]
        positive = np.concatenate(parts)[:, 0]
        return np.stack([1.0 - positive, positive], axis=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the likelier class of each image; the operating point is chosen elsewhere."""
        positive = self.predict_proba(X)[:, 1] >= 0.5
        return np.asarray(self.classes_[positive.astype(int)])

    def save(self, path: Path) -> None:
        """Write the network as a ``.keras`` file."""
        check_is_fitted(self, "model_")
        self.model_.save(path)

    @classmethod
    def load(cls, path: Path, classes: ArrayLike) -> KerasHead:
        """Read a head that `save` wrote, in Keras's safe mode: no foreign code runs.

        Raises
        ------
        ValueError
            When the file isn't a ``.keras`` model, or holds code (a Lambda layer, for example).
        """
        import keras

        head = cls()
        head.model_ = keras.models.load_model(path, compile=False, safe_mode=True)
        head.classes_ = np.asarray(classes)
        head.n_features_in_ = int(head.model_.input_shape[1])
        return head

    def _validate(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        array: NDArray[Any]
        labels: NDArray[Any]
        array, labels = validate_data(
            self, X, y, allow_nd=True, dtype=[np.float16, np.float32, np.float64]
        )
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            kind = type_of_target(labels, input_name="y")
            raise ValueError(
                f"Only binary classification is supported, with 2 classes in y. The type of the "
                f"target is {kind} and it has {len(self.classes_)} class"
                f"{'es' if len(self.classes_) != 1 else ''}."
            )
        return array, labels

    def _batches(
        self, X: NDArray[Any], targets: NDArray[np.float32], copies: list[NDArray[np.intp]]
    ) -> Any:
        """Feed batches in a new order each epoch, converted no earlier than they have to be."""
        import tensorflow as tf

        weights = np.ones(len(targets), np.float32)
        if self.class_weight is not None:
            of_class = compute_class_weight(
                self.class_weight, classes=np.array([0.0, 1.0]), y=targets
            )
            weights = of_class.astype(np.float32)[targets.astype(int)]
        random = np.random.default_rng(self.random_state)

        def epochs() -> Iterator[tuple[NDArray[Any], ...]]:
            while True:
                drawn = [rows[random.integers(len(rows))] for rows in copies]
                order = random.permutation(np.array(drawn))
                for start in range(0, len(order), self.batch_size):
                    rows = order[start : start + self.batch_size]
                    yield X[rows], targets[rows], weights[rows]

        signature = (
            tf.TensorSpec((None, *X.shape[1:]), X.dtype),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None,), tf.float32),
        )
        return tf.data.Dataset.from_generator(epochs, output_signature=signature).prefetch(2)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the network as the bytes of its ``.keras`` file, for worker processes."""
        state = dict(super().__getstate__())
        if state.pop("model_", None) is not None:
            with tempfile.TemporaryDirectory() as folder:
                self.save(path := Path(folder) / "head.keras")
                state["_model_bytes"] = path.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("_model_bytes", None)
        super().__setstate__(state)
        if content is not None:
            import keras

            with tempfile.TemporaryDirectory() as folder:
                (path := Path(folder) / "head.keras").write_bytes(content)
                self.model_ = keras.models.load_model(path, compile=False, safe_mode=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True
        return tags


def _copies(images: NDArray[Any]) -> list[NDArray[np.intp]]:
    """List the rows of each image."""
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(order, starts)


@contextlib.contextmanager
def _policy(precision: str) -> Iterator[None]:
    """Build layers under a precision policy, and put the old one back."""
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(
        "float32" if precision == "float32" else f"mixed_{precision}"
    )
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
