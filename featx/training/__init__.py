"""From cached embeddings to fitted heads and out-of-fold scores.

What `__all__` lists is API. The rest is for other parts of featx.
"""

from featx.training._data import FITTED_SPLITS as FITTED_SPLITS
from featx.training._data import TrainingData, load_training_data
from featx.training._history import History as History
from featx.training._scoring import OutOfFold, fit_head, out_of_fold
from featx.training._scoring import fit_units as fit_units
from featx.training._scoring import mean_by_image as mean_by_image

__all__ = [
    "OutOfFold",
    "TrainingData",
    "fit_head",
    "load_training_data",
    "out_of_fold",
]
