"""How many labelled images it takes to show that a floor is kept."""

from __future__ import annotations

from featx.evaluation import Metrics, plural
from featx.evaluation._interval import proportion_interval
from featx.thresholds import Criterion

MAX_IMAGES = 1_000_000


def advice_on_images(metrics: Metrics, criterion: Criterion) -> str:
    """Say whether the images are too few to show that each floor is kept, and how many would do."""
    counts = metrics.confusion
    images = {
        "accuracy": (metrics.images, ""),
        "recall": (counts["tp"] + counts["fn"], " of the sick"),
        "specificity": (counts["tn"] + counts["fp"], " of the healthy"),
    }
    advice = (
        _advice(metrics, name, floor, *images[name]) for name, floor in criterion.floors.items()
    )
    return " ".join(filter(None, advice))


def _advice(metrics: Metrics, name: str, floor: float, images: int, of: str) -> str:
    """Return the advice on one floor; empty if the images show that it is kept."""
    interval = metrics.intervals.get(name)
    low, high = (0.0, 1.0) if interval is None else (interval.low, interval.high)
    if low >= floor:
        return ""
    value = float(getattr(metrics, name))
    said = (
        f"{plural(images, 'image')}{of} can't show that {name} keeps the floor {floor:g}: "
        f"cross-validated, it is {value:.4f}, and its 95 % interval is {low:.4f} – {high:.4f}."
    )
    if high < floor:
        return f"{said} All of it is below the floor: lower `{name}_floor`."
    if (needed := images_needed(value, floor)) is None:
        return (
            f"{said} The floor is in it, so it may be kept or not: label more images{of} to find "
            f"out, or lower `{name}_floor`."
        )
    return f"{said} About {max(needed, images + 1):,} images{of} would do at this {name}."


def images_needed(value: float, floor: float) -> int | None:
    """Return how many independent images put the lower end of Wilson's interval at a floor.

    Parameters
    ----------
    value
        Expected accuracy, recall or specificity, 0..1.
    floor
        Floor of it, 0..1.

    Returns
    -------
    int or None
        None if no number does, or more than a million are needed.
    """

    def enough(images: int) -> bool:
        interval = proportion_interval(round(value * images), images, "wilson")
        return interval is not None and interval.low >= floor

    if value <= floor:
        return None
    high = 16
    while not enough(high):
        high *= 2
        if high > MAX_IMAGES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
