"""Images that come in, what runs said of them, and what a reader saw."""

from featx.worklist._items import (
    Delivery,
    FullQueueError,
    Item,
    Limits,
    RefusedImageError,
    Result,
    RunFacts,
)
from featx.worklist._messages import RunSettings
from featx.worklist._scoring_loop import ScoringLoop
from featx.worklist._scoring_process import ScoringDiedError, ScoringProcess
from featx.worklist._watch import WatchedFolder
from featx.worklist._worklist import Worklist

__all__ = [
    "Delivery",
    "FullQueueError",
    "Item",
    "Limits",
    "RefusedImageError",
    "Result",
    "RunFacts",
    "RunSettings",
    "ScoringDiedError",
    "ScoringLoop",
    "ScoringProcess",
    "WatchedFolder",
    "Worklist",
]
