"""From a cache and heads to an Optuna study of operating points."""

from featx.tuning.search import Outcome, Search, search_heads
from featx.tuning.spec import SearchSpec
from featx.tuning.storage import StudyPlace, masked, open_storage
from featx.tuning.winner import Winner, front_table
from featx.tuning.workers import Budget

__all__ = [
    "Budget",
    "Outcome",
    "Search",
    "SearchSpec",
    "StudyPlace",
    "Winner",
    "front_table",
    "masked",
    "open_storage",
    "search_heads",
]
