"""Images become scores, and scores become verdicts and metrics."""

from featx.scoring._embed import embedded, only_split, relabelled
from featx.scoring._evaluate import (
    Evaluation,
    RunComparison,
    Scored,
    compare,
    find_shift,
    measure,
    score_images,
)
from featx.scoring._left_out import LeftOut
from featx.scoring._predict import Prediction, Predictor, find_images, shift_warning
from featx.scoring._tally import Tally

__all__ = [
    "Evaluation",
    "LeftOut",
    "Prediction",
    "Predictor",
    "RunComparison",
    "Scored",
    "Tally",
    "compare",
    "embedded",
    "find_images",
    "find_shift",
    "measure",
    "only_split",
    "relabelled",
    "score_images",
    "shift_warning",
]
