"""From a fitted head and embeddings to heat maps that people can look at."""

from featx.explain.figure import Neighbour, Verdict, explanation_figure
from featx.explain.maps import Method, heat_maps, method_of, peak
from featx.explain.overlay import draw_overlay, upsample

__all__ = [
    "Method",
    "Neighbour",
    "Verdict",
    "draw_overlay",
    "explanation_figure",
    "heat_maps",
    "method_of",
    "peak",
    "upsample",
]
