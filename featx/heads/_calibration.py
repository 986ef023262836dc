"""Probabilities of scores, learned on held-out patients."""

from __future__ import annotations

from typing import Any, Literal

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from featx.heads._estimators import PUBLIC
from featx.heads._folds import PatientFolds

FOLDS = 5


class CalibratedHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn's `CalibratedClassifierCV` on folds that don't split a patient.

    The calibrator learns from the scores of held-out patients, and one estimator is fitted on all
    of them. (As of scikit-learn 1.9, `CalibratedClassifierCV(ensemble=False)` itself doesn't give
    groups to its folds.)

    Parameters
    ----------
    estimator
        Classifier with scores.
    method
        Calibrator: ``sigmoid`` (Platt 1999), ``isotonic`` (Zadrozny and Elkan 2002) or
        ``temperature`` (Guo et al. 2017).
    threads
        Number of folds that are fitted at once.
    random_state
        Seed of the folds.

    Attributes
    ----------
    calibrated_ : sklearn.calibration.CalibratedClassifierCV
    classes_ : ndarray of shape (2,)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> X, y, patients = np.arange(20.0)[:, None], np.arange(20) // 10, np.arange(20) // 2
    >>> CalibratedHead(SVC()).fit(X, y, groups=patients).predict_proba(X).shape
    (20, 2)
    """

    __module__ = PUBLIC

    # Under scikit-learn's metadata routing these go along by themselves.
    __metadata_request__fit = {"groups": True, "images": True, "copies": True}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any = None,
        method: Literal["sigmoid", "isotonic", "temperature"] = "sigmoid",
        *,
        threads: int = 1,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.threads = threads
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, **rows: ArrayLike
    ) -> CalibratedHead:
        """Fit the estimator and its calibrator.

        Parameters
        ----------
        X, y
            Features and labels, as the estimator takes them.
        groups : array of shape (rows,), optional
            Patient of each row. If None, every row is a patient of its own.
        **rows
            Further arrays that the estimator's ``fit`` takes, one value a row.

        Raises
        ------
        ValueError
            If a class has fewer than two patients.
        """
        labels = column_or_1d(y, warn=True)
        labels = check_array(labels, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(labels)
        folds = list(PatientFolds(FOLDS, self.random_state).split(X, labels, groups))
        calibrated = CalibratedClassifierCV(
            self.estimator, method=self.method, cv=folds, ensemble=False, n_jobs=self.threads
        )
        with joblib.parallel_config("threading"):
            self.calibrated_ = calibrated.fit(X, labels, **rows)
        calibrated.set_params(cv=None)  # the folds don't belong in the file
        self.classes_ = calibrated.classes_
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the calibrated probability of each class: shape (images, 2)."""
        check_is_fitted(self, "calibrated_")
        return np.asarray(self.calibrated_.predict_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the likelier class of each image."""
        check_is_fitted(self, "calibrated_")
        return np.asarray(self.calibrated_.predict(X))

    @property
    def n_features_in_(self) -> int:
        """Features seen in `fit`."""
        return int(self.calibrated_.n_features_in_)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the features seen in `fit`, if they had names."""
        return np.asarray(self.calibrated_.feature_names_in_)
