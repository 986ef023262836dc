"""From cached embeddings to scikit-learn classifiers.

What `__all__` lists is API. The rest is for other parts of featx.
"""

from featx.heads._building import build
from featx.heads._building import fit_arguments as fit_arguments
from featx.heads._building import pooling_of as pooling_of
from featx.heads._calibration import CalibratedHead
from featx.heads._estimators import LimitedKNeighbors, LimitedPCA, ShrunkLDA
from featx.heads._folds import PatientFolds
from featx.heads._head import Head
from featx.heads._keras_head import KerasHead
from featx.heads._pooling import SpatialPooling
from featx.heads._settings import SETTINGS as SETTINGS
from featx.heads._settings import TITLES as TITLES
from featx.heads._settings import HeadName as HeadName
from featx.heads._settings import KerasSettings
from featx.heads._spec import HEADS, HeadSpec, head_spec
from featx.heads._storage import head_file as head_file
from featx.heads._storage import load_head, save_head
from featx.heads._tensors import as_tensors as as_tensors

__all__ = [
    "HEADS",
    "CalibratedHead",
    "Head",
    "HeadSpec",
    "KerasHead",
    "KerasSettings",
    "LimitedKNeighbors",
    "LimitedPCA",
    "PatientFolds",
    "ShrunkLDA",
    "SpatialPooling",
    "build",
    "head_spec",
    "load_head",
    "save_head",
]
