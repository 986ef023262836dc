"""The errors of featx, in one place; the cache defines them because it is the lowest floor."""

from featx_cache._errors import (
    DamagedShardError,
    FeatxError,
    InputError,
    NotACacheError,
    SpecMismatchError,
    StorageError,
)


class NoLabelsError(InputError):
    """Images that must have labels have none."""

    code = "no-labels"


class WeightsError(FeatxError):
    """Pretrained weights can't be reached or don't fit the backbone."""

    code = "weights"


class OutOfMemoryError(FeatxError):
    """A forward pass needs more memory than the device has."""

    code = "out-of-memory"


class NoFeasibleThresholdError(FeatxError):
    """No threshold reaches the accuracy floor.

    `best_accuracy` is what can be had; `roc_auc` is that of the same scores, where it is known.
    """

    code = "no-feasible-threshold"

    def __init__(
        self, what: str, hint: str = "", *, best_accuracy: float, roc_auc: float | None = None
    ) -> None:
        self.best_accuracy, self.roc_auc = best_accuracy, roc_auc
        super().__init__(what, hint)


__all__ = [
    "DamagedShardError",
    "FeatxError",
    "InputError",
    "NoFeasibleThresholdError",
    "NoLabelsError",
    "NotACacheError",
    "OutOfMemoryError",
    "SpecMismatchError",
    "StorageError",
    "WeightsError",
]
