"""Options for reading labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from featx.data._dicom import Pseudonyms, own_salt


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options for reading labelled images. `featx.load_manifest` explains them.

    Examples
    --------
    >>> ReadingOptions(positive="PNEUMONIA").chooses_positive
    True
    """

    root: Path | None = None
    allow_outside: bool = False
    classes: Sequence[str] | None = None
    positive: str | None = None
    group_regex: str | None = None
    group_column: str | None = None
    keep: Sequence[str] | None = ()
    keep_identifiers: bool = False
    both_classes: bool = True

    @property
    def chooses_positive(self) -> bool:
        """Whether somebody said which class is the positive one."""
        return self.classes is not None or self.positive is not None

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """Stand-ins for the identifiers of patients."""
        return Pseudonyms(None if self.keep_identifiers else own_salt)

    def names_of_changed(self) -> list[str]:
        """Return the names of the options that change which images are read, and how."""
        return [
            each.name
            for each in fields(self)
            if each.name != "both_classes" and getattr(self, each.name) not in (each.default, None)
        ]
