"""Heat maps in a report: which parts of an image spoke for the positive class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.backbones._parts import main_part
from featx.errors import FeatxError, InputError
from featx.explain import Method, heat_maps
from featx.explain._maps import method_of
from featx.plots import heat_map_overlay
from featx.reports._report_data import NamedCache, RunData
from featx_cache import Cache

_DPI = 100


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """Heat maps of some images.

    `maps` are float32 of shape (rows, columns) by path, above 0 for the positive class. If there
    are none, `reason` says why.
    """

    maps: dict[str, NDArray[np.float32]]
    method: Method | None = None
    reason: str = ""


def make_heat_maps(run: RunData, source: NamedCache, paths: Sequence[str]) -> HeatMaps:
    """Make the heat maps of images from their cached embeddings."""
    try:
        known, rows = _rows(source.cache, paths)
        embeddings = source.cache.read(rows)
        head = run.run.head
        grid = main_part(embeddings, run.run.record.extraction.backbone.part_shapes)
        if grid.ndim == 4 and grid.shape[1] * grid.shape[2] == 1:
            raise InputError("embeddings of one cell have no map", "Extract at a larger size.")
        mean = run.run.reference.mean if run.run.has_reference else None
        maps = heat_maps(head, embeddings, mean=mean)
    except FeatxError as error:
        return HeatMaps({}, reason=str(error))
    return HeatMaps(dict(zip(known, maps, strict=True)), method_of(head))


def _rows(cache: Cache, paths: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """Find the rows of untouched images by their paths."""
    rows = cache.row_numbers(splits=None, copies=False)
    row_of = dict(zip(cache.table(rows)["path"], rows.tolist(), strict=True))
    known = [path for path in paths if path in row_of]
    return known, np.array([row_of[path] for path in known], np.intp)


def side_by_side(pixels: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image beside itself with its heat map over it."""
    from matplotlib.figure import Figure

    side = pixels.shape[0]
    figure = Figure(figsize=(side / _DPI, side / _DPI), dpi=_DPI)
    heat_map_overlay(pixels, heat, figure.add_axes((0.0, 0.0, 1.0, 1.0)))
    content = io.BytesIO()
    figure.savefig(content, format="png")
    drawn = Image.open(content, formats=("PNG",)).convert("RGB").resize((side, side))
    plain = np.broadcast_to(pixels, (side, side, 3))
    return np.concatenate([plain, np.asarray(drawn, np.float32)], axis=1)
