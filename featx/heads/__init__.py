"""From cached embeddings to scikit-learn classifiers."""

from featx.heads.keras_head import KerasHead
from featx.heads.pooling import SpatialPooling
from featx.heads.spec import (
    DEFAULT_EPOCHS,
    HEADS,
    SVM_COMPONENTS,
    HeadName,
    HeadSpec,
    build,
    pooling_of,
)
from featx.heads.storage import load_head, save_head

__all__ = [
    "DEFAULT_EPOCHS",
    "HEADS",
    "SVM_COMPONENTS",
    "HeadName",
    "HeadSpec",
    "KerasHead",
    "SpatialPooling",
    "build",
    "load_head",
    "pooling_of",
    "save_head",
]
