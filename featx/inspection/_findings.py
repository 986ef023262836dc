"""Findings of checks: severity, count, examples and advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from featx_cache._text import printable

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first: results are wrong, results may be wrong, good to know."""

MAX_EXAMPLES = 3


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
        Number of images, sets or patients. The title says which.
    title
        Sentence that says what was found.
    advice
        Sentence that says what to do.
    examples
        Three examples at most.
    details
        Numbers behind it, for programs.

    Examples
    --------
    >>> finding = Finding("blank", "warning", 2, "2 images with almost nothing", "Leave them out.")
    >>> finding.severity
    'warning'
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


def first_examples(examples: Sequence[str]) -> tuple[str, ...]:
    """Take the first examples, fit for a screen: names may have anything in them."""
    return tuple(printable(example) for example in examples[:MAX_EXAMPLES])
