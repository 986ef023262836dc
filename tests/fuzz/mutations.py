"""Bytes and values that nobody wrote: strategies that damage what is whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NUMBERS = tuple(
    bytes.fromhex(digits)
    for digits in ("00", "ff", "7f", "80", "ffff", "0000", "7fff", "ffffffff", "7fffffff", "00" * 8)
)
"""Extreme values of lengths and counters in headers."""

Edit = tuple[str, int, bytes]
EDITS = st.tuples(
    st.sampled_from(["flip", "set", "insert", "delete", "truncate", "repeat"]),
    st.integers(0, 2**20 - 1),
    st.one_of(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=12)),
)


def damaged(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Take one of some whole files, and change it in one to five places."""
    edits = st.lists(EDITS, min_size=1, max_size=5)
    return st.builds(edited, st.sampled_from(seeds), edits)


def edited(whole: bytes, edits: list[Edit]) -> bytes:
    content = bytearray(whole)
    for kind, place, data in edits:
        # Half of the places are among the first bytes: that is where headers are.
        span = min(len(content), 256) if place % 2 else len(content)
        at = place // 2 % (span + 1)
        if kind == "flip" and at < len(content):
            content[at] ^= data[0] or 1
        elif kind == "set":
            content[at : at + len(data)] = data
        elif kind == "insert":
            content[at:at] = data
        elif kind == "delete":
            del content[at : at + len(data)]
        elif kind == "truncate":
            del content[at:]
        elif kind == "repeat":
            content[at:at] = content[at : at + 64 * len(data)]
    return bytes(content)


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**30,
        0.5,
        -0.0,
        1e300,
        float("inf"),
        float("nan"),
        "",
        "x",
        "nan",
        "../../x",
        "/dev/zero",
        "a\0b",
        "\ud800",
        "x" * 5000,
        [],
        {},
        [[]],
        [None],
        {"": None},
        [0] * 2000,
    ]
)
ANY = st.one_of(
    ODD,
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.recursive(
        ODD,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
"""Whatever JSON can hold, and what it can't."""


def changed(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Replace, remove or add one to three values, anywhere in what JSON holds."""
    places = list(_places(whole, ()))
    change = st.tuples(st.sampled_from(places), st.sampled_from(["set", "remove", "add"]), ANY)
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: _applied(whole, changes))


def _places(value: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inside: dict[Any, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        inside = dict(enumerate(value))
    for name, each in inside.items():
        yield (*above, name)
        yield from _places(each, (*above, name))


def _applied(whole: dict[str, Any], changes: list[tuple[Any, str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = copy.deepcopy(whole)
    for place, kind, value in changes:
        held: Any = result
        try:
            for name in place[:-1]:
                held = held[name]
            if kind == "remove":
                del held[place[-1]]
            elif kind == "set" or isinstance(held, list):
                held[place[-1]] = copy.deepcopy(value)
            else:
                held[f"{place[-1]}x"] = copy.deepcopy(value)
        except (LookupError, TypeError):  # an earlier change took it away
            continue
    return result


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
