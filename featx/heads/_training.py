"""Training one network on batches: optimizer, callbacks, and resuming after a kill."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from featx.heads._batches import Batches, Embeddings, prefetched, scores_of
from featx.heads._checkpoint import Checkpoint, History
from featx.heads._settings import KerasSettings
from featx.heads._stopping import make_rule

OnEpoch = Callable[[dict[str, float]], None]
OnScores = Callable[[int, NDArray[np.float64]], None]
STEP_EPOCHS, STEP_FACTOR = 10, 0.5
VALIDATION_BATCH, SCORED_BATCH = 64, 256


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network that isn't compiled, its epochs, and what the stopping rule kept."""

    network: Any
    history: History
    outcome: str


@dataclass(frozen=True, slots=True)
class Logging:
    """Places that a training reports its epochs to.

    A training that finds the file `checkpoint`, its state after an epoch, goes on from there.
    """

    on_epoch: OnEpoch | None = None
    tensorboard: Path | None = None
    checkpoint: Path | None = None
    callbacks: tuple[Any, ...] = ()


def train(
    network: Any,
    batches: Batches,
    settings: KerasSettings,
    *,
    validation: tuple[Embeddings, NDArray[np.float32]] | None = None,
    accuracy_floor: float = 0.9,
    logging: Logging = Logging(),
) -> Trained:
    """Train a network that isn't compiled, with binary cross-entropy.

    The stopping rule goes by the embeddings and targets in `validation`. Without them there is no
    rule.
    """
    import tensorflow as tf

    network.compile(
        _optimizer(settings, batches.steps),
        keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy", keras.metrics.Recall(name="recall")],
    )
    _make_variables(network)
    rule = make_rule(settings, accuracy_floor) if validation is not None else None
    history: History = []
    recorder = _Recorder(history, logging.on_epoch)
    callbacks = [recorder, *([rule] if rule else []), *logging.callbacks]
    checkpoint = None
    if logging.checkpoint is not None:
        checkpoint = Checkpoint(logging.checkpoint, history, rule)
        callbacks.append(checkpoint)
        state = checkpoint.load(network)
        recorder.replay(settings.epochs if state and state.finished else len(history))
        if state is not None and state.finished:
            return Trained(_plain(network), history, state.outcome)
    if logging.tensorboard is not None:
        callbacks.append(keras.callbacks.TensorBoard(logging.tensorboard, write_graph=False))
    over = rule is not None and rule.exhausted
    row, one = (None, *batches.X.shape[1:]), (None,)
    with contextlib.ExitStack() as datasets:
        training = datasets.enter_context(
            prefetched(
                functools.partial(batches.forever, len(history)),
                (row, batches.X.dtype),
                (one, np.float32),
                (one, np.float32),
            )
        )
        held_out = None
        if validation is not None:
            in_order = functools.partial(_in_order, *validation)
            held_out = datasets.enter_context(
                prefetched(
                    in_order,
                    (row, batches.X.dtype),
                    (one, np.float32),
                    steps=-(-len(validation[1]) // VALIDATION_BATCH),
                )
            )
        try:
            network.fit(
                training,
                initial_epoch=settings.epochs if over else len(history),
                epochs=settings.epochs,
                steps_per_epoch=batches.steps,
                validation_data=held_out,
                # `Batches` shuffles; Keras would warn that it can't.
                shuffle=False,
                verbose=0,
                callbacks=callbacks,
            )
        except tf.errors.OpError:  # TensorFlow hides what went wrong while it read batches
            if batches.failures:
                raise batches.failures[0] from None
            raise
    recorder.replay(settings.epochs - len(history))  # epochs that the stopping rule saved
    if checkpoint is not None:
        checkpoint.finish()
    return Trained(_plain(network), history, rule.outcome if rule is not None else "")


def average(networks: list[Any], embedding_shape: tuple[int, ...]) -> Any:
    """Put networks side by side into one whose output is the mean of theirs."""
    if len(networks) == 1:
        return networks[0]
    inputs = keras.Input(embedding_shape)
    for number, network in enumerate(networks):
        network.name = f"member_{number}"
    mean = keras.layers.Average(dtype="float32")([network(inputs) for network in networks])
    return keras.Model(inputs, mean)


def _make_variables(network: Any) -> None:
    """Make the variables of the optimizer and of the metrics.

    If the first step had to make them, TensorFlow would trace that step twice.
    """
    network.optimizer.build(network.trainable_variables)
    nothing = np.zeros((1, 1), np.float32)
    network.compute_metrics(None, nothing, nothing)
    network.reset_metrics()


def _optimizer(settings: KerasSettings, steps: int) -> Any:
    schedules = keras.optimizers.schedules
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = schedules.CosineDecay(rate, settings.epochs * steps)
    elif settings.schedule == "step":
        rate = schedules.ExponentialDecay(rate, STEP_EPOCHS * steps, STEP_FACTOR, staircase=True)
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9)
    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    return kinds[settings.optimizer](rate)


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Append each epoch to the history and report it."""

    def __init__(self, history: History, on_epoch: OnEpoch | None) -> None:
        super().__init__()
        self.history, self.on_epoch = history, on_epoch

    def replay(self, epochs: int) -> None:
        """Report epochs that needn't be trained any more."""
        for _ in range(epochs if self.on_epoch is not None else 0):
            assert self.on_epoch is not None
            self.on_epoch({})

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seconds = time.perf_counter() - self.started
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch + 1} | numbers | {"seconds": seconds})
        if self.on_epoch is not None:
            self.on_epoch(self.history[-1])


class EpochScores(keras.callbacks.Callback):  # type: ignore[misc]
    """Score images that a network isn't trained on after each of its epochs.

    Parameters
    ----------
    X : array or LazyEmbeddings of shape (images, rows, columns, channels)
        Embeddings.
    on_scores
        Function that gets the epoch, counted from 1, and the scores, of shape (images,), dtype
        float64. It may raise to end the training.
    """

    def __init__(self, X: Embeddings, on_scores: OnScores) -> None:
        super().__init__()
        self.X, self.on_scores = X, on_scores

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        scores = scores_of(self.model, self.X, SCORED_BATCH)
        self.on_scores(epoch + 1, scores.astype(np.float64))


def _plain(network: Any) -> Any:
    """Return the same layers without the optimizer, which would triple the file."""
    if not isinstance(network, keras.Sequential):  # that of an embedding of several parts
        return keras.Model(network.inputs[0], network.outputs[0])
    return keras.Sequential([keras.Input(network.input_shape[1:]), *network.layers])


def _in_order(X: Embeddings, targets: NDArray[np.float32]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield validation images in their order, a batch at a time."""
    for start in range(0, len(targets), VALIDATION_BATCH):
        part = slice(start, start + VALIDATION_BATCH)
        yield X[part], targets[part]
