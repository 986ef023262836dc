"""Things that aren't the picture and tell the label all the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from featx.data import Manifest
from featx.inspection.findings import Finding
from featx.inspection.measuring import Measurements

FLAGGED_AUC = 0.7
CHANCE = 0.001


def check_shortcuts(manifest: Manifest, measured: Measurements) -> list[Finding]:
    """Try to tell the label from size, aspect, mode, format and file size alone.

    For each the area under the ROC curve of that one number is computed; a mode or a format counts
    as one number, whether the image has it. An area over 0.7 that chance doesn't explain
    (Mann-Whitney, p < 0.001) is flagged.
    """
    table, positive = manifest.table, (manifest.table["label"] == manifest.classes[1]).to_numpy()
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
        test = mannwhitneyu(of_positive, of_negative)
        auc = test.statistic / (len(of_positive) * len(of_negative))
        auc = max(auc, 1.0 - auc)
        if auc <= FLAGGED_AUC or test.pvalue >= CHANCE:
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
                "that instead. featx squashes all images to one size; test on another hospital.",
                _typical(name, of_negative, of_positive, manifest.classes),
                {"feature": name, "auc": float(auc)},
            )
        )
    return findings


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
