"""From cached embeddings to scikit-learn classifiers."""

from featx.heads.building import build, fit_arguments, pooling_of
from featx.heads.calibration import CalibratedHead
from featx.heads.folds import PatientFolds
from featx.heads.keras_head import KerasHead
from featx.heads.own_layers import layers_of, read_head_config
from featx.heads.pooling import SpatialPooling
from featx.heads.reduction import Reduction
from featx.heads.settings import (
    SETTINGS,
    TITLES,
    BaselineSettings,
    HeadName,
    KerasSettings,
)
from featx.heads.spec import HEADS, HeadSpec
from featx.heads.storage import head_file, load_head, save_head
from featx.heads.tensors import as_tensors

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
