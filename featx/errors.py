"""The errors of featx, in one place; the cache defines them because it is the lowest floor."""

from featx_cache.errors import (
    DamagedShardError,
    FeatxError,
    InputError,
    NotACacheError,
    SpecMismatchError,
    StorageError,
)


class WeightsError(FeatxError):
    """Pretrained weights can't be reached or don't fit the backbone."""


class NoFeasibleThresholdError(FeatxError):
    """No threshold reaches the accuracy floor."""


__all__ = [
    "DamagedShardError",
    "FeatxError",
    "InputError",
    "NoFeasibleThresholdError",
    "NotACacheError",
    "SpecMismatchError",
    "StorageError",
    "WeightsError",
]
