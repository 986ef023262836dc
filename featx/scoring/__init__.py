"""Images become scores, and scores become verdicts and metrics."""

from featx.scoring._comparison import RunComparison, compare
from featx.scoring._evaluation import Evaluation
from featx.scoring._find_images import find_images
from featx.scoring._image_scorer import ImageScorer, RunsScorer, ScoredImage, load_backbones
from featx.scoring._labelled_data import ScoringOptions, score_data
from featx.scoring._left_out import LeftOut
from featx.scoring._predict import Prediction, predict_images, predict_images_by_run
from featx.scoring._predict_runs import CountsByRun, RunPredictions, predict_runs
from featx.scoring._predictions import PredictionCounts, Predictions
from featx.scoring._scored import Scored, score_images

__all__ = [
    "CountsByRun",
    "Evaluation",
    "ImageScorer",
    "LeftOut",
    "Prediction",
    "PredictionCounts",
    "Predictions",
    "RunComparison",
    "RunPredictions",
    "RunsScorer",
    "Scored",
    "ScoredImage",
    "ScoringOptions",
    "compare",
    "find_images",
    "load_backbones",
    "predict_images",
    "predict_images_by_run",
    "predict_runs",
    "score_data",
    "score_images",
]
