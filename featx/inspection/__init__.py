"""Looking at a data set before trusting it: checks, and pictures of it."""

from featx.inspection.check import Inspection, fixed_splits, inspect
from featx.inspection.duplicates import near_pairs
from featx.inspection.findings import Finding
from featx.inspection.measure import Measurements, measure

__all__ = [
    "Finding",
    "Inspection",
    "Measurements",
    "fixed_splits",
    "inspect",
    "measure",
    "near_pairs",
]
