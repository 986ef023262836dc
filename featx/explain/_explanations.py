"""Explanations of image files: a row and a figure for each, shown in a notebook or written."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._html import html_table
from featx.errors import InputError
from featx.explain._figure import Neighbor, Verdict, explanation_figure
from featx.explain._maps import Method, peak
from featx.explain._training_neighbors import TrainingNeighbors
from featx.images import decode_for_display
from featx_cache._text import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 640
"""Longest side of the image in a figure, in pixels."""

DOTS_PER_INCH = 110
SHOWN_FIGURES = 5
MADE_BY = "featx explain"


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Explanation of one image file.

    Attributes
    ----------
    path
        File as it was given.
    method
        Method of the heat map.
    verdict
        Score, threshold and class. None if the file could not be read.
    heat : ndarray of shape (rows, columns), dtype float32, or None
        Heat map.
    neighbors
        Training images that are most like it, those of the class that it was called first.
    notes
        Sentences below the figure.
    error
        Reason why there is no verdict. Empty if there is one.
    file
        PNG file of the figure, if it was written.
    pixels
        Image of the figure. None reads it again from `path`.
    training
        Training images, of which `figure` shows the neighbors.
    layers
        How far each layer moved the score from that of the average training image, in the unit of
        the map, if embeddings are of several layers. The first one is that of the heat map. Values
        are None if the head is a network.

    Examples
    --------
    >>> explanation = run.explain(["a.png"])[0]  # doctest: +SKIP
    >>> explanation.figure().savefig("why.svg")  # doctest: +SKIP
    """

    path: str
    method: Method
    verdict: Verdict | None = None
    heat: NDArray[np.float32] | None = field(default=None, repr=False)
    neighbors: tuple[Neighbor, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    error: str = ""
    file: Path | None = None
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)
    training: TrainingNeighbors | None = field(default=None, repr=False)
    layers: Mapping[str, float | None] = field(default_factory=dict)

    def figure(self) -> Figure:
        """Draw the image, its heat map, the score and the neighbors.

        Raises
        ------
        InputError
            If there is no verdict.
        UnreadableImageError
            If the image isn't kept in memory and its file is gone.
        """
        if self.verdict is None or self.heat is None or self.training is None:
            raise InputError(f"{self.path} has no explanation: {self.error}", "Check the file.")
        kept = self.pixels
        pixels: NDArray[Any] = decode_for_display(Path(self.path), SIDE) if kept is None else kept
        return explanation_figure(
            Path(self.path).name,
            pixels,
            self.heat,
            self.method,
            self.verdict,
            [(neighbor, self.training.thumbnail(neighbor)) for neighbor in self.neighbors],
            self.notes,
        )

    def png(self) -> bytes:
        """Return the figure as the content of a PNG file."""
        if self.file is not None and self.file.is_file():
            return self.file.read_bytes()
        content = io.BytesIO()
        self.figure().savefig(
            content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": MADE_BY}
        )
        return content.getvalue()

    def _repr_png_(self) -> bytes | None:
        return None if self.verdict is None else self.png()

    def as_row(self) -> dict[str, Any]:
        """Return plain values for a table or JSON."""
        verdict, heat = self.verdict, self.heat
        row, column = (None, None) if heat is None else peak(heat)
        rows, columns = (None, None) if heat is None else heat.shape
        return {
            "path": self.path,
            "figure": "" if self.file is None else self.file.name,
            "score": None if verdict is None else verdict.score,
            "threshold": None if verdict is None else verdict.threshold,
            "verdict": "" if verdict is None else verdict.called,
            "uncertain": None if verdict is None else verdict.uncertain,
            "peak_row": row,
            "peak_column": column,
            "peak": None if heat is None else float(heat.max()),
            "rows": rows,
            "columns": columns,
            "method": self.method.name,
            "unit": self.method.unit,
            "neighbours": [
                {"path": n.path, "label": n.label, "distance": n.distance} for n in self.neighbors
            ],
            "error": self.error,
            **{f"from_{name}": value for name, value in self.layers.items()},
        }


class Explanations(Sequence[Explanation]):
    """Explanations of image files, in their order. A notebook shows the first figures.

    Parameters
    ----------
    rows
        Explanations.

    Examples
    --------
    >>> found = run.explain(["a.png", "b.dcm"])  # doctest: +SKIP
    >>> found.to_frame()[["path", "score", "verdict", "peak_row"]]  # doctest: +SKIP
    """

    def __init__(self, rows: Sequence[Explanation]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Explanation]: ...
    def __getitem__(self, index: int | slice) -> Explanation | Sequence[Explanation]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        failed = sum(1 for row in self if row.error)
        return f"Explanations({plural(len(self), 'image')}{f', {failed} failed' if failed else ''})"

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each file: score, verdict, and where the map is strongest."""
        rows = [row.as_row() for row in self]
        table = pd.DataFrame(rows, columns=list(rows[0]) if rows else None)
        return table.rename(columns={"neighbours": "neighbors"})

    def _repr_html_(self) -> str:
        explained = [row for row in self if row.verdict is not None]
        parts = [
            f'<img src="data:image/png;base64,{base64.b64encode(row.png()).decode()}" '
            f'alt="{html.escape(row.path)}" style="max-width:100%">'
            for row in explained[:SHOWN_FIGURES]
        ]
        columns = ["path", "score", "verdict", "uncertain", "error"]
        more = len(explained) - len(parts)
        notes = [f"{more} more figures: show one of the rows."] if more else []
        shown = self.to_frame()[columns] if len(self) else pd.DataFrame(columns=columns)
        return html_table(shown, notes) + "".join(parts)
