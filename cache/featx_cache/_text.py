"""Showing text that came from outside: names of files and classes, and what libraries say."""

from __future__ import annotations

import re
import unicodedata

_UNSHOWN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates (bytes that aren't UTF-8), separators of lines."""
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional controls: U+202A to U+202E and U+2066 to U+2069."""
_ESCAPED_PART = re.compile("[\udc80-\udcff]+|[^ -~]")
"""Undecoded bytes together, any other character that isn't plain ASCII alone."""


def printable(text: str) -> str:
    r"""Put a question mark for each character that could do more than be shown.

    A terminal obeys control characters (ESC, BEL, C1), and shows text after a bidirectional
    control in another order than it has. Letters and emoji of all scripts stay as they are, also
    as the undecoded bytes that Python makes of them in the C locale.

    Parameters
    ----------
    text
        Text from outside, of any number of lines.

    Examples
    --------
    >>> printable("scan\x1b[2J.png")
    'scan?[2J.png'
    """
    return _ESCAPED_PART.sub(_shown, text)


def _shown(part: re.Match[str]) -> str:
    characters = part[0]
    try:
        decoded = characters.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return "?" * len(characters)
    return "?" * len(characters) if any(map(_acts, decoded)) else characters


def _acts(character: str) -> bool:
    return (
        unicodedata.category(character) in _UNSHOWN_CATEGORIES
        or unicodedata.bidirectional(character) in _REORDERING
    )


def printable_lines(text: str) -> str:
    r"""Do the same to a text of several lines, and keep its line breaks.

    Examples
    --------
    >>> printable_lines("1 image:\x07\nscan.png")
    '1 image:?\nscan.png'
    """
    return "\n".join(map(printable, text.split("\n")))


def first_line(error: BaseException) -> str:
    r"""Return the first line of what an error says, or its type's name if it says nothing.

    Examples
    --------
    >>> first_line(ValueError("it is odd\nand long")), first_line(KeyError())
    ('it is odd', 'KeyError')
    """
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def plural(count: int, thing: str) -> str:
    """Write a number of things, in the singular or in the plural.

    Examples
    --------
    >>> plural(1, "image"), plural(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
