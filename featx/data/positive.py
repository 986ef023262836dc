"""Which of two classes is the sick one: told by the names that healthy people's folders have."""

from __future__ import annotations

import re
import unicodedata

HEALTHY_NAMES = frozenset(
    {
        "0", "absent", "benign", "clear", "control", "controls", "disease free", "false", "healthy",
        "n", "neg", "negative", "no", "none", "nofinding", "nofindings", "normal", "normals",
        "unremarkable",
    }
)  # fmt: skip
"""Names of the class of healthy people, in lower case, words separated by one space."""

_NEGATION = re.compile(r"(no|non|not|without) ")


def is_healthy_name(name: str) -> bool:
    """Say whether a class name is known to mean healthy people.

    Upper and lower case, spaces, underscores and hyphens make no difference. Names that begin
    with a negation ("no finding", "non-pneumonia") are known, too.

    Examples
    --------
    >>> is_healthy_name("No_Finding"), is_healthy_name("NORMAL"), is_healthy_name("abnormal")
    (True, True, False)
    """
    words = " ".join(re.split(r"[\W_]+", unicodedata.normalize("NFKC", name).casefold())).strip()
    return words in HEALTHY_NAMES or _NEGATION.match(words) is not None


def positive_is_known(classes: tuple[str, str]) -> bool:
    """Say whether exactly the negative class of two (negative, positive) has a healthy name."""
    return is_healthy_name(classes[0]) and not is_healthy_name(classes[1])


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
