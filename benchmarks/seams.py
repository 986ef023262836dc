"""How much AUC the baselines lose across seams of the public chest X-ray set.

Trains on one side of a seam and tests on the other, patients never shared: bacterial against viral
pneumonia, normal images named ``IM-`` against ``NORMAL2-IM-``. Usage::

    python benchmarks/seams.py CACHE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

import featx
from featx.heads import HeadSpec, SpatialPooling, build
from featx_cache import Cache

LOGREG = build(HeadSpec(name="logreg"))
CANDIDATES = {
    "average": SpatialPooling("average"),
    "average, standardized": SpatialPooling("average", standardize=True),
    "pyramid": SpatialPooling("pyramid"),
    "pyramid, standardized (default)": SpatialPooling("pyramid", standardize=True),
}


def pooled(cache: Cache, rows: NDArray[np.intp], pooling: SpatialPooling) -> NDArray[Any]:
    """Pool shard by shard."""
    parts = [(where, pooling.transform(block)) for where, block in cache.blocks(rows)]
    X = np.empty((len(rows), parts[0][1].shape[1]), np.float32)
    for where, part in parts:
        X[where] = part
    return X


def seams(names: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield (name, training images, test images); the other class is halved by patient."""
    patients, place = np.unique(names, return_inverse=True)
    half = np.random.default_rng(0).permutation(len(patients))[place] % 2 == 0
    of = {
        word: np.array([test(name) for name in names])
        for word, test in {
            "bacterial": lambda name: name.endswith("_bacteria"),
            "viral": lambda name: name.endswith("_virus"),
            "IM-": lambda name: name.startswith("IM-"),
            "NORMAL2-": lambda name: name.startswith("NORMAL2-"),
        }.items()
    }
    for one, other in (("bacterial", "viral"), ("IM-", "NORMAL2-")):
        rest = ~(of[one] | of[other])
        for first, second in ((one, other), (other, one)):
            yield f"{first} -> {second}", of[first] | (rest & half), of[second] | (rest & ~half)


def main(path: str) -> None:
    """Print one line a candidate."""
    cache = featx.load_cache(path)
    rows = cache.row_numbers(splits=("train", "val"), copies=False)
    table = cache.table(rows)
    y = (table["label"] == cache.classes[1]).to_numpy().astype(int)
    groups = table["group"].to_numpy()
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    splits = list(seams(groups))
    print("| logreg on | out of fold | " + " | ".join(name for name, _, _ in splits) + " |")
    print("|---|" + "---|" * (1 + len(splits)))
    classifier = Pipeline(LOGREG.steps[1:])
    for name, pooling in CANDIDATES.items():
        X = pooled(cache, rows, pooling)
        scores = np.empty(len(y))
        for train, test in folds.split(X, y, groups):
            scores[test] = classifier.fit(X[train], y[train]).predict_proba(X[test])[:, 1]
        aucs = [roc_auc_score(y, scores)]
        for _, train, test in splits:
            predicted = classifier.fit(X[train], y[train]).predict_proba(X[test])[:, 1]
            aucs.append(roc_auc_score(y[test], predicted))
        print(f"| {name} | " + " | ".join(f"{auc:.4f}" for auc in aucs) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
