"""Patients in several splits, classes out of balance, and splits too small to say anything."""

from __future__ import annotations

import pandas as pd
from scipy.stats import binomtest, chi2_contingency

from featx.data import Manifest
from featx.data.patients import FEW_UNKNOWN, own_patients
from featx.inspection.findings import Finding, some

SPLIT_ORDER = ("train", "val", "test")
TYPICAL_RECALL = 0.9
WIDEST_INTERVAL = 0.2
"""Width of the 95 % interval of a recall of 0.9 from which on a split is too small to choose on."""

BALANCE_DIFFERENCE = 0.1
CHANCE = 0.001


def check_splits(manifest: Manifest) -> list[Finding]:
    """Look at patients and classes by split."""
    counts = manifest.counts()
    counts = counts.reindex([s for s in SPLIT_ORDER if s in counts.index])
    return [
        *_patients(manifest.table),
        *_no_patients(manifest.table),
        *_missing_classes(counts),
        *_small(counts),
        *_imbalance(counts),
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
            f"{len(crossing)} patient{'s' * (len(crossing) != 1)} in more than one split "
            f"({images} images)",
            "The model is tested on patients that it knows. Keep each in one split: "
            "--fix-splits OUT.csv.",
            some([f"{group} ({', '.join(names)})" for group, names in crossing.items()]),
            {"groups": crossing.index.tolist()},
        )
    ]


def _no_patients(table: pd.DataFrame) -> list[Finding]:
    unknown = own_patients(table)
    images, whole = int(unknown.sum()), bool(unknown.all())
    if images <= FEW_UNKNOWN * len(table):
        return []
    return [
        Finding(
            "patients-unknown",
            "warning" if whole else "note",
            images,
            "no patient is known: every image counts as its own"
            if whole
            else f"{images} image{'s' * (images != 1)} of unknown patients: each counts as its own",
            "Intervals and folds may be too optimistic. Give --group-column if a column of a CSV "
            "file tells the patient, --group-regex if the names of files do.",
            some(table["path"][unknown].tolist()),
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
            "`featx data split`.",
            some([f"{split} has no {label}" for split, label in missing]),
        )
    ]


def _small(counts: pd.DataFrame) -> list[Finding]:
    findings = []
    for split in ("val", "test"):
        if split not in counts.index or counts.loc[split].min() == 0:
            continue
        negatives, positives = (int(n) for n in counts.loc[split].to_numpy())
        hits = round(TYPICAL_RECALL * positives)
        interval = binomtest(hits, positives).proportion_ci(method="wilson")
        if interval.high - interval.low <= WIDEST_INTERVAL:
            continue
        findings.append(
            Finding(
                f"{split}-too-small",
                "warning",
                negatives + positives,
                f"{negatives + positives} images in {split}, too few to "
                f"{'choose a model or threshold on' if split == 'val' else 'test on'}",
                "`featx fit` scores train and val out of fold, and needs no val."
                if split == "val"
                else "Make new splits, `featx data split`, or report wide intervals.",
                (
                    f"a recall of {hits / positives:.2f} on {positives} {counts.columns[1]} would "
                    f"be anything from {interval.low:.2f} to {interval.high:.2f}",
                ),
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
    if not differs or chi2_contingency(usable.to_numpy()).pvalue >= CHANCE:
        return []
    return [
        Finding(
            "class-balance-differs",
            "note",
            len(share),
            f"the share of {counts.columns[1]} differs between splits",
            "Accuracy can't be compared between them; recall, specificity and AUC can.",
            tuple(f"{split}: {value:.0%}" for split, value in share.items()),
            {str(split): float(value) for split, value in share.items()},
        )
    ]
