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
from featx.scoring._find_images import find_images
from featx.scoring._image_scorer import ImageScorer, ScoredImage
from featx.scoring._left_out import LeftOut
from featx.scoring._predict import Prediction, predict_images
from featx.scoring._predictions import PredictionCounts, Predictions

__all__ = [
    "Evaluation",
    "ImageScorer",
    "LeftOut",
    "Prediction",
    "PredictionCounts",
    "Predictions",
    "RunComparison",
    "Scored",
    "ScoredImage",
    "compare",
    "embedded",
    "find_images",
    "find_shift",
    "measure",
    "only_split",
    "predict_images",
    "relabelled",
    "score_images",
]
