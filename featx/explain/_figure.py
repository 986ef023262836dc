"""One page about one verdict: the X-ray, its heat map, the score, and whom it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.explain._maps import Method
from featx.explain._overlay import draw_overlay
from featx_cache._text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#B35806", "#555555"
"""Okabe and Ito's blue; the orange of the map, dark enough for letters."""

CAUTION = (
    "A heat map says which places the score came from. It doesn't prove why, and it is no "
    "diagnosis. Research software, not a medical device."
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training image that is like the one explained.

    Attributes
    ----------
    path
        Relative to the data folder.
    label
        Its class.
    distance
        1 − cosine of the averaged embeddings, 0..2.
    """

    path: str
    label: str
    distance: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of an image.

    Attributes
    ----------
    score, threshold
        The image is called positive where its score is at least the threshold.
    band
        Between these the score is uncertain; None where the run has no band.
    classes
        The negative and the positive one.
    """

    score: float
    threshold: float
    band: tuple[float, float] | None
    classes: tuple[str, str]

    @property
    def called(self) -> str:
        """Return the name of a class."""
        return self.classes[int(self.score >= self.threshold)]

    @property
    def uncertain(self) -> bool | None:
        """Say whether the score lies in the band; None where there is none."""
        return None if self.band is None else self.band[0] <= self.score <= self.band[1]


def explanation_figure(
    name: str,
    image: NDArray[np.floating],
    heat: NDArray[np.floating],
    method: Method,
    verdict: Verdict,
    neighbours: Sequence[tuple[Neighbour, NDArray[np.floating] | None]] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw an explanation.

    Parameters
    ----------
    name
        Of the image.
    image : ndarray of shape (height, width, 1 or 3)
        Values 0..255, at its own aspect ratio.
    heat : ndarray of shape (rows, columns)
        See `featx.explain.heat_maps`.
    method
        How it was made.
    verdict
        Score, threshold and so on.
    neighbours
        Training images and, where they can be read, their pixels.
    notes
        What else is to be said, a line each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 8.6), layout="constrained", facecolor="white")
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.15, 5.2, 2.25))
    top, middle, bottom = parts
    _draw_verdict(top, name, verdict)
    plain, mapped = middle.subplots(1, 2)
    _draw_image(plain, image)
    plain.set_title("The X-ray", fontsize=10)
    scale = draw_overlay(mapped, image, heat)
    mapped.set_title(f"For {_plain(verdict.classes[1])} (orange), against it (violet)",
                     fontsize=10)  # fmt: skip
    bar = middle.colorbar(scale, ax=[plain, mapped], shrink=0.9, pad=0.02)
    bar.set_label(f"{method.meaning} ({method.unit} of {_plain(verdict.classes[1])})")
    _draw_neighbours(bottom, neighbours)
    figure.supxlabel("\n".join([*notes, CAUTION]), fontsize=8, color=GREY)
    return figure


def _draw_verdict(place: Any, name: str, verdict: Verdict) -> None:
    """Draw the score on a line from 0 to 1, with threshold and band."""
    axes = place.subplots()
    axes.set(xlim=(0, 1), ylim=(-1, 1), yticks=[])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    if verdict.band is not None:
        axes.axvspan(*verdict.band, color="#CCCCCC", label="uncertain band", linewidth=0)
    axes.axvline(verdict.threshold, color=BLUE, linewidth=2,
                 label=f"threshold {_number(verdict.threshold)}")  # fmt: skip
    axes.plot(verdict.score, 0, "D", color=ORANGE, markersize=9, clip_on=False, zorder=5,
              label=f"score {_number(verdict.score)}", linestyle="none")  # fmt: skip
    axes.set_xlabel(f"score for {_plain(verdict.classes[1])}", fontsize=9)
    axes.tick_params(labelsize=8)
    place.legend(loc="outside right center", fontsize=8, frameon=False)
    said = f"called {_plain(verdict.called)}"
    if verdict.uncertain:
        said += ": UNCERTAIN, the threshold may as well lie on the other side of this score"
    elif verdict.uncertain is False:
        said += ", outside the uncertain band"
    place.suptitle(f"{_shortened(name, 70)}\n{said}", fontsize=11, parse_math=False)


def _draw_neighbours(
    place: Any, neighbours: Sequence[tuple[Neighbour, NDArray[np.floating] | None]]
) -> None:
    if not neighbours:
        place.suptitle("This run doesn't keep its training images: no neighbours", fontsize=10)
        return
    place.suptitle("The most similar training images (cosine distance of embeddings)", fontsize=10)
    for axes, (neighbour, pixels) in zip(
        np.atleast_1d(place.subplots(1, len(neighbours))), neighbours, strict=True
    ):
        if pixels is None:
            axes.text(0.5, 0.5, "(the file is\nnot there)", ha="center", va="center",
                      fontsize=8, color=GREY)  # fmt: skip
            axes.set(xticks=[], yticks=[])
        else:
            _draw_image(axes, pixels)
        # No file names: the page is of one patient, and these images are of others.
        title = f"{_plain(neighbour.label)}, {neighbour.distance:.3f}"
        axes.set_title(title, fontsize=8, parse_math=False)


def _draw_image(axes: Any, pixels: NDArray[np.floating]) -> None:
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    axes.imshow(np.rint(shown).astype(np.uint8), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


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
