"""Looking at a data set before trusting it: checks, and pictures of it."""

from featx.inspection.check import Inspection, fixed_splits, inspect
from featx.inspection.duplicates import near_pairs
from featx.inspection.findings import Finding, worst_first
from featx.inspection.measure import Measurements, measure
from featx.inspection.pictures import contact_sheet, show_data

__all__ = [
    "Finding",
    "Inspection",
    "Measurements",
    "contact_sheet",
    "fixed_splits",
    "inspect",
    "measure",
    "near_pairs",
    "show_data",
    "worst_first",
]
