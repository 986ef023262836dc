"""Arguments of public functions: a wrong type is answered in one line, before any work."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path

from featx.errors import InputError
from featx_cache import Cache, open_cache


def wrong_type(parameter: str, value: object, wanted: str) -> InputError:
    """Return the error of an argument of another type.

    Examples
    --------
    >>> print(wrong_type("folds", "5", "a whole number"))
    `folds` can't be of type str. Give a whole number.
    """
    return InputError(
        f"`{parameter}` can't be of type {type(value).__name__}",
        f"Give {wanted}.",
        parameter=parameter,
    )


def cache_of(cache: Cache | str | Path) -> Cache:
    """Return a cache that was given itself or by its folder."""
    if isinstance(cache, str | Path):
        return open_cache(cache)
    if not isinstance(cache, Cache):
        raise wrong_type("cache", cache, "a Cache or its folder")
    return cache


def require_number(parameter: str, value: object) -> None:
    """Refuse what isn't a number."""
    if not isinstance(value, Real):
        raise wrong_type(parameter, value, "a number")


def require_whole(parameter: str, value: object) -> None:
    """Refuse what isn't a whole number."""
    if not isinstance(value, Integral):
        raise wrong_type(parameter, value, "a whole number")


def names_of_types(trusted: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of trusted types. A text alone is one name, not its letters.

    Raises
    ------
    InputError
        If it isn't names.
    """
    names = (trusted,) if isinstance(trusted, str) else trusted
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"`trusted` can't be {trusted!r:.60}",
            "Name the types, such as 'sklearn.tree._tree.Tree': there is no trust in all types.",
            parameter="trusted",
        )
    return tuple(names)
