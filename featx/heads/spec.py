"""Which head, with which settings; and building one."""

from __future__ import annotations

import difflib
from typing import Any, Literal, get_args

from pydantic import Field
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from featx.backbones import resolve_precision
from featx.errors import InputError
from featx.heads.keras_head import KerasHead
from featx.heads.pooling import SpatialPooling
from featx.specs import Spec

HeadName = Literal["keras", "svm", "logreg"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)
DEFAULT_EPOCHS = 8
SVM_COMPONENTS = 300


class HeadSpec(Spec):
    """A head and its settings.

    Attributes
    ----------
    name
        ``keras`` is the study's network, ``svm`` a support vector machine with an RBF kernel,
        ``logreg`` logistic regression.
    seed
        Of everything random in it.
    epochs
        Of the Keras head; the others converge.
    precision
        Of the Keras head's arithmetic.
    """

    name: HeadName
    seed: int = Field(0, ge=0, lt=2**32)
    epochs: int = Field(DEFAULT_EPOCHS, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"

    @classmethod
    def choose(cls, name: str, *, seed: int, epochs: int, precision: str) -> HeadSpec:
        """Make a spec from what a user typed; ``auto`` precision goes by the hardware.

        Raises
        ------
        InputError
            When there is no such head; names that look like it are suggested.
        """
        if name not in HEADS:
            near = difflib.get_close_matches(name, HEADS, n=1)
            raise InputError(
                f"there is no head {name!r}",
                f"Did you mean {near[0]}?" if near else f"Choose one of {', '.join(HEADS)}.",
            )
        if precision == "auto":
            chosen = resolve_precision("auto")[0] if name == "keras" else "float32"
            precision = "bfloat16" if chosen == "bfloat16" else "float32"
        return cls.model_validate(
            {"name": name, "seed": seed, "epochs": epochs, "precision": precision}
        )


def build(spec: HeadSpec, *, calibration_folds: int = 5, components: int = SVM_COMPONENTS) -> Any:
    """Build an unfitted head.

    The defaults of ``logreg`` and ``svm`` (pyramid pooling, per-image standardization, strength of
    regularization) are those that lost least across the seams of the public chest X-ray set; see
    ``docs/results.md``.

    Parameters
    ----------
    spec
        Which, with which settings.
    calibration_folds
        Of the svm; no more than the rarer class has patients to fit it on.
    components
        Principal components of the svm; no more than it is fitted on images or features.

    Returns
    -------
    scikit-learn classifier
        With ``fit``, ``predict_proba``, ``predict`` and ``classes_``, over embeddings of shape
        (images, rows, columns, channels) or feature vectors that were pooled before.
    """
    if spec.name == "keras":
        return KerasHead(epochs=spec.epochs, precision=spec.precision, random_state=spec.seed)
    steps: list[tuple[str, Any]] = [
        ("pooling", SpatialPooling("pyramid", standardize=True)),
        ("scaling", StandardScaler()),
    ]
    if spec.name == "logreg":
        classifier: Any = LogisticRegression(
            C=0.01, class_weight="balanced", max_iter=1000, tol=1e-3, random_state=spec.seed
        )
    else:
        reduction = PCA(
            components, svd_solver="randomized", iterated_power=2, random_state=spec.seed
        )
        steps.append(("reduction", reduction))
        # Margins become probabilities on held-out patients (Platt 1999), never on fitted ones.
        folds = StratifiedGroupKFold(calibration_folds, shuffle=True, random_state=spec.seed)
        svm = SVC(C=10.0, kernel="rbf", class_weight="balanced")
        classifier = CalibratedClassifierCV(svm, method="sigmoid", cv=folds)
    return Pipeline([*steps, ("classifier", classifier)])


def pooling_of(head: Any) -> SpatialPooling | None:
    """Return the pooling that a head begins with, which may be done once for all folds."""
    return head.named_steps["pooling"] if isinstance(head, Pipeline) else None
