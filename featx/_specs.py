"""The base of every spec: frozen, with one canonical JSON and a fingerprint."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from featx.errors import InputError, SpecMismatchError

_UNWRITTEN: dict[str, Any] = {}
"""Values of fields that aren't written, because they were added later and have their defaults."""


class Spec(BaseModel):
    """A frozen description of how something is made.

    Equal specs have equal fingerprints.

    Attributes
    ----------
    added
        Fields that an earlier version of featx didn't have. They are written only if they differ
        from their defaults, so that old fingerprints stay true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    added: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        fields = cls.model_fields
        _UNWRITTEN.update({name: fields[name].get_default() for name in cls.added})

    @model_serializer(mode="wrap")
    def _without_defaults_of_added(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        fields = type(self).model_fields
        for name in self.added:
            if getattr(self, name) == fields[name].get_default(call_default_factory=True):
                values.pop(name, None)
        return values

    def canonical_json(self) -> str:
        """Return the one JSON text of this spec: keys sorted, no white space."""
        return _canonical(self.model_dump(mode="json"))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return fingerprint_of(self.model_dump(mode="json"))


def fingerprint_of(values: dict[str, Any]) -> str:
    """Return the fingerprint of a spec that was read from a file, of whatever version of featx."""
    return hashlib.sha256(_canonical(values).encode()).hexdigest()


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def spec_error(error: ValidationError) -> InputError:
    """Turn pydantic's report on a spec into one line that names the parameter and the value."""
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "spec"
    return InputError(
        f"`{name}` can't be {first['input']!r}: {first['msg'].lower()}", parameter=name
    )


@contextlib.contextmanager
def spec_errors() -> Iterator[None]:
    """Turn pydantic's errors in a block into errors of one line, as `spec_error` does."""
    try:
        yield
    except ValidationError as error:
        raise spec_error(error) from error


def require_known(what: str, name: str, names: Iterable[str], otherwise: str = "") -> None:
    """Raise when a name that somebody typed isn't one of those that there are."""
    known = list(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hints = [f"Did you mean {near[0]}?"] if near else []
        hints += [otherwise] if otherwise else [] if near else [f"Choose {_one_of(known)}."]
        raise InputError(f"there is no {what} {name!r}", " ".join(hints))


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(names)}" if len(names) > 2 else " or ".join(names)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """List the fields in which two specs differ, as ``name: one -> other``."""
    flat_one, flat_other = _flatten(one), _flatten(other)

    def value(flat: dict[str, Any], name: str) -> Any:
        return flat.get(name, _UNWRITTEN.get(name.rpartition(".")[2]) or "absent")

    return [
        f"{name}: {value(flat_one, name)} -> {value(flat_other, name)}"
        for name in sorted(flat_one.keys() | flat_other.keys())
        if flat_one.get(name) != flat_other.get(name)
    ]


def require_equal(what: str, one: dict[str, Any], other: dict[str, Any], hint: str) -> None:
    """Raise when two specs differ."""
    if fields := differences(one, other):
        raise SpecMismatchError(f"{what} ({'; '.join(fields)})", hint)


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = item
    return flat
