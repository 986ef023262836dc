"""Names that somebody chose to do harm, as they are shown."""

from __future__ import annotations

import pytest

from featx_cache._errors import FeatxError
from featx_cache._text import printable, printable_lines

CONTROLS = [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))]
REORDERING = ["\u202a", "\u202b", "\u202c", "\u202d", "\u202e", *map(chr, range(0x2066, 0x206A))]
ACTING = [*CONTROLS, *REORDERING, "\u2028", "\u2029", "\ud800", "\udcff"]


@pytest.mark.parametrize("character", ACTING, ids=ascii)
def test_what_a_terminal_would_obey_is_a_question_mark(character: str) -> None:
    assert printable(f"a{character}b") == "a?b"


@pytest.mark.parametrize(
    "text", ["", "a b", "Lungen – ünï 🫁", "نمونه\u200cها", "👩\u200d⚕️", "胸部", "a\xa0b", "\u202f"]
)
def test_letters_of_all_scripts_stay(text: str) -> None:
    assert printable(text) == text


def test_undecoded_bytes_stay_where_they_are_utf_8_and_harmless() -> None:
    """So the C locale sees names. A terminal decodes what is sent to it."""
    undecoded = "ünï".encode().decode("ascii", "surrogateescape")
    assert printable(undecoded) == undecoded
    for acting in ("\x9b", "\u202e"):
        assert set(printable(acting.encode().decode("ascii", "surrogateescape"))) == {"?"}


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a?\nb?\n"


def test_an_error_is_one_line_of_harmless_text() -> None:
    error = FeatxError("can't read a\x1b]0;b\x07\u202e\ngnp.c", "Do\x1b[2J that.")
    assert str(error) == "can't read a?]0;b?? gnp.c. Do?[2J that."
    assert error.what.startswith("can't read a\x1b")
