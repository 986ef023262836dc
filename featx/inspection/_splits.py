"""Patients in several splits, classes out of balance, and splits too small to say anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
from scipy.stats import binomtest, chi2_contingency

from featx.data import Manifest
from featx.data._patients import MAX_UNKNOWN_SHARE, own_patients
from featx.evaluation._wording import WIDEST_INTERVAL
from featx.inspection._findings import Finding, first_examples
from featx_cache._text import plural

TYPICAL_RECALL = 0.9
MIN_PATIENTS = 2
"""Patients of a class. One alone can't be scored by a head that knows the class."""

BALANCE_DIFFERENCE = 0.1
SIGNIFICANCE = 0.001


def check_splits(manifest: Manifest) -> list[Finding]:
    """Look at patients and classes by split."""
    counts = manifest.counts()
    return [
        *_patients(manifest.table),
        *_no_patients(manifest.table),
        *_missing_classes(counts),
        *_few(manifest),
        *_small(counts),
        *_imbalance(counts),
        *_equal_names(manifest.table),
    ]


def _patients(table: pd.DataFrame) -> list[Finding]:
    splits = table.groupby("group", sort=False)["split"].agg(lambda s: sorted(set(s)))
    crossing = splits[splits.map(len) > 1]
    if crossing.empty:
        return []
    images = int(table["group"].isin(crossing.index).sum())
    return [
        Finding(
            "patients-in-several-splits",
            "error",
            len(crossing),
            f"{plural(len(crossing), 'patient')} in more than one split "
            f"({plural(images, 'image')})",
            "The model is tested on patients that it knows. Keep each in one split with "
            "`fix_splits`.",
            first_examples([f"{group} ({', '.join(names)})" for group, names in crossing.items()]),
            {"groups": crossing.index.tolist()},
        )
    ]


def _no_patients(table: pd.DataFrame) -> list[Finding]:
    unknown = own_patients(table)
    images, whole = int(unknown.sum()), bool(unknown.all())
    if images <= MAX_UNKNOWN_SHARE * len(table):
        return []
    return [
        Finding(
            "patients-unknown",
            "warning" if whole else "note",
            images,
            "no patient is known: every image counts as its own"
            if whole
            else f"{plural(images, 'image')} of unknown patients: each counts as its own",
            "Intervals and folds may be too optimistic. Give `group_column` if a column of a CSV "
            "file tells the patient, `group_regex` if the names of files do.",
            first_examples(table["path"][unknown].tolist()),
            {"images": images},
        )
    ]


def _missing_classes(counts: pd.DataFrame) -> list[Finding]:
    missing = [(s, c) for s in counts.index for c in counts.columns if counts.loc[s][c] == 0]
    if not missing:
        return []
    return [
        Finding(
            "class-missing-in-split",
            "error",
            len(missing),
            "a split without images of a class",
            "Neither recall nor accuracy means anything there: make new splits, "
            "`featx.split_manifest`.",
            first_examples([f"{split} has no {label}" for split, label in missing]),
        )
    ]


def _few(manifest: Manifest) -> list[Finding]:
    """Count the patients of each class in train and val, which a head is fitted on."""
    table = manifest.table[manifest.table["split"] != "test"]
    negative, positive = (
        int(table["group"][table["label"] == label].nunique()) for label in manifest.classes
    )
    if not negative or not positive:
        return []
    details = {"images": len(table), "patients": [negative, positive]}
    label = manifest.classes[int(positive < negative)]
    if min(negative, positive) < MIN_PATIENTS:
        paths = table["path"][table["label"] == label].tolist()
        return [
            Finding(
                "class-of-one-patient",
                "error",
                len(paths),
                f"{label} has {plural(len(paths), 'image')} of 1 patient to fit on",
                "`featx.fit` needs two patients of each class at least, and hundreds to learn "
                "well. Is a folder missing, or in the wrong place?",
                first_examples(paths),
                details,
            )
        ]
    if (example := _uncertain(negative, positive, manifest.classes, "patient")) is None:
        return []
    patients = plural(table["group"].nunique(), "patient")
    return [
        Finding(
            "too-few",
            "warning",
            len(table),
            f"{plural(len(table), 'image')} of {patients} to fit on, too few to choose a "
            "threshold on",
            "Add patients. Until then believe the intervals, and not the numbers.",
            (example,),
            details,
        )
    ]


def _uncertain(negative: int, positive: int, classes: Sequence[str], thing: str) -> str | None:
    """Say how uncertain a good result is on so many, or None if it is certain enough."""
    metric, count, label = "recall", positive, classes[1]
    if negative < positive:
        metric, count, label = "specificity", negative, classes[0]
    hits = round(TYPICAL_RECALL * count)
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    if interval.high - interval.low <= WIDEST_INTERVAL:
        return None
    return (
        f"a {metric} of {hits / count:.2f} on {plural(count, thing)} of {label} would be "
        f"anything from {interval.low:.2f} to {interval.high:.2f}"
    )


def _small(counts: pd.DataFrame) -> list[Finding]:
    findings = []
    for split in ("val", "test"):
        if split not in counts.index or counts.loc[split].min() == 0:
            continue
        negatives, positives = (int(n) for n in counts.loc[split].to_numpy())
        example = _uncertain(negatives, positives, list(counts.columns), "image")
        if example is None:
            continue
        findings.append(
            Finding(
                f"{split}-too-small",
                "warning",
                negatives + positives,
                f"{negatives + positives} images in {split}, too few to "
                f"{'choose a model or threshold on' if split == 'val' else 'test on'}",
                "`featx.fit` scores train and val out of fold, and needs no val."
                if split == "val"
                else "Make new splits, `featx.split_manifest`, or report wide intervals.",
                (example,),
                {"images": negatives + positives, "positives": positives},
            )
        )
    return findings


def _imbalance(counts: pd.DataFrame) -> list[Finding]:
    usable = counts[counts.min(axis=1) > 0]
    if len(usable) < 2:
        return []
    share = usable.iloc[:, 1] / usable.sum(axis=1)
    differs = share.max() - share.min() > BALANCE_DIFFERENCE
    if not differs or chi2_contingency(usable.to_numpy()).pvalue >= SIGNIFICANCE:
        return []
    return [
        Finding(
            "class-balance-differs",
            "note",
            len(share),
            f"the share of {counts.columns[1]} differs between splits",
            "Accuracy can't be compared between them. Recall, specificity and AUC can.",
            tuple(f"{split}: {value:.0%}" for split, value in share.items()),
            {str(split): float(value) for split, value in share.items()},
        )
    ]


def _equal_names(table: pd.DataFrame) -> list[Finding]:
    """Look for images of unknown patients that are called alike in different folders."""
    unknown = table[(table["group"] == table["path"]) & (table["source"] != "NPZ")]
    # Those with the same content are found as duplicates.
    unknown = unknown[~unknown["sha256"].duplicated(keep=False)]
    rows_of: dict[str, list[Any]] = {}  # pandas groups no names that aren't UTF-8
    for row, path in unknown["path"].items():
        rows_of.setdefault(PurePosixPath(path).stem, []).append(row)
    alike = [rows for rows in rows_of.values() if len(rows) > 1]
    if not alike:
        return []
    across = any(table["split"].loc[rows].nunique() > 1 for rows in alike)
    return [
        Finding(
            "equal-names",
            "warning" if across else "note",
            len(alike),
            f"{plural(len(alike), 'file name')} in more than one folder, for different images",
            "If the name says the patient, one patient counts as several"
            + (" and is in several splits" if across else "")
            + ": give `group_regex`. If each folder numbers its images anew, nothing needs doing.",
            first_examples([" and ".join(table["path"].loc[rows]) for rows in alike]),
            {"groups": [table["path"].loc[rows].tolist() for rows in alike]},
        )
    ]
