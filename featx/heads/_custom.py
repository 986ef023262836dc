"""A scikit-learn classifier of the user's own, as a head."""

from __future__ import annotations

import re
from typing import Any

from sklearn import config_context
from sklearn.base import clone, is_classifier

from featx._arguments import wrong_type
from featx.errors import InputError

_MEMORY_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def require_classifier(estimator: Any) -> None:
    """Raise if an object isn't a classifier of scikit-learn that gives scores."""
    if isinstance(estimator, type):
        name = estimator.__name__
        raise InputError(
            f"`head` is the class {name}, not a classifier",
            f"Make one of it: {name}().",
            parameter="head",
        )
    if not hasattr(estimator, "get_params") or not is_classifier(estimator):
        raise wrong_type("head", estimator, "a head's name, a HeadSpec, or a classifier")
    if not has_probabilities(estimator) and not hasattr(estimator, "decision_function"):
        raise InputError(
            f"`head` is a {type(estimator).__name__}, which has neither predict_proba nor "
            "decision_function",
            "A threshold needs scores: take a classifier that has one of them.",
            parameter="head",
        )


def has_probabilities(estimator: Any) -> bool:
    """Say whether a classifier, fitted or not, has ``predict_proba``."""
    return hasattr(estimator, "predict_proba")


def class_path(estimator: Any) -> str:
    """Return the module and the name of an object's class."""
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


def described(estimator: Any) -> str:
    """Write an estimator and its parameters on one line, the same in every process."""
    with config_context(print_changed_only=True):
        try:
            text = estimator.__repr__(N_CHAR_MAX=2**20)
        except TypeError:  # a class with a text of its own
            text = repr(estimator)
    return " ".join(_MEMORY_ADDRESS.sub("", text).split())


def seeded_clone(estimator: Any, seed: int) -> Any:
    """Copy an estimator unfitted. Each ``random_state`` in it that is None becomes the seed."""
    copy = clone(estimator)
    parameters = copy.get_params()
    unset = [
        name
        for name, value in parameters.items()
        if value is None and name.rpartition("__")[2] == "random_state"
    ]
    return copy.set_params(**dict.fromkeys(unset, seed)) if unset else copy
