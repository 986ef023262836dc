"""From a fitted head and embeddings to heat maps that people can look at."""

from featx.explain._explain_images import explain_images
from featx.explain._explanations import Explanation, Explanations
from featx.explain._figure import Neighbor, Verdict
from featx.explain._maps import Method, heat_maps

__all__ = [
    "Explanation",
    "Explanations",
    "Method",
    "Neighbor",
    "Verdict",
    "explain_images",
    "heat_maps",
]
