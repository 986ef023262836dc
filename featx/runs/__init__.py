"""A run directory: what was fitted, on what, with what result."""

from featx.runs._fitted import FittedRun
from featx.runs._record import RunRecord, read_record

__all__ = ["FittedRun", "RunRecord", "read_record"]
