"""What a run's out-of-fold scores of copies say: how it fares where images are disturbed."""

from __future__ import annotations

from featx.evaluation import plural
from featx.runs._fitted import FittedRun
from featx.thresholds import sweep


def images_in_words(run: FittedRun) -> str:
    """Say which images the threshold was chosen on."""
    record = run.record
    images = f"{plural(record.images, 'image')} of {plural(record.patients, 'patient')}"
    return {
        "untouched": images,
        "copies": f"disturbed copies of {images}",
        "both": f"{images} and on disturbed copies of them",
    }[record.choose_on]


def copies_in_words(run: FittedRun) -> str:
    """Say how the run fares on copies of patients that its heads hadn't seen, and what it could do.

    It is empty if the run has no scores of copies.
    """
    metrics, floor = run.record.metrics.copies, run.record.accuracy_floor
    if metrics is None or metrics.accuracy is None or metrics.recall is None:
        return ""
    said = (
        f"On augmented copies of patients that the heads hadn't seen: ROC AUC "
        f"{metrics.roc_auc:.4f}, recall {metrics.recall:.4f}, accuracy {metrics.accuracy:.4f}."
    )
    if metrics.accuracy >= floor:
        return said
    points = sweep(run.copies_scores)
    best = points.best(floor)
    if best is None:
        most = points.most_accurate
        can = f"No threshold keeps it there. The highest accuracy is {points.accuracy[most]:.4f}"
    else:
        most, can = best, f"Accuracy {points.accuracy[best]:.4f} can be had there"
    return (
        f"{said} That is below the floor {floor:g}. {can}, with recall "
        f"{points.recall[most]:.4f}, at threshold {points.thresholds[most]:.6g}: "
        "`choose_on='copies'` chooses there."
    )
