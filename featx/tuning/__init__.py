"""From a cache and heads to an Optuna study of operating points."""

from featx.tuning._search import Outcome, Search, search_heads
from featx.tuning._spec import SearchSpec
from featx.tuning._storage import StudyPlace, masked, open_storage
from featx.tuning._winner import Winner, front_table
from featx.tuning._workers import Budget

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
