"""From cached embeddings to scikit-learn classifiers."""

from featx.heads._building import build, fit_arguments, pooling_of
from featx.heads._calibration import CalibratedHead
from featx.heads._components import Reduction
from featx.heads._folds import PatientFolds
from featx.heads._keras_head import KerasHead
from featx.heads._own_layers import layers_of, read_head_config
from featx.heads._pooling import SpatialPooling
from featx.heads._settings import (
    SETTINGS,
    TITLES,
    BaselineSettings,
    HeadName,
    KerasSettings,
)
from featx.heads._spec import HEADS, HeadSpec
from featx.heads._storage import head_file, load_head, save_head
from featx.heads._tensors import as_tensors

__all__ = [
    "HEADS",
    "SETTINGS",
    "TITLES",
    "BaselineSettings",
    "CalibratedHead",
    "HeadName",
    "HeadSpec",
    "KerasHead",
    "KerasSettings",
    "PatientFolds",
    "Reduction",
    "SpatialPooling",
    "as_tensors",
    "build",
    "fit_arguments",
    "head_file",
    "layers_of",
    "load_head",
    "pooling_of",
    "read_head_config",
    "save_head",
]
