"""Results in words: counts that a reader understands before any percentage."""

from __future__ import annotations

from collections.abc import Mapping


def counts_in_words(confusion: Mapping[str, int], classes: tuple[str, str]) -> str:
    """Say how many sick people were missed, and how many healthy ones were called sick.

    Parameters
    ----------
    confusion
        Counts of images under ``tn``, ``fp``, ``fn``, ``tp``.
    classes
        The negative and the positive class.

    Examples
    --------
    >>> counts_in_words({"tn": 26, "fp": 5, "fn": 2, "tp": 29}, ("NORMAL", "PNEUMONIA"))
    '2 of 31 sick (PNEUMONIA) missed, 5 of 31 healthy (NORMAL) called sick.'
    """
    sick, healthy = confusion["fn"] + confusion["tp"], confusion["fp"] + confusion["tn"]
    return (
        f"{confusion['fn']:,} of {sick:,} sick ({classes[1]}) missed, "
        f"{confusion['fp']:,} of {healthy:,} healthy ({classes[0]}) called sick."
    )


def counted(count: int, thing: str) -> str:
    """Write so many things.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
