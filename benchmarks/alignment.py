"""Whether it helps to align a new site's embeddings without labels: ROC AUC and accuracy.

    python benchmarks/alignment.py embeddings

The cache has four copies of each training image (``featx extract DATA --copies 4``). A logistic
regression in 200 principal components is trained on untouched images alone, and with copies 1 and
2. Its threshold has the highest recall with accuracy ≥ 0.9 on a fifth of its patients. Sites are
the other sides of the seams, and copies 3 and 4 of a fold of patients that are alike in one thing.
Their vectors are moved so that their mean is that of the training images (mean), the same at the
share of the sick that expectation maximisation finds (share), or get the training images'
covariance as well (CORAL; Sun, Feng and Saenko 2016).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import featx
from featx.evaluation._seams import find_seams
from featx.extraction._spec import spec_of
from featx.heads import HeadSpec, PatientFolds
from featx.images._augment import draw_parameters
from featx.thresholds import choose_threshold, estimate_prior
from featx.training import TrainingData, load_training_data
from featx_cache import Cache

COMPONENTS, C, SHRINKAGE = 200, 0.003, 0.1
Rows = NDArray[np.bool_]
Vectors = NDArray[np.float64]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache")
    cache = featx.load_cache(parser.parse_args().cache)
    data = load_training_data(cache, HeadSpec.choose("logreg"), use_copies=True)
    rows = []
    for copies in (0, 2):
        fitted: dict[bytes, _Fitted] = {}
        for name, train, test in sites(cache, data):
            key = train.tobytes()
            if key not in fitted:
                fitted[key] = _Fitted(data, train & (data.copy <= copies))
            rows += [
                {"trained on": copies, "site": name, "aligned": how, **numbers}
                for how, numbers in fitted[key].at(test)
            ]
    table = pd.DataFrame(rows).set_index(["trained on", "site", "aligned"]).unstack("aligned")
    print(table.round(4).to_string())


def sites(cache: Cache, data: TrainingData) -> Iterator[tuple[str, Rows, Rows]]:
    """Yield the name of a site, the rows of the other patients, and its rows."""
    drawn = _drawn(cache, data)
    kinds = {
        "bright": drawn["brightness_shift"] > 20,
        "dark": drawn["brightness_shift"] < -20,
        "noisy": drawn["noise"] > 4,
        "blurred": drawn["blur"] > 1.2,
        "cropped": drawn["area"] < 0.55,
        "low contrast": drawn["contrast"] < 0.8,
    }
    groups = data.groups[data.originals]
    folds = PatientFolds(5).split(data.originals, data.y[data.originals], groups)
    _, held_out = next(iter(folds))
    there = np.isin(data.groups, groups[held_out])
    for name, kind in kinds.items():
        yield name, ~there, there & (data.copy >= 3) & kind.to_numpy()
    image = data.image[data.originals]
    known = cache.images.iloc[image].reset_index(drop=True).assign(group=groups)
    for seam in find_seams(known, cache.classes[1]):
        test = np.isin(data.image, image[seam.test]) & (data.copy == 0)
        yield seam.name, np.isin(data.image, image[seam.train]), test


def _drawn(cache: Cache, data: TrainingData) -> pd.DataFrame:
    """Return how each row was disturbed."""
    spec = spec_of(cache)
    sha256 = cache.images["sha256"].to_numpy()[data.image]
    rows = []
    for image, copy in zip(sha256, data.copy, strict=True):
        row: dict[str, float] = {}
        if copy:
            found = draw_parameters(spec.augmentation, image, copy, spec.backbone.input_size)
            row = {"area": found.height * found.width}
            for name in ("brightness_shift", "noise", "blur", "contrast"):
                row[name] = getattr(found.disturbance, name)
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass
class _Fitted:
    """A head and its threshold."""

    data: TrainingData
    train: Rows

    @cached_property
    def reduction(self) -> Any:
        """Scaling and principal components."""
        pca = PCA(COMPONENTS, svd_solver="randomized", random_state=0)
        return make_pipeline(StandardScaler(), pca).fit(self._vectors(self.train))

    @cached_property
    def known(self) -> Vectors:
        """Vectors of the training images."""
        return np.asarray(self.reduction.transform(self._vectors(self.train)), np.float64)

    @cached_property
    def means(self) -> Vectors:
        """Mean vector of each class."""
        truth = self.data.y[self.train]
        return np.stack([self.known[truth == label].mean(axis=0) for label in (0, 1)])

    @cached_property
    def head(self) -> tuple[Any, float]:
        """The head, fitted on four fifths of the patients, and the threshold of the others."""
        truth, groups = self.data.y[self.train], self.data.groups[self.train]
        kept, rest = next(iter(PatientFolds(5).split(truth, truth, groups)))
        head = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
        head.fit(self.known[kept], truth[kept])
        found = head.predict_proba(self.known[rest])[:, 1]
        scores = featx.Scores.from_arrays(truth[rest], found, groups[rest])
        return head, choose_threshold(scores, accuracy_floor=0.9).threshold

    def at(self, test: Rows) -> Iterator[tuple[str, dict[str, float]]]:
        """Measure it at a site, aligned in each way."""
        head, threshold = self.head
        vectors = np.asarray(self.reduction.transform(self._vectors(test)), np.float64)
        truth, groups = self.data.y[test] == 1, self.data.groups[test]
        share = estimate_prior(head.predict_proba(vectors)[:, 1], 0.5, groups).share
        centered = vectors - vectors.mean(axis=0)
        mean = (1 - share) * self.means[0] + share * self.means[1]
        ways = {
            "no": vectors,
            "mean": centered + self.known.mean(axis=0),
            "share": centered + mean,
            "CORAL": centered @ _power(centered, -0.5) @ _power(self.known, 0.5) + mean,
        }
        for name, aligned in ways.items():
            scores = head.predict_proba(aligned)[:, 1]
            accuracy = ((scores >= threshold) == truth).mean()
            yield name, {"AUC": roc_auc_score(truth, scores), "accuracy": accuracy}

    def _vectors(self, rows: Rows) -> Any:
        return self.data.rows(np.flatnonzero(rows))


def _power(vectors: Vectors, power: float) -> Vectors:
    """Return a power of a shrunk covariance."""
    covariance = np.cov(vectors.T)
    scale = np.trace(covariance) / len(covariance)
    values, axes = np.linalg.eigh(covariance + np.eye(len(covariance)) * scale * SHRINKAGE)
    return np.asarray((axes * values**power) @ axes.T)


if __name__ == "__main__":
    main()
