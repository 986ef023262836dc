"""Results in words: counts that a reader understands before any percentage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDEST_INTERVAL = 0.2
"""Width of a 95 % interval of recall or specificity above which it says little."""


def counts_in_words(confusion: Mapping[str, int], classes: tuple[str, str]) -> str:
    """Say how many sick people were missed, and how many healthy ones were called sick.

    Parameters
    ----------
    confusion
        Numbers of images under ``tn``, ``fp``, ``fn``, ``tp``.
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


def caveats(metrics: Mapping[str, Any], classes: tuple[str, str]) -> list[str]:
    """Say what these metrics can't tell: a class is missing, or there are few patients.

    Parameters
    ----------
    metrics
        Metrics as `featx.evaluation.Metrics.as_dict` returns them.
    classes
        The negative and the positive class.

    Examples
    --------
    >>> few = {"recall": {"low": 0.4, "high": 1.0}, "specificity": {"low": 0.8, "high": 0.9}}
    >>> both = {"tn": 30, "fp": 5, "fn": 0, "tp": 5}
    >>> caveats({"confusion": both, "intervals": few}, ("NORMAL", "PNEUMONIA"))
    ['Few patients: recall may be anything from 0.40 to 1.00.']
    """
    confusion, said, wide = metrics["confusion"], [], []
    for name, label, cells in (
        ("recall", classes[1], ("fn", "tp")),
        ("specificity", classes[0], ("fp", "tn")),
    ):
        if not sum(confusion[cell] for cell in cells):
            said.append(f"There is no image of {label}: {name} and ROC AUC are unknown.")
        elif (between := metrics["intervals"].get(name)) is None:
            continue
        elif between["high"] - between["low"] > WIDEST_INTERVAL:
            wide.append(
                f"{name} may be anything from {between['low']:.2f} to {between['high']:.2f}"
            )
    return said + ([f"Few patients: {', '.join(wide)}."] if wide else [])
