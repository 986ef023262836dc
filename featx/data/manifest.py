"""The manifest: one row an image, and what its labels mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from featx.errors import InputError

COLUMNS = ("path", "sha256", "label", "split", "group")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Labelled images.

    Attributes
    ----------
    root
        The folder that `path` is relative to.
    table
        One row an image: path, sha256 (hexadecimal), label, split, group (patient), all text.
    classes
        The negative and the positive class.
    unreadable
        Relative path -> reason, for files that look like images and aren't.
    """

    root: Path
    table: pd.DataFrame
    classes: tuple[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def counts(self) -> pd.DataFrame:
        """Count images by split (rows) and class (columns)."""
        counts = pd.crosstab(self.table["split"], self.table["label"])
        return counts.reindex(columns=list(self.classes), fill_value=0)


def order_classes(
    found: Sequence[str], classes: Sequence[str] | None, positive: str | None
) -> tuple[str, str]:
    """Put the two classes in order, the positive one last.

    Parameters
    ----------
    found
        Class names in the data.
    classes
        The order asked for; None is alphabetical.
    positive
        The positive class; None is the last.

    Raises
    ------
    InputError
        When there aren't two classes, or a name isn't in the data.
    """
    names = list(classes) if classes is not None else sorted(found)
    for name in [*names, *([positive] if positive is not None else [])]:
        if name not in found:
            raise InputError(
                f"there is no class {name!r} in the data", f"It has: {', '.join(sorted(found))}."
            )
    if positive is not None and positive not in names:
        raise InputError(f"--positive {positive!r} is not one of --classes {','.join(names)}")
    if len(set(names)) != 2:
        raise InputError(
            f"featx needs exactly two classes, and here there "
            f"{'is' if len(set(names)) == 1 else 'are'} {len(set(names))}: {', '.join(names)}",
            "Choose two with --classes NEGATIVE,POSITIVE."
            if len(set(names)) > 2
            else "Add a folder with images of the other class.",
        )
    if positive is not None:
        names = [name for name in names if name != positive] + [positive]
    return names[0], names[1]
