"""The errors of featx. The cache defines most of them, since it knows nothing of the library."""

import functools
from typing import Any

from featx_cache._errors import (
    DamagedShardError,
    FeatxError,
    InputError,
    NotACacheError,
    SpecMismatchError,
    StorageError,
)


class NoLabelsError(InputError):
    """Images that must have labels have none.

    Examples
    --------
    >>> from featx.errors import InputError, NoLabelsError
    >>> issubclass(NoLabelsError, InputError), NoLabelsError.code
    (True, 'no-labels')
    """

    code = "no-labels"


class EstimateError(FeatxError):
    """Images are too unlike the training images for an estimate without labels.

    Examples
    --------
    >>> from featx.errors import EstimateError, FeatxError
    >>> issubclass(EstimateError, FeatxError), EstimateError.code
    (True, 'no-estimate')
    """

    code = "no-estimate"


class WeightsError(FeatxError):
    """Pretrained weights can't be had or don't fit the backbone.

    Examples
    --------
    >>> from featx.errors import FeatxError, WeightsError
    >>> issubclass(WeightsError, FeatxError), WeightsError.code
    (True, 'weights')
    """

    code = "weights"


class OutOfMemoryError(FeatxError):
    """Work needs more memory than the machine or a limit allows.

    Examples
    --------
    >>> from featx.errors import OutOfMemoryError
    >>> OutOfMemoryError.code
    'out-of-memory'
    """

    code = "out-of-memory"


class NoFeasibleThresholdError(FeatxError):
    """No threshold reaches the accuracy floor.

    Attributes
    ----------
    best_accuracy : float
        Highest accuracy of any threshold.
    roc_auc : float or None
        ROC AUC of the same scores, if it is known.

    Examples
    --------
    >>> from featx.errors import NoFeasibleThresholdError
    >>> NoFeasibleThresholdError("no threshold reaches 0.99", best_accuracy=0.9).best_accuracy
    0.9
    """

    code = "no-feasible-threshold"

    def __init__(
        self, what: str, hint: str = "", *, best_accuracy: float, roc_auc: float | None = None
    ) -> None:
        self.best_accuracy, self.roc_auc = best_accuracy, roc_auc
        super().__init__(what, hint)

    def __reduce__(self) -> tuple[Any, ...]:
        """Come whole out of a worker process of joblib."""
        known: dict[str, Any] = {"best_accuracy": self.best_accuracy, "roc_auc": self.roc_auc}
        return functools.partial(type(self), **known), (self.what, self.hint), self.__dict__


__all__ = [
    "DamagedShardError",
    "EstimateError",
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
