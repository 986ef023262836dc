"""The Keras head as a scikit-learn classifier."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from featx.backbones._parts import require_parts
from featx.backbones._settings import own_keras_settings
from featx.heads._batches import Batches, Embeddings, rows_of_images, scores_of
from featx.heads._estimators import PUBLIC
from featx.heads._folds import PatientFolds
from featx.heads._keras_network import build_network
from featx.heads._network_builder import parts_of
from featx.heads._own_layers import layers_of
from featx.heads._settings import KerasSettings
from featx_cache import LazyEmbeddings

PREDICT_BATCH = 64
DTYPES = [np.float16, np.float32, np.float64]

EpochCallback = Callable[[dict[str, float]], None]


class KerasHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network on cached embeddings, by default the study's.

    Equal parameters and data give equal weights on a CPU. The global random state is neither used
    nor changed. `KerasSettings` has the same defaults and describes each parameter.

    Parameters
    ----------
    architecture, pooling, dense_units, dropout, batch_normalization
        Layers of the network.
    layers
        A network of your own instead: a ``keras.Sequential``, whose weights are drawn anew in each
        fit, or a list of ``{"class_name": ..., "config": ...}``. Dense 1 sigmoid is added if it
        doesn't end with one.
    optimizer, learning_rate, schedule, epochs, batch_size, class_weight, label_smoothing
        Training of the network. The default schedule is half a cosine (Loshchilov and Hutter
        2017), which takes the noise of the last epochs out of the operating point.
    copies_per_epoch
        ``one`` copy of each image, drawn at random as the study's generator did, or ``all``.
    stopping, monitor, patience, accuracy_target, recall_target, train_recall_target
        Rule that stops the training and chooses the epoch that is kept, on held-out patients.
    validation_fraction
        Share of the patients that is held out if there is a stopping rule.
    ensemble, ensemble_of
        Networks whose outputs are averaged.
    precision
        ``float32``, or ``bfloat16`` arithmetic with float32 weights.
    accuracy_floor
        Accuracy that ``stopping="dual"`` keeps if no epoch reaches the targets.
    random_state
        Seed of the initial weights, dropout and the order of images.
    parts
        Shapes of an embedding's parts, the main one first, if it is of several layers. The main
        part goes through the network. The others join it as vectors, where it has become one.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    n_features_in_ : int
        Length of the first axis of an embedding.
    model_ : keras.Model
    history_ : list of dict
        One dict an epoch, the members of an ensemble in order: loss, accuracy and recall on the
        training images, the same with ``val_`` on held-out ones, and seconds.
    outcomes_ : list of str
        Epoch that the stopping rule kept, and why: one text a network.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.arange(20) % 2
    >>> X = np.random.default_rng(0).normal(size=(20, 9, 9, 4)) + y[:, None, None, None]
    >>> head = KerasHead(architecture="gap", dense_units=(16,), epochs=2)
    >>> head.fit(X, y).predict_proba(X).shape  # doctest: +SKIP
    (20, 2)
    """

    __module__ = PUBLIC

    # Under scikit-learn's metadata routing these go along by themselves.
    __metadata_request__fit = {"groups": True, "images": True, "copies": True}  # noqa: RUF012

    def __init__(  # noqa: PLR0913 (scikit-learn: one parameter a setting)
        self,
        *,
        architecture: str = "study",
        pooling: str = "max",
        dense_units: tuple[int, ...] | None = None,
        dropout: float = 0.5,
        batch_normalization: bool = True,
        layers: Any = None,
        optimizer: str = "adam",
        learning_rate: float = 5e-4,
        schedule: str = "cosine",
        epochs: int = 8,
        batch_size: int = 32,
        class_weight: str | Mapping[Any, float] | None = "balanced",
        label_smoothing: float = 0.0,
        copies_per_epoch: str = "one",
        stopping: str | None = None,
        monitor: str = "loss",
        patience: int = 10,
        accuracy_target: float = 0.94,
        recall_target: float = 0.95,
        train_recall_target: float | None = None,
        validation_fraction: float = 0.15,
        ensemble: int = 1,
        ensemble_of: str = "seeds",
        precision: str = "float32",
        accuracy_floor: float = 0.9,
        random_state: int = 0,
        parts: Sequence[Sequence[int]] = (),
    ) -> None:
        parameters = dict(locals())
        del parameters["self"]
        self.__dict__.update(parameters)

    @own_keras_settings()
    def fit(  # noqa: PLR0913
        self,
        X: ArrayLike | LazyEmbeddings,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        images: ArrayLike | None = None,
        copies: ArrayLike | None = None,
        on_epoch: EpochCallback | None = None,
        work_folder: Path | None = None,
        callbacks: Sequence[Any] = (),
    ) -> KerasHead:
        """Train on embeddings.

        Parameters
        ----------
        X : array of shape (images, rows, columns, channels) or (images, features)
            Embeddings, float16 or wider. `LazyEmbeddings` are read from disk in every epoch.
        y : array of shape (images,)
            Labels of two classes.
        groups : array of shape (rows,), optional
            Patient of each row, for held-out patients and for folds.
        images : array of shape (rows,), optional
            Image that each row is a copy of. If None, every row is an image of its own.
        copies : array of shape (rows,), optional
            Number of each row's copy, 0 for the untouched image. Only untouched images are held
            out. If None, the first row of each image counts as untouched.
        on_epoch
            Function that is called after each epoch with its metrics.
        work_folder
            Folder for the state after each epoch and for TensorBoard's event files. A fit that
            finds states there goes on from them.
        callbacks
            Keras callbacks of each member's training, such as `EpochScores`.

        Raises
        ------
        ValueError
            If there aren't two classes, values are not finite, a parameter is out of range, or
            there are too few patients to hold some out.
        InputError
            If layers of your own can't be built, or embeddings don't consist of the parts.
        """
        from featx.heads._training import Logging, average, train

        settings = self._settings()
        parts = tuple(tuple(part) for part in self.parts)
        array, labels = self._validate(X, y)
        if parts:
            require_parts(array.shape, parts)
        targets = (labels == self.classes_[1]).astype(np.float32)
        rows = np.arange(len(labels))
        images = rows if images is None else np.asarray(images)
        groups = images if groups is None else np.asarray(groups)
        untouched = _first_of_each(images) if copies is None else np.asarray(copies) == 0
        members: list[Any] = []
        self.history_: list[dict[str, float]] = []
        self.outcomes_: list[str] = []
        for member in range(settings.ensemble):
            kept, held_out = self._held_out(settings, member, labels, groups)
            held_out = held_out[untouched[held_out]]
            batches = Batches(
                array,
                targets,
                self._weights(labels),
                [kept[of] for of in rows_of_images(images[kept])],
                settings.copies_per_epoch,
                settings.batch_size,
                seed=self._seed(settings, member),
            )
            with _policy(self.precision):
                network = build_network(
                    array.shape[1:],
                    settings,
                    self._seed(settings, member),
                    steps=settings.epochs * batches.steps,
                    parts=parts,
                )
            trained = train(
                network,
                batches,
                settings,
                validation=(_take(array, held_out), targets[held_out]) if len(held_out) else None,
                accuracy_floor=self.accuracy_floor,
                logging=Logging(
                    on_epoch,
                    work_folder / f"tensorboard-{member}" if work_folder is not None else None,
                    work_folder / f"state-{member}.npz" if work_folder is not None else None,
                    tuple(callbacks),
                ),
            )
            members.append(trained.network)
            self.history_ += trained.history
            self.outcomes_.append(trained.outcome)
        self.model_ = average(members, array.shape[1:])
        return self

    @own_keras_settings()
    def predict_proba(self, X: ArrayLike | LazyEmbeddings) -> NDArray[np.float32]:
        """Return the probability of each class.

        Returns
        -------
        ndarray of shape (images, 2), dtype float32
        """
        check_is_fitted(self, "model_")
        array: Embeddings
        if isinstance(X, LazyEmbeddings):
            array = X
            if array.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {array.shape[1]} features, but KerasHead is expecting "
                    f"{self.n_features_in_} features as input"
                )
        else:
            array = validate_data(self, X, reset=False, allow_nd=True, dtype=DTYPES)
        positive = scores_of(self.model_, array, PREDICT_BATCH)
        return np.stack([1.0 - positive, positive], axis=1)

    def predict(self, X: ArrayLike | LazyEmbeddings) -> NDArray[Any]:
        """Return the likelier class of each image. No operating point is applied."""
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
            If the file isn't a ``.keras`` model of a head, or holds code (a Lambda layer, for
            example).
        """
        head = cls()
        head.model_ = _load_network(path)
        if tuple(head.model_.output_shape[1:]) != (1,):
            raise ValueError(f"its outputs are {head.model_.output_shape}, not one score an image")
        head.classes_ = np.asarray(classes)
        head.n_features_in_ = int(head.model_.input_shape[1])
        head.parts = parts_of(head.model_)
        return head

    def _settings(self) -> KerasSettings:
        """Check the parameters."""
        given = {name: getattr(self, name) for name in KerasSettings.model_fields}
        if hasattr(self.layers, "layers"):
            given["layers"] = layers_of(self.layers)
        if isinstance(self.class_weight, Mapping):
            given["class_weight"] = None
        return KerasSettings.model_validate(given)

    def _seed(self, settings: KerasSettings, member: int) -> int:
        return int(self.random_state) + (member if settings.ensemble_of == "seeds" else 0)

    def _validate(
        self, X: ArrayLike | LazyEmbeddings, y: ArrayLike
    ) -> tuple[Embeddings, NDArray[Any]]:
        array: Embeddings
        labels: NDArray[Any]
        if isinstance(X, LazyEmbeddings):
            array, labels = X, column_or_1d(y)
            check_consistent_length(array, labels)
            self.n_features_in_ = array.shape[1]
        else:
            array, labels = validate_data(self, X, y, allow_nd=True, dtype=DTYPES)
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

    def _held_out(
        self, settings: KerasSettings, member: int, labels: NDArray[Any], groups: NDArray[Any]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that a member trains on and those that its stopping rule goes by."""
        of_folds = settings.ensemble_of == "folds" and settings.ensemble > 1
        if not of_folds and settings.stopping is None:
            return np.arange(len(labels)), np.arange(0)
        wanted = settings.ensemble if of_folds else max(2, round(1 / settings.validation_fraction))
        splits = list(PatientFolds(wanted, self.random_state).split(labels, labels, groups))
        kept, held_out = splits[member % len(splits) if of_folds else 0]
        return kept, held_out if settings.stopping is not None else np.arange(0)

    def _weights(self, labels: NDArray[Any]) -> NDArray[np.float32]:
        of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        weights: NDArray[np.float32] = of_class.astype(np.float32)[
            (labels == self.classes_[1]).astype(int)
        ]
        return weights

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the network as the bytes of its ``.keras`` file, for worker processes."""
        state = dict(super().__getstate__())
        if state.pop("model_", None) is not None:
            with tempfile.TemporaryDirectory() as folder:
                self.save(path := Path(folder) / "head.keras")
                state["_model_bytes"] = path.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        content = state.pop("_model_bytes", None)
        super().__setstate__({"parts": ()} | state)
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                (path := Path(folder) / "head.keras").write_bytes(content)
                self.model_ = _load_network(path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True
        return tags


@own_keras_settings()
def _load_network(path: Path) -> Any:
    from featx.backbones._saved import load_safely

    return load_safely(path)


def _take(array: Embeddings, rows: NDArray[np.intp]) -> Embeddings:
    return array.take(rows) if isinstance(array, LazyEmbeddings) else array[rows]


def _first_of_each(images: NDArray[Any]) -> NDArray[np.bool_]:
    first = np.zeros(len(images), bool)
    first[np.unique(images, return_index=True)[1]] = True
    return first


@contextlib.contextmanager
def _policy(precision: str) -> Iterator[None]:
    """Build layers under a precision policy, then restore the old one."""
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(
        "float32" if precision == "float32" else f"mixed_{precision}"
    )
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)
