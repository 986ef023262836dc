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
        "copies": f"augmented copies of {images}",
        "both": f"{images} and their augmented copies",
    }[record.choose_on]


def copies_in_words(run: FittedRun) -> str:
    """Say how the run fares on copies of patients that its heads hadn't seen, and what it could do.

    It is empty if the run has no scores of copies.
    """
    metrics, criterion = run.record.metrics.copies, run.record.criterion
    if metrics is None or metrics.accuracy is None or metrics.recall is None:
        return ""
    said = (
        f"On augmented copies of patients that the heads hadn't seen: ROC AUC "
        f"{metrics.roc_auc:.4f}, recall {metrics.recall:.4f}, accuracy {metrics.accuracy:.4f}."
    )
    missed = [
        f"{name} is below the floor {floor:g}"
        for name, floor in criterion.floors.items()
        if (metrics[name] or 0.0) < floor
    ]
    if not missed:
        return said
    points = sweep(run.copies_scores)
    best = criterion.best(points)
    there = criterion.nearest(points) if best is None else best
    threshold = f"{points.thresholds[there]:.6g}"
    reached = (
        f"accuracy {points.accuracy[there]:.4f}, recall {points.recall[there]:.4f}, specificity "
        f"{points.specificity[there]:.4f}"
    )
    if best is None:
        can = f"No threshold keeps it there. The nearest, {threshold}, has {reached}."
    else:
        can = f"The {criterion.in_words} there is at threshold {threshold} (`choose_on='copies'`): "
        can += f"{reached}."
    return f"{said} There {' and '.join(missed)}. {can}"
