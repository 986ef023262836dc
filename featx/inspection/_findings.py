"""What a check says: how bad, how many, which ones, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from featx_cache._text import printable

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first: results would be wrong; results may be; good to know."""

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a data set.

    Attributes
    ----------
    check
        Short name of the check, such as ``patients-in-several-splits``.
    severity
        ``error`` makes results wrong, ``warning`` may, ``note`` is good to know.
    count
        How many images, pairs or patients; what they are is in `title`.
    title
        What was found, in words.
    advice
        What to do.
    examples
        At most three.
    details
        Numbers behind it, for programs.
    """

    check: str
    severity: Severity
    count: int
    title: str
    advice: str
    examples: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by severity, then by how many."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), -f.count, f.check))


def some(examples: Sequence[str]) -> tuple[str, ...]:
    """Take the first examples, fit for a screen: names may have anything in them."""
    return tuple(printable(example) for example in examples[:EXAMPLES])
