"""Why a file in a folder of images isn't used, in words that can be counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from featx.data._formats import TEXT, UNREAD_IMAGES
from featx_cache._text import plural

HIDDEN = "hidden"
MASK = "named as a mask"
NO_CLASS = "in no class folder"
LINK_OUT = "behind a link to a folder elsewhere"
LINK_AGAIN = "behind a link to a folder that is read already"
DEAD_LINK = "a link that leads nowhere"
UNREADABLE_FOLDER = "in a folder that can't be read"
NAMED_LIKE_AN_IMAGE = "a folder with the name of an image"
NOT_REGULAR = "not a regular file"
_NO_IMAGE = "(not an image)"
_NOT_CHOSEN = "which was not chosen"
_UNREAD = "(an image format that featx doesn't read)"
_MAX_KINDS = 10
_LONGEST_SUFFIX = 5
_MASK_FOLDER = re.compile(r"(.*[\W_])?(masks?|segmentations?)", re.IGNORECASE)
_MASK_STEM = re.compile(r".*[\W_](masks?|seg|segmentation)", re.IGNORECASE | re.DOTALL)


def format_reason(path: Path, name: str) -> str:
    """Give the reason for a file whose format (see `format_of`) isn't read."""
    if path.name.lower().endswith(".nii.gz"):
        name = "NIfTI"
    if name in UNREAD_IMAGES:
        return f"{name} {_UNREAD}"
    if name in ("", TEXT):
        suffix = path.suffix.lower()  # of a long one, much of the name may be in it
        name = suffix if 1 < len(suffix) <= _LONGEST_SUFFIX else name or "unknown format"
    return f"{name} {_NO_IMAGE}"


def mask_reason(parts: Sequence[str]) -> str:
    """Give the reason for a mask beside images, by its name or its folders, or nothing.

    Parameters
    ----------
    parts
        Parts of its path below the class folder.

    Examples
    --------
    >>> mask_reason(["masks", "1.png"]), mask_reason(["1_mask.png"]), mask_reason(["unmasked.png"])
    ('named as a mask', 'named as a mask', '')
    """
    masked = any(map(_MASK_FOLDER.fullmatch, parts[:-1])) or _MASK_STEM.fullmatch(
        Path(parts[-1]).stem
    )
    return MASK if masked else ""


def is_expected(reason: str) -> bool:
    """Say whether a file that was left out is no image, or wasn't meant to be used."""
    return reason in (HIDDEN, MASK) or reason.endswith((_NO_IMAGE, _NOT_CHOSEN))


def class_reason(label: str) -> str:
    """Give the reason for an image of another class."""
    return f"of class {label}, {_NOT_CHOSEN}"


def in_words(reasons: Mapping[str, int] | Iterable[str]) -> str:
    """Say how many files are left out, by kind, or nothing if there are none.

    Parameters
    ----------
    reasons
        Number of files by reason, or one reason a file.

    Examples
    --------
    >>> in_words(["named as a mask", ".txt (not an image)", ".txt (not an image)"])
    '3 files left out: 2 .txt (not an image), 1 named as a mask'
    """
    counts = Counter(reasons)
    if not counts:
        return ""
    kinds = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
    said = [f"{number} {reason}" for reason, number in kinds[:_MAX_KINDS]]
    if rest := sum(number for _, number in kinds[_MAX_KINDS:]):
        said.append(f"{rest} for other reasons")
    total = counts.total()
    return f"{plural(total, 'file')} left out: {', '.join(said)}"
