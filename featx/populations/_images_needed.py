"""How many labelled images it takes to show that accuracy keeps the floor."""

from __future__ import annotations

from featx.evaluation import Metrics, plural
from featx.evaluation._interval import proportion_interval

MAX_IMAGES = 1_000_000


def advice_on_images(metrics: Metrics, floor: float) -> str:
    """Say whether the images are too few to show that the floor is kept, and how many would do."""
    low = metrics.intervals["accuracy"].low if "accuracy" in metrics.intervals else 0.0
    if low >= floor:
        return ""
    high = metrics.intervals["accuracy"].high if "accuracy" in metrics.intervals else 1.0
    said = (
        f"{plural(metrics.images, 'image')} can't show that accuracy keeps the floor {floor:g}: "
        f"cross-validated, it is {metrics.accuracy:.4f}, and its 95 % interval is {low:.4f} – "
        f"{high:.4f}."
    )
    if high < floor:
        return f"{said} All of it is below the floor: lower `accuracy_floor`."
    if (needed := images_needed(metrics.accuracy, floor)) is None:
        return (
            f"{said} The floor is in it, so it may be kept or not: label more images to find out, "
            "or lower `accuracy_floor`."
        )
    return f"{said} About {max(needed, metrics.images + 1):,} images would do at this accuracy."


def images_needed(accuracy: float, floor: float) -> int | None:
    """Return how many independent images put the lower end of Wilson's interval at a floor.

    Parameters
    ----------
    accuracy
        Expected accuracy, 0..1.
    floor
        Accuracy floor, 0..1.

    Returns
    -------
    int or None
        None if no number does, or more than a million are needed.
    """

    def enough(images: int) -> bool:
        interval = proportion_interval(round(accuracy * images), images, "wilson")
        return interval is not None and interval.low >= floor

    if accuracy <= floor:
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
