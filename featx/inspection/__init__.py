"""Looking at a data set before trusting it: checks, and pictures of it.

Nothing is imported before it is used, because the processes that decode images need little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.inspection.check import Inspection, fixed_splits, inspect
    from featx.inspection.duplicates import near_pairs
    from featx.inspection.findings import Finding, worst_first
    from featx.inspection.measuring import Measurements, measure
    from featx.inspection.pictures import contact_sheet, show_data

_PLACES = {
    "Finding": "findings",
    "Inspection": "check",
    "Measurements": "measuring",
    "contact_sheet": "pictures",
    "fixed_splits": "check",
    "inspect": "check",
    "measure": "measuring",
    "near_pairs": "duplicates",
    "show_data": "pictures",
    "worst_first": "findings",
}

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


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'featx.inspection' has no attribute {name!r}")
    return getattr(importlib.import_module(f"featx.inspection.{_PLACES[name]}"), name)
