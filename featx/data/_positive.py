"""Choice of the positive class, by names that mean healthy people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

HEALTHY_NAMES = frozenset(
    {
        "0", "0 0", "absent", "benign", "clear", "control", "controls", "disease free", "false",
        "healthy", "healthy control", "healthy controls", "n", "neg", "negative", "no",
        "none", "nofinding", "nofindings", "normal", "normals", "unremarkable",
    }
)  # fmt: skip
"""Names of the class of healthy people, in lower case, words separated by one space."""

_NEGATION = re.compile(r"(no|non|not|without) (?P<rest>.+)")
_DENYING_WORDS = ("non", "no", "not", "without")
_NUMBER = re.compile(r"\d+ (?=\D)")
_NEUTRAL_WORDS = frozenset(
    {
        "case", "cases", "chest", "class", "cxr", "cxrs", "film", "films", "image", "images",
        "lung", "lungs", "patient", "patients", "people", "radiograph", "radiographs", "ray",
        "rays", "scan", "scans", "subject", "subjects", "x", "xray", "xrays",
    }
)  # fmt: skip
"""Words in the name of a class that don't say who is healthy."""


def is_healthy_name(name: str) -> bool:
    """Say whether a class name is known to mean healthy people.

    Upper and lower case, spaces, underscores and hyphens make no difference, nor do a number in
    front ("0_normal") and words such as "chest" and "cases". Names that begin with a negation ("no
    finding", "non-pneumonia") or end with "negative" ("covid negative") are known, too.

    Examples
    --------
    >>> is_healthy_name("No_Finding"), is_healthy_name("NORMAL"), is_healthy_name("abnormal")
    (True, True, False)
    >>> is_healthy_name("0_normal"), is_healthy_name("Normal cases"), is_healthy_name("not normal")
    (True, True, False)
    """
    words = _NUMBER.sub("", _words(name))
    if negated := _NEGATION.fullmatch(words):
        return words in HEALTHY_NAMES or not _is_healthy(negated["rest"])
    return _is_healthy(words)


def _words(name: str) -> str:
    """Return a name in lower case, its words separated by one space."""
    return " ".join(re.split(r"[\W_]+", unicodedata.normalize("NFKC", name).casefold())).strip()


def _is_healthy(words: str) -> bool:
    left = " ".join(word for word in words.split() if word not in _NEUTRAL_WORDS)
    if left.startswith("negative for "):
        return True
    return left in HEALTHY_NAMES or (left.endswith(" negative") and left != "gram negative")


def _denies(name: str, other: str) -> bool:
    """Say whether a name is another one with a negation in it, also without a space: NonCOVID."""
    said, denied = _words(name).replace(" ", ""), _words(other).replace(" ", "")
    return any(
        said[:place] + said[place + len(negation) :] == denied
        for negation in _DENYING_WORDS
        for place in (found.start() for found in re.finditer(negation, said))
    )


def healthy_first(names: Sequence[str]) -> list[str]:
    """Put class names in their default order: a known healthy one first, otherwise A to Z.

    Examples
    --------
    >>> healthy_first(["abnormal", "normal"]), healthy_first(["b", "a"])
    (['normal', 'abnormal'], ['a', 'b'])
    """
    ordered = sorted(names)
    return ordered[::-1] if len(ordered) == 2 and positive_is_known(ordered[::-1]) else ordered


def positive_is_known(classes: Sequence[str]) -> bool:
    """Say whether exactly the negative class of two (negative, positive) has a healthy name.

    Examples
    --------
    >>> positive_is_known(("CT_NonCOVID", "CT_COVID")), positive_is_known(("a", "b"))
    (True, False)
    """
    negative, positive = classes
    if is_healthy_name(positive):
        return False
    return is_healthy_name(negative) or _denies(negative, positive)


def positive_sentence(classes: tuple[str, str]) -> str:
    """Say which class is the positive one, for the first lines of every output.

    Parameters
    ----------
    classes
        The negative and the positive class.

    Examples
    --------
    >>> positive_sentence(("NORMAL", "PNEUMONIA"))
    'Positive class (sick): PNEUMONIA. Negative class (healthy): NORMAL.'
    """
    return f"Positive class (sick): {classes[1]}. Negative class (healthy): {classes[0]}."


def positive_warning(classes: tuple[str, str], *, chosen: bool = True) -> str:
    """Say what may be wrong with the order of two classes, or nothing.

    Parameters
    ----------
    classes
        The negative and the positive class.
    chosen
        Whether somebody chose this order. Otherwise the names decided.

    Examples
    --------
    >>> positive_warning(("PNEUMONIA", "NORMAL"))[:57]
    'WARNING: the positive class NORMAL has the name of health'
    """
    negative, positive = classes
    if positive_is_known((positive, negative)):
        return (
            f"WARNING: the positive class {positive} has the name of healthy people, so recall is "
            f"about them. If {negative} is the sick one, extract again with "
            f"`positive={negative!r}`. The embeddings are kept."
        )
    if chosen or positive_is_known(classes):
        return ""
    return (
        f"WARNING: the alphabet alone made {positive} the positive class, because the names don't "
        f"say who is healthy. If {negative} is the sick one, give `positive={negative!r}`."
    )
