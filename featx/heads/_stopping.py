"""Rules that stop a training and choose the epoch whose weights are kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras.callbacks import Callback
from numpy.typing import NDArray

from featx.heads._settings import KerasSettings

Logs = dict[str, float]


class _Best(NamedTuple):
    """The best epoch, counted from 1."""

    epoch: int
    logs: Logs
    weights: list[NDArray[Any]]


class BestEpoch(Callback):  # type: ignore[misc]
    """Stop when no better epoch comes, and restore the weights of the best one at the end.

    A subclass says what "better" means. The weights are restored if patience runs out and also if
    the epochs do. (Keras's `EarlyStopping` forgets the best epoch if a training is resumed.)

    Parameters
    ----------
    patience
        Number of epochs without a better one before training stops. None never stops it.

    Attributes
    ----------
    best : epoch, logs and weights
        Best epoch so far, which is the first one until a better one comes.
    outcome : str
        Text that says which epoch was kept and why.
    """

    def __init__(self, patience: int | None) -> None:
        super().__init__()
        self.patience = patience
        self.best: _Best | None = None
        self.wait = 0

    @property
    def outcome(self) -> str:
        """Which epoch was kept and why."""
        return "" if self.best is None else f"kept epoch {self.best.epoch}{self._why()}"

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if self.best is None or self._better(logs, self.best.logs):
            self.best, self.wait = _Best(epoch + 1, logs, self.model.get_weights()), 0
        elif self._patience_counts():
            self.wait += 1
        if self.exhausted:
            self.model.stop_training = True

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.wait >= self.patience

    def on_train_end(self, logs: Logs | None = None) -> None:  # noqa: ARG002
        if self.best is not None:
            self.model.set_weights(self.best.weights)

    def state(self) -> dict[str, Any]:
        """Return what resuming needs besides the weights."""
        assert self.best is not None
        return {"epoch": self.best.epoch, "logs": self.best.logs, "wait": self.wait}

    def resume(self, state: dict[str, Any], weights: list[NDArray[Any]]) -> None:
        """Restore a `state`."""
        self.best = _Best(state["epoch"], state["logs"], weights)
        self.wait = state["wait"]

    def _better(self, logs: Logs, best: Logs) -> bool:
        raise NotImplementedError

    def _patience_counts(self) -> bool:
        return True

    def _why(self) -> str:
        return ""


class DualMetricEarlyStopping(BestEpoch):
    """The study's stopping rule: accuracy and recall on the validation images, both.

    Patience starts to count after an epoch has passed all targets. From then on an epoch is better
    only if validation accuracy *and* recall improve. If no epoch passes, the epoch of highest
    recall among those with accuracy at or above the floor is kept. If there is none, the epoch of
    highest accuracy is kept.

    Parameters
    ----------
    accuracy_target, recall_target
        Targets on the validation images.
    train_recall_target
        Target on the training images. None asks nothing of them.
    accuracy_floor
        Accuracy floor of the epoch that is kept if none passes.
    patience
        Number of epochs without a better one, counted from the first that passed.

    Raises
    ------
    ValueError
        If a target isn't between 0 and 1, or patience is below 1.
    """

    def __init__(
        self,
        accuracy_target: float = 0.94,
        recall_target: float = 0.95,
        *,
        train_recall_target: float | None = None,
        accuracy_floor: float = 0.9,
        patience: int = 10,
    ) -> None:
        super().__init__(patience)
        self.accuracy_target, self.recall_target = accuracy_target, recall_target
        self.train_recall_target, self.accuracy_floor = train_recall_target, accuracy_floor
        for name in ("accuracy_target", "recall_target", "train_recall_target", "accuracy_floor"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, not {value!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience!r}")

    @property
    def passed(self) -> bool:
        """Whether an epoch has passed all targets."""
        return self.best is not None and self._passes(self.best.logs)

    def _passes(self, logs: Logs) -> bool:
        return (
            logs["val_accuracy"] >= self.accuracy_target
            and logs["val_recall"] >= self.recall_target
            and (self.train_recall_target is None or logs["recall"] >= self.train_recall_target)
        )

    def _better(self, logs: Logs, best: Logs) -> bool:
        if self._passes(best):
            return (
                logs["val_accuracy"] > best["val_accuracy"]
                and logs["val_recall"] > best["val_recall"]
                and self._passes(logs)
            )
        return self._passes(logs) or self._fallback(logs) > self._fallback(best)

    def _fallback(self, logs: Logs) -> tuple[bool, float, float]:
        # A network that diverged scores NaN, which no comparison orders.
        accuracy, recall = np.nan_to_num([logs["val_accuracy"], logs["val_recall"]], nan=-1.0)
        above = bool(accuracy >= self.accuracy_floor)
        return (True, recall, accuracy) if above else (False, accuracy, recall)

    def _patience_counts(self) -> bool:
        return self.passed

    def _why(self) -> str:
        assert self.best is not None
        logs = self.best.logs
        reached = f"accuracy {logs['val_accuracy']:.4f}, recall {logs['val_recall']:.4f}"
        if self.passed:
            return f" ({reached} on the validation images)"
        if logs["val_accuracy"] >= self.accuracy_floor:
            rule = f"the highest recall of those with accuracy ≥ {self.accuracy_floor:g}"
        else:
            rule = "the highest accuracy"
        return f": no epoch reached the targets, this one has {rule} ({reached})"


class MetricPatience(BestEpoch):
    """Stop when one validation metric no longer improves.

    Parameters
    ----------
    monitor
        Metric on the validation images: ``loss``, ``accuracy`` or ``recall``.
    patience
        Number of epochs without improvement. None trains all epochs, then restores the best.
    """

    def __init__(self, monitor: str = "loss", patience: int | None = 10) -> None:
        super().__init__(patience)
        self.monitor = monitor

    def _better(self, logs: Logs, best: Logs) -> bool:
        return self._rank(logs) > self._rank(best)

    def _rank(self, logs: Logs) -> tuple[float, float]:
        value = logs[f"val_{self.monitor}"]
        if np.isnan(value):
            return (-np.inf, 0.0)
        # Many epochs often have the same recall. Accuracy decides between them.
        return (-value if self.monitor == "loss" else value, logs["val_accuracy"])

    def _why(self) -> str:
        assert self.best is not None
        value = self.best.logs[f"val_{self.monitor}"]
        return f" ({self.monitor} {value:.4f} on the validation images)"


def make_rule(settings: KerasSettings, accuracy_floor: float) -> BestEpoch | None:
    """Build the stopping rule that the settings ask for. None trains to the last epoch."""
    if settings.stopping == "dual":
        return DualMetricEarlyStopping(
            settings.accuracy_target,
            settings.recall_target,
            train_recall_target=settings.train_recall_target,
            accuracy_floor=accuracy_floor,
            patience=settings.patience,
        )
    if settings.stopping == "patience":
        return MetricPatience(settings.monitor, settings.patience)
    return MetricPatience("recall", None) if settings.stopping == "best_recall" else None
