"""From cached embeddings to fitted heads and out-of-fold scores."""

from featx.training._data import FITTED_SPLITS, TrainingData, load_training_data
from featx.training._history import History, draw_curves
from featx.training._scoring import fit_head, fit_units, mean_by_image, out_of_fold

__all__ = [
    "FITTED_SPLITS",
    "History",
    "TrainingData",
    "draw_curves",
    "fit_head",
    "fit_units",
    "load_training_data",
    "mean_by_image",
    "out_of_fold",
]
