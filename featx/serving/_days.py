"""The worklist in the order that a reader reads it: days, groups of a day, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import groupby

from featx.scoring import Prediction
from featx.worklist import Item, RunFacts

VIEW_WORDS = {
    "other": "not like a frontal chest X-ray",
    "rotated 90": "turned 90° to the right",
    "rotated 270": "turned 90° to the left",
}
"""Words for a view, or for a part of one. The others are words already."""


@dataclass(frozen=True)
class Cell:
    """What one run says of an image."""

    run: RunFacts
    prediction: Prediction

    @property
    def score(self) -> float | None:
        """Score, or None."""
        return self.prediction.score

    @property
    def positive(self) -> bool:
        """Whether the image is called positive."""
        score = self.prediction.score
        return score is not None and score >= self.prediction.threshold

    @property
    def flags(self) -> list[str]:
        """What is to be said of the verdict, in words."""
        prediction = self.prediction
        flags = []
        if prediction.uncertain:
            flags.append("uncertain")
        if prediction.unlike_training:
            flags.append("unlike the training images")
        if prediction.view:
            parts = (VIEW_WORDS.get(part, part) for part in prediction.view.split(", "))
            flags.append(f"{'' if prediction.view == 'other' else 'looks '}{', '.join(parts)}")
        return flags


@dataclass(frozen=True)
class Row:
    """Image of the worklist."""

    item: Item
    cells: tuple[Cell, ...]
    earlier: tuple[tuple[str, Prediction], ...]
    """Identifiers and predictions of runs that aren't in use any more, the latest last."""

    @cached_property
    def group(self) -> str:
        """Group in which it stands: a key of `GROUPS`."""
        if self.item.state != "scored":
            return self.item.state
        if self.cells[0].score is not None:
            return "positive" if self.cells[0].positive else "negative"
        return "earlier" if self.earlier else "failed"

    @property
    def unscored(self) -> bool:
        """Whether no run that is used now has scored it."""
        return all(cell.score is None for cell in self.cells)

    @property
    def incomplete(self) -> bool:
        """Whether it could be scored by a run that hasn't: one that took a place, or was added."""
        missing = any(cell.run.id not in self.item.predictions for cell in self.cells)
        return missing and self.item.state == "scored" and self.item.path is not None

    @property
    def first(self) -> bool:
        """Whether it is one to look at first, if it can still be looked at."""
        striking = any(cell.positive or cell.flags for cell in self.cells)
        striking |= self.group == "earlier" and self.height >= 0
        return striking and not self.item.reading and self.item.path is not None

    @property
    def height(self) -> float:
        """What it is sorted by: its score, or how far an earlier run's is above its threshold."""
        if self.group != "earlier":
            return self.cells[0].score or 0.0
        _, said = self.earlier[-1]
        return (said.score or 0.0) - said.threshold

    @property
    def disagree(self) -> bool:
        """Whether runs that tell the same classes apart call it differently."""
        scored = [cell for cell in self.cells if cell.score is not None]
        if len({frozenset(cell.run.classes) for cell in scored}) > 1:
            return False
        return len({cell.prediction.prediction for cell in scored}) > 1


GROUPS = ("failed", "waiting", "earlier", "positive", "negative")
"""Groups of a day, in their order: what has no verdict is seen before what has one."""


@dataclass(frozen=True)
class Day:
    """Images that came on one day."""

    date: date
    rows: tuple[Row, ...]

    def of(self, group: str) -> list[Row]:
        """Return the rows of a group."""
        return [row for row in self.rows if row.group == group]

    @property
    def title(self) -> str:
        """The day in words."""
        days = (date.today() - self.date).days
        near = {0: "Today, ", 1: "Yesterday, "}.get(days, "")
        return f"{near}{self.date:%A} {self.date.day} {self.date:%B %Y}"

    @property
    def counts(self) -> str:
        """Counts in words: what is to be done first."""
        first = sum(row.first for row in self.rows)
        read = sum(bool(row.item.reading) for row in self.rows)
        said = [f"{first:,} of {len(self.rows):,} to look at first"]
        for group, words in (("failed", "without a score"), ("waiting", "waiting"),
                             ("earlier", "scored by an earlier run")):  # fmt: skip
            if count := len(self.of(group)):
                said.append(f"{count:,} {words}")
        said.append(f"{read:,} read")
        if missed := sum(row.item.path is None and not row.item.reading for row in self.rows):
            said.append(f"{missed:,} removed unread")
        return " · ".join(said)


def days_of(items: Sequence[Item], runs: tuple[RunFacts, ...]) -> list[Day]:
    """Group images by the day they came, the newest first, and sort each day for its reader."""
    days = []
    newest = sorted(items, key=lambda item: item.received, reverse=True)
    for day, members in groupby(newest, key=lambda item: item.received.date()):
        rows = [_row(item, runs) for item in members]
        days.append(Day(day, tuple(sorted(rows, key=_order))))
    return days


def images_of(days: Sequence[Day]) -> Iterator[Item]:
    """Yield the images as they stand on the page."""
    for day in days:
        for row in day.rows:
            yield row.item


def number(value: float) -> str:
    """Write a score so that it isn't rounded to 0 or 1."""
    if 0.001 <= value <= 0.999:
        return f"{value:.3f}"
    if value < 0.5:
        return f"{value:.3g}"
    texts = (f"{value:.{digits}g}" for digits in range(6, 18))
    return next(text for text in texts if value >= 1 or float(text) < 1)


def in_days(value: float) -> str:
    """Write how long something is kept."""
    return f"{value:g} day{'' if value == 1 else 's'}"


def share(value: float) -> str:
    """Write a share in percent, so that it isn't rounded to all."""
    return f"{min(value * 100, 99.9) if value < 1 else 100:.3g} %"


def verdict_words(prediction: Prediction, band: tuple[float, float] | None) -> str:
    """Say in a sentence what an image is called, and why."""
    score, threshold = prediction.score, prediction.threshold
    assert score is not None
    side = "lies above" if score > threshold else "lies below" if score < threshold else "reaches"
    said = (
        f"Called {prediction.prediction}: score {number(score)} {side} the threshold "
        f"{number(threshold)}"
    )
    if prediction.uncertain is not None and band is not None:
        between = f"{number(band[0])} – {number(band[1])}"
        said += f", {'inside' if prediction.uncertain else 'outside'} the uncertain range {between}"
    if prediction.uncertain and band is not None:
        said += ". The threshold may as well lie on the other side of this score"
    if prediction.unlike_training or prediction.view:
        said += ". The run has seen few such images, or none: this score may mean nothing"
    return f"{said}."


def _row(item: Item, runs: tuple[RunFacts, ...]) -> Row:
    current = {run.id for run in runs}
    earlier = [
        (run, found)
        for run, found in item.predictions.items()
        if run not in current and found.score is not None
    ]
    return Row(item, tuple(Cell(run, item.prediction(run)) for run in runs), tuple(earlier))


def _order(row: Row) -> tuple[int, float, str]:
    """Sort by group, then by score, the highest first. What waits, by name."""
    return GROUPS.index(row.group), -row.height, row.item.name
