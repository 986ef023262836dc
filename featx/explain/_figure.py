"""One page about one verdict: the X-ray, its heat map, the score, and similar training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.explain._maps import Method
from featx.plots import heat_map_overlay
from featx.plots._heat_map import draw_image, heat_scale
from featx_cache._text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#B35806", "#555555"
"""Okabe and Ito's blue, and the orange of the map, dark enough for letters."""

MAP_CAUTION = (
    "A heat map says which places the score came from. It doesn't prove why, and it is no "
    "diagnosis. Research software, not a medical device."
)


@dataclass(frozen=True, slots=True)
class Neighbor:
    """Training image that is like the image explained.

    Attributes
    ----------
    path
        Path relative to the data folder.
    label
        Class of the image.
    distance
        Distance of the averaged embeddings, 1 − cosine: 0..2.

    Examples
    --------
    >>> Neighbor("train/NORMAL/a.png", "NORMAL", 0.03).label
    'NORMAL'
    """

    path: str
    label: str
    distance: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Class that an image is called, and its score.

    Attributes
    ----------
    score, threshold
        Score, and the threshold from which on an image is called positive.
    uncertain_range
        Scores between which a verdict is uncertain. None if the run has no such range.
    classes
        Names of the negative and the positive class.

    Examples
    --------
    >>> verdict = Verdict(0.45, 0.4, (0.3, 0.5), ("NORMAL", "PNEUMONIA"))
    >>> verdict.called, verdict.uncertain
    ('PNEUMONIA', True)
    """

    score: float
    threshold: float
    uncertain_range: tuple[float, float] | None
    classes: tuple[str, str]

    @property
    def called(self) -> str:
        """Name of the class that the image is called."""
        return self.classes[int(self.score >= self.threshold)]

    @property
    def uncertain(self) -> bool | None:
        """Whether the score lies in the uncertain range. None if there is no such range."""
        return (
            None
            if self.uncertain_range is None
            else self.uncertain_range[0] <= self.score <= self.uncertain_range[1]
        )


def explanation_figure(
    name: str,
    image: NDArray[np.number],
    heat: NDArray[np.floating],
    method: Method,
    verdict: Verdict,
    neighbors: Sequence[tuple[Neighbor, NDArray[np.floating] | None]] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw an explanation. A neighbor whose file is gone has no pixels.

    Values of the image are 0..255, of shape (height, width, 1 or 3), at its own aspect ratio.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 8.6), layout="constrained", facecolor="white")
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.15, 5.2, 2.25))
    top, middle, bottom = parts
    _draw_verdict(top, name, verdict)
    plain, mapped = middle.subplots(1, 2)
    draw_image(plain, image)
    plain.set_title("The X-ray", fontsize=10)
    heat_map_overlay(image, heat, mapped)
    mapped.set_title(f"For {_plain(verdict.classes[1])} (orange), against it (violet)",
                     fontsize=10)  # fmt: skip
    bar = middle.colorbar(heat_scale(heat), ax=[plain, mapped], shrink=0.9, pad=0.02)
    bar.set_label(f"{method.meaning} ({method.unit} of {_plain(verdict.classes[1])})")
    _draw_neighbors(bottom, neighbors)
    said = "\n".join([*notes, MAP_CAUTION])  # with names of classes, which may look like formulas
    figure.supxlabel(said, fontsize=8, color=GREY, parse_math=False)
    return figure


def _draw_verdict(part: Any, name: str, verdict: Verdict) -> None:
    """Draw the score on a line from 0 to 1, with threshold and uncertain range."""
    axes = part.subplots()
    axes.set(xlim=(0, 1), ylim=(-1, 1), yticks=[])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    if verdict.uncertain_range is not None:
        axes.axvspan(
            *verdict.uncertain_range, color="#CCCCCC", label="uncertain range", linewidth=0
        )
    axes.axvline(verdict.threshold, color=BLUE, linewidth=2,
                 label=f"threshold {_number(verdict.threshold)}")  # fmt: skip
    axes.plot(verdict.score, 0, "D", color=ORANGE, markersize=9, clip_on=False, zorder=5,
              label=f"score {_number(verdict.score)}", linestyle="none")  # fmt: skip
    axes.set_xlabel(f"score for {_plain(verdict.classes[1])}", fontsize=9)
    axes.tick_params(labelsize=8)
    part.legend(loc="outside right center", fontsize=8, frameon=False)
    said = f"called {_shortened(verdict.called, 18)}"
    if verdict.uncertain:
        said += ": UNCERTAIN, the threshold may as well lie on the other side of this score"
    elif verdict.uncertain is False:
        said += ", outside the uncertain range"
    part.suptitle(f"{_shortened(name, 70)}\n{said}", fontsize=11, parse_math=False)


def _draw_neighbors(
    part: Any, neighbors: Sequence[tuple[Neighbor, NDArray[np.floating] | None]]
) -> None:
    if not neighbors:
        part.suptitle("This run doesn't keep its training images: no neighbors", fontsize=10)
        return
    part.suptitle("The most similar training images (cosine distance of embeddings)", fontsize=10)
    for axes, (neighbor, pixels) in zip(
        np.atleast_1d(part.subplots(1, len(neighbors))), neighbors, strict=True
    ):
        if pixels is None:
            axes.text(0.5, 0.5, "(the file is\nnot there)", ha="center", va="center",
                      fontsize=8, color=GREY)  # fmt: skip
            axes.set(xticks=[], yticks=[])
        else:
            draw_image(axes, pixels)
        # No file names: the page is of one patient, and these images are of others.
        title = f"{_shortened(neighbor.label, 18)}, {neighbor.distance:.3f}"
        axes.set_title(title, fontsize=8, parse_math=False)


def _number(value: float) -> str:
    """Write a score so that it isn't rounded to 0 or 1, nor across a threshold."""
    return f"{value:.3f}" if 0.001 <= value <= 0.999 else f"{value:.6g}"


def _plain(text: str) -> str:
    """Keep a class's name short, and from being read as a formula."""
    return _shortened(text, 18).replace("$", r"\$")


def _shortened(text: str, most: int) -> str:
    """Keep both ends of a long name, and put a question mark for what can't be shown."""
    text = printable(text)
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
