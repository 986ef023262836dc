"""Values that the shell offers for options which take text. Choices and commands it finds itself.

These names stand here once more because the rooms that define them import half of the library.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

MINI = "featx-mini"
HEADS = ("keras", "logreg", "svm", "knn", "lda", "hgb")
PRESETS = ("shift", "study", "chest", "none")
CALIBRATIONS = ("sigmoid", "isotonic", "temperature")
DATA_SETS = ("pneumoniamnist", "pneumoniamnist-224", "chest-xray-pneumonia")
OBJECTIVES = ("constrained", "pareto")
SAMPLERS = ("tpe", "gp", "random", "grid", "nsga2")
PRUNERS = ("median", "hyperband", "none")
SPLITS = ("train", "val", "test", "all")

_NETWORK = re.compile(r"\b([A-Z]\w*) as \1\b")


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Return a function that offers some values."""

    def offer(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return offer


def several_of(*values: str) -> Callable[[str], list[str]]:
    """Return a function that offers values which are typed with commas between them."""

    def offer(incomplete: str) -> list[str]:
        done, comma, start = incomplete.rpartition(",")
        found = [value for value in values if value.startswith(start)]
        return [done + comma + value for value in found if value not in done.split(",")]

    return offer


def backbones(incomplete: str) -> list[str]:
    """Offer the networks, whose names Keras's folders tell without an import of Keras."""
    keras = importlib.util.find_spec("keras")
    found: set[str] = set()
    if keras is not None and keras.origin is not None:
        for module in (Path(keras.origin).parent / "applications").glob("*/__init__.py"):
            found |= {name.lower() for name in _NETWORK.findall(module.read_text(encoding="utf-8"))}
    return [name for name in (MINI, *sorted(found)) if name.startswith(incomplete.lower())]
