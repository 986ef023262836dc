"""From a large frozen network to a small one that makes nearly the same embeddings."""

from featx.distilling._agreement import Agreement
from featx.distilling._distill import Distillation, distill

__all__ = ["Agreement", "Distillation", "distill"]
