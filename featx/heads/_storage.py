"""Heads on disk, read back without running foreign code."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.utils.validation import check_is_fitted

from featx._archives import require_modest
from featx.errors import InputError
from featx.heads._keras_head import KerasHead
from featx_cache.files import open_regular

TRUSTED = (
    "featx.heads._calibration.CalibratedHead",
    "featx.heads._discriminant.Discriminant",
    "featx.heads._nearest_neighbors.NearestNeighbors",
    "featx.heads._keras_head.KerasHead",
    "featx.heads._pooling.SpatialPooling",
    "featx.heads._components.Reduction",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # Heads of runs of schema 1.
    "sklearn.model_selection._split.StratifiedGroupKFold",
)
"""Types that a head may hold besides those that skops itself trusts."""

MOVED = {
    ("featx.heads.calibration", "CalibratedHead"): ("featx.heads._calibration", "CalibratedHead"),
    ("featx.heads.discriminant", "Discriminant"): ("featx.heads._discriminant", "Discriminant"),
    ("featx.heads.keras_head", "KerasHead"): ("featx.heads._keras_head", "KerasHead"),
    ("featx.heads.neighbors", "NearestNeighbors"): (
        "featx.heads._nearest_neighbors",
        "NearestNeighbors",
    ),
    ("featx.heads.pooling", "SpatialPooling"): ("featx.heads._pooling", "SpatialPooling"),
    ("featx.heads.reduction", "Reduction"): ("featx.heads._components", "Reduction"),
}
"""Module and name of a class in files of earlier versions -> module and name today."""


def head_file(head: Any) -> str:
    """Return the name of the file that a head is kept in, which says what wrote it."""
    return "head.keras" if isinstance(head, KerasHead) else "head.skops"


def save_head(head: Any, folder: Path) -> str:
    """Write a fitted head into a folder; return the file's name."""
    path = folder / head_file(head)
    if isinstance(head, KerasHead):
        head.save(path)
    else:
        skops.io.dump(head, path)
    return path.name


def load_head(path: Path) -> Any:
    """Read a fitted head.

    Raises
    ------
    InputError
        When the file is missing or damaged, or holds anything but known estimators; the message
        names what was refused.
    """
    if not path.is_file():
        raise InputError(f"the run has no {path.name} ({path})", "Fit it again with `featx fit`.")
    try:
        if path.suffix == ".keras":
            return KerasHead.load(path, classes=np.array([0, 1]))
        require_modest(path)
        head = skops.io.loads(_with_todays_names(path), trusted=list(TRUSTED))
        if not callable(getattr(head, "predict_proba", None)):
            raise ValueError(f"it holds a {type(head).__name__}, not a classifier")
        check_is_fitted(head)
        return head
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path} can't be loaded safely: {reason}",
            "Use only runs that featx made; fit it again with `featx fit`.",
        ) from error


def _with_todays_names(path: Path) -> bytes:
    """Return the content of a skops file, in which classes that were moved have their new names."""

    def rename(node: dict[str, Any]) -> dict[str, Any]:
        old = (node.get("__module__"), node.get("__class__"))
        if old in MOVED:
            node["__module__"], node["__class__"] = MOVED[old]
        return node

    content = io.BytesIO()
    with (
        open_regular(path) as file,
        zipfile.ZipFile(file) as old,
        zipfile.ZipFile(content, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                data = json.dumps(json.loads(data, object_hook=rename)).encode()
            new.writestr(name, data)
    return content.getvalue()
