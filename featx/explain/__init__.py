"""From a fitted head and embeddings to heat maps that people can look at."""

from featx.explain._explanations import Explanation
from featx.explain._figure import Neighbour, Verdict, explanation_figure
from featx.explain._images import explain_images
from featx.explain._maps import Method, heat_maps, method_of, peak
from featx.explain._overlay import draw_overlay, upsample

__all__ = [
    "Explanation",
    "Method",
    "Neighbour",
    "Verdict",
    "draw_overlay",
    "explain_images",
    "explanation_figure",
    "heat_maps",
    "method_of",
    "peak",
    "upsample",
]
