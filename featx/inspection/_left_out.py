"""Files in the data folder that aren't used."""

from __future__ import annotations

from collections import Counter

from featx.data import Manifest, in_words
from featx.data._left_out import is_expected
from featx.inspection._findings import MAX_EXAMPLES, Finding, first_examples


def check_left_out(manifest: Manifest) -> list[Finding]:
    """Say which files aren't used, by kind. It is a warning if there are images among them."""
    kinds = Counter(manifest.left_out.values())
    if not kinds:
        return []
    first: dict[str, str] = {}
    for path, reason in manifest.left_out.items():
        first.setdefault(reason, path)
    shown = sorted(kinds, key=lambda reason: (is_expected(reason), -kinds[reason]))[:MAX_EXAMPLES]
    return [
        Finding(
            "left-out",
            "note" if all(map(is_expected, kinds)) else "warning",
            kinds.total(),
            first_examples([in_words(kinds)])[0],
            "JPEG, PNG, TIFF, BMP, WebP and DICOM images in class folders are used. Convert or "
            "move what should be used, too, or list it in a CSV file.",
            first_examples([f"{first[reason]}: {reason}" for reason in shown]),
            {"kinds": dict(kinds), "paths": dict(manifest.left_out)},
        )
    ]
