"""Shortcuts: sizes, formats and columns that tell the label without the image."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, mannwhitneyu

from featx.data import Manifest
from featx.data._manifest import COLUMNS
from featx.inspection._findings import Finding, first_examples
from featx.inspection._measure_images import Measurements

MIN_FLAGGED_AUC = 0.7
MIN_FLAGGED_V = 0.4
"""Cramér's V of a column of two values with an area of 0.7 and classes of equal size."""

SIGNIFICANCE = 0.001
MAX_NUMBERED_VALUES = 10
"""Most different numbers of a column of categories, such as numbered hospitals."""

MIN_IMAGES_PER_VALUE = 5
"""Mean patients of a value of a column. With fewer it is a name, and no category."""

SKIPPED_COLUMNS = {*COLUMNS, "cause", "study", "fold", "class", "target", "diagnosis", "finding"}
"""Columns that are checked elsewhere, say where an image is, or say the label in other words."""

_IDENTIFIER = re.compile(
    r"^unnamed|(^|[\W_])(id|uid|index|number|nr|name|file|filename|image|path|mrn|date|time)$"
)


def check_shortcuts(manifest: Manifest, measured: Measurements) -> list[Finding]:
    """Try to tell the label from size, aspect, mode, format and file size alone.

    Each gives an area under the ROC curve. A mode or a format counts as a number: whether the image
    has it. An area over 0.7 that chance doesn't explain (Mann-Whitney, p < 0.001) is flagged, and
    so is every further column of the manifest that tells the label.
    """
    table, positive = manifest.table, manifest.positive
    width, height = table["width"].to_numpy(float), table["height"].to_numpy(float)
    features: dict[str, NDArray[np.float64]] = {
        "width": width,
        "height": height,
        "aspect ratio": width / height,
        "file size": measured.bytes.astype(float),
    }
    for column, name in (("mode", "mode"), ("source", "format")):
        for value in sorted(table[column].unique()):
            features[f"{name} {value}"] = (table[column] == value).to_numpy(float)
    findings, seen = [], set()
    for name, values in features.items():
        usable = measured.readable
        of_positive, of_negative = values[usable & positive], values[usable & ~positive]
        kind = name.split()[0] if name.startswith(("mode", "format")) else name
        if not len(of_positive) or not len(of_negative) or kind in seen:
            continue
        if (auc := _telling_auc(of_negative, of_positive)) is None:
            continue
        seen.add(kind)
        findings.append(
            Finding(
                f"shortcut-{kind.replace(' ', '-')}",
                "warning",
                int(usable.sum()),
                f"the {name} alone tells {manifest.classes[1]} from {manifest.classes[0]} "
                f"(AUC {auc:.2f})",
                "The classes may come from different machines or programs, and a model can learn "
                "that instead. featx squashes all images to one size. Test on another hospital.",
                _typical(name, of_negative, of_positive, manifest.classes),
                {"feature": name, "auc": auc},
            )
        )
    return findings + _columns(manifest)


def _telling_auc(negative: NDArray[np.float64], positive: NDArray[np.float64]) -> float | None:
    """Return the area under the ROC curve, 0.5 or more, or None if it is small or chance."""
    test = mannwhitneyu(positive, negative)
    auc = float(test.statistic) / (len(positive) * len(negative))
    auc = max(auc, 1.0 - auc)
    return None if auc <= MIN_FLAGGED_AUC or test.pvalue >= SIGNIFICANCE else auc


def _columns(manifest: Manifest) -> list[Finding]:
    """Try to tell the label from each further column of the manifest alone, a patient a row.

    Columns of many different numbers are compared like sizes, all others by Cramér's V.
    """
    table = manifest.table.drop_duplicates(["group", "label"])
    positive = (table["label"] == manifest.classes[1]).to_numpy()
    findings = []
    for name in map(str, table.columns):
        if name.lower() in SKIPPED_COLUMNS or _IDENTIFIER.search(name.lower()):
            continue
        # As objects: pandas takes no bytes that aren't UTF-8 for text.
        values = table[name].fillna("").to_numpy(object)
        known = values != ""
        numbers = np.asarray(pd.to_numeric(values[known], errors="coerce"), np.float64)
        different = len(np.unique(numbers))
        if np.isfinite(numbers).all() and different > MAX_NUMBERED_VALUES:
            # Whole numbers that are all different count the rows.
            if different < len(numbers) or (numbers % 1).any():
                findings += _by_number(name, numbers, positive[known], manifest.classes)
        elif len(set(values)) * MIN_IMAGES_PER_VALUE <= len(values):
            findings += _by_kind(name, values, positive, manifest.classes)
    return findings


def _by_number(
    name: str, values: NDArray[np.float64], positive: NDArray[np.bool_], classes: tuple[str, str]
) -> list[Finding]:
    of_positive, of_negative = values[positive], values[~positive]
    if not len(of_positive) or not len(of_negative):
        return []
    if (auc := _telling_auc(of_negative, of_positive)) is None:
        return []
    medians = [
        f"{label}: {np.median(of_class):,.4g} (median)"
        for label, of_class in zip(classes, (of_negative, of_positive), strict=True)
    ]
    return [_column_finding(name, classes, len(values), f"AUC {auc:.2f}", medians)]


def _by_kind(
    name: str, values: NDArray[np.object_], positive: NDArray[np.bool_], classes: tuple[str, str]
) -> list[Finding]:
    kinds, kind = np.unique(values, return_inverse=True)
    counts = np.array([np.bincount(kind[positive == s], minlength=len(kinds)) for s in (0, 1)])
    if len(kinds) < 2 or not counts.sum(axis=1).all():
        return []
    v = cramers_v(counts)
    if v <= MIN_FLAGGED_V or chi2_contingency(counts).pvalue >= SIGNIFICANCE:
        return []
    totals = counts.sum(axis=1)
    most = int(np.abs(np.subtract(*(counts / totals[:, None]))).argmax())
    told = [
        f"{label}: {count} of {total} patients have {kinds[most] or 'no value'}"
        for label, count, total in zip(classes, counts[:, most], totals, strict=True)
    ]
    return [_column_finding(name, classes, len(values), f"Cramér's V {v:.2f}", told)]


def cramers_v(counts: NDArray[np.int64]) -> float:
    """Return how strongly rows and columns of counts go together.

    Corrected for the bias that many values give it: Bergsma, A bias-correction for Cramér's V and
    Tschuprow's T, Journal of the Korean Statistical Society 2013.

    Parameters
    ----------
    counts : ndarray of shape (rows, columns)
        Counts with two rows and columns at least, none of them empty.

    Returns
    -------
    float
        Between 0 (chance) and 1 (one tells the other).

    Examples
    --------
    >>> import numpy as np
    >>> round(cramers_v(np.array([[48, 2], [2, 48]])), 2)
    0.92
    """
    n, (rows, columns) = int(counts.sum()), counts.shape
    phi2 = float(chi2_contingency(counts, correction=False).statistic) / n
    phi2 = max(0.0, phi2 - (rows - 1) * (columns - 1) / (n - 1))
    sides = [side - (side - 1) ** 2 / (n - 1) for side in (rows, columns)]
    return float(np.sqrt(phi2 / max(min(sides) - 1, 1e-9)))


def _column_finding(
    name: str, classes: tuple[str, str], patients: int, strength: str, examples: list[str]
) -> Finding:
    return Finding(
        f"shortcut-column-{name}",
        "warning",
        patients,
        f"the column {name} alone tells {classes[1]} from {classes[0]} ({strength})",
        "A model can learn this instead of the disease if the image shows it. Look at each part "
        f"alone: name {name} in `keep` when you extract and in `by` when you evaluate. If the "
        "column says the label in other words, nothing needs doing.",
        first_examples(examples),
        {"feature": name, "strength": strength},
    )


def _typical(
    name: str,
    negative: NDArray[np.float64],
    positive: NDArray[np.float64],
    classes: tuple[str, str],
) -> tuple[str, ...]:
    if name.startswith(("mode", "format")):
        shares = [(label, v.mean()) for label, v in zip(classes, (negative, positive), strict=True)]
        return tuple(f"{label}: {share:.0%} have {name}" for label, share in shares)
    medians = [
        (label, np.median(v)) for label, v in zip(classes, (negative, positive), strict=True)
    ]
    if name == "file size":
        return tuple(f"{label}: {value / 1000:,.1f} kB (median)" for label, value in medians)
    digits = 2 if name == "aspect ratio" else 0
    return tuple(f"{label}: {value:,.{digits}f} (median)" for label, value in medians)
