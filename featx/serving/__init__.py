"""A run in the hospital: the worklist page, the REST API and what starts them."""

from featx.serving._serve import serve

__all__ = ["serve"]
