"""What copies, layers, and the choice of the threshold are worth: two tables.

    python benchmarks/copies.py embeddings --head logreg

The cache has four copies of each training image (``featx extract DATA --copies 4``). Heads are
fitted on none, one, two and four of them, in folds by patient. Every patient is scored by a head
that hasn't seen them: untouched, and on copies 3 and 4. Seams are those of `featx evaluate
--protocol shift`, tested on untouched images. If the cache has several layers, the deepest alone
is measured, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from markdown_table import show
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import featx
from featx.errors import NoFeasibleThresholdError
from featx.evaluation._seams import Seam, find_seams
from featx.extraction._spec import parts_of
from featx.heads import HeadSpec, PatientFolds, SpatialPooling
from featx.thresholds import Criterion, sweep
from featx.thresholds._choose import choose_by
from featx.training import TrainingData, fit_head, load_training_data
from featx_cache import Cache

FOLDS, TESTED_COPIES = 5, (3, 4)
CRITERIA = (
    Criterion(accuracy_floor=0.95),
    Criterion(accuracy_floor=0.90),
    Criterion(recall_floor=0.97),
    Criterion(recall_floor=0.98),
    Criterion(youden=True),
    Criterion(cost=(5.0, 1.0)),
)


@dataclass(frozen=True)
class Scored:
    """Out-of-fold scores of all rows, and the areas across seams."""

    score: NDArray[np.float64]
    seams: dict[str, float]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache")
    parser.add_argument("--head", default="logreg")
    parser.add_argument("--copies", default="0,1,2,4")
    parser.add_argument("--no-seams", action="store_true")
    given = parser.parse_args()
    cache, spec = featx.load_cache(given.cache), HeadSpec.choose(given.head)
    data = load_training_data(cache, spec, use_copies=True)
    seams = [] if given.no_seams else seams_of(cache, data)
    numbers = [int(number) for number in given.copies.split(",")]
    copy, truth = data.copy, data.y == 1
    tested = np.isin(copy, TESTED_COPIES)
    rows, points = [], []
    for name, part in layers_of(cache, data):
        for number in numbers:
            found = scored(spec, part, number, seams)
            areas = {
                "AUC, untouched": roc_auc_score(truth[copy == 0], found.score[copy == 0]),
                "AUC, copies": roc_auc_score(truth[tested], found.score[tested]),
            }
            rows.append({"layers": name, "trained on": number} | areas | found.seams)
            points += [
                {"layers": name, "trained on": number} | row
                for row in operating_points(data, found.score, max(number, 1))
            ]
            print(rows[-1], flush=True)
    print(f"\nROC AUC of {given.head}\n")
    show(rows, ".4f")
    print("Operating points\n")
    show(points, ".4f")


def layers_of(cache: Cache, data: TrainingData) -> Iterator[tuple[str, TrainingData]]:
    """Yield the deepest layer alone, and all layers."""
    parts = parts_of(cache)
    if parts:
        width = SpatialPooling("pyramid").transform(np.zeros((1, *parts[0].shape))).shape[1]
        yield parts[0].name, replace(data, X=data.X[:, :width], reduced={})
    yield " + ".join(part.name for part in parts) or "one layer", replace(data, reduced={})


def seams_of(cache: Cache, data: TrainingData) -> list[Seam]:
    """Find the seams of the untouched images."""
    known = cache.images.iloc[data.image[data.originals]].reset_index(drop=True)
    known = known.assign(group=data.groups[data.originals])
    return find_seams(known, cache.classes[1])


def scored(spec: HeadSpec, data: TrainingData, copies: int, seams: list[Seam]) -> Scored:
    """Score every row by a head fitted on other patients, and across the seams."""
    originals, score = data.originals, np.empty(len(data.y))
    truth, groups = data.y[originals], data.groups[originals]
    fitted = data.copy <= copies
    for _, held_out in PatientFolds(FOLDS, spec.seed).split(originals, truth, groups):
        there = np.isin(data.groups, groups[held_out])
        score[there] = _predict(spec, data, fitted & ~there, there)
    areas = {}
    for seam in seams:
        train = np.isin(data.image, data.image[originals][seam.train]) & fitted
        test = np.isin(data.image, data.image[originals][seam.test]) & (data.copy == 0)
        areas[seam.name] = roc_auc_score(data.y[test], _predict(spec, data, train, test))
    return Scored(score, areas)


def _predict(
    spec: HeadSpec, data: TrainingData, train: NDArray[np.bool_], test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    head = fit_head(spec, data, np.flatnonzero(train))
    data.reduced.clear()
    return np.asarray(head.predict_proba(data.rows(np.flatnonzero(test)))[:, 1], np.float64)


def operating_points(
    data: TrainingData, score: NDArray[np.float64], copies: int
) -> Iterator[dict[str, object]]:
    """Choose thresholds by several criteria on several scores, and measure them."""
    truth, copy = data.y == 1, data.copy
    own = (copy > 0) & (copy <= copies)
    kinds = {"untouched": copy == 0, "both": (copy == 0) | own, "copies": own}
    tested = {"untouched": copy == 0, "copies": np.isin(copy, TESTED_COPIES)}
    for criterion in CRITERIA:
        for kind, rows in kinds.items():
            scores = featx.Scores.from_arrays(truth[rows], score[rows], data.groups[rows])
            try:
                threshold = choose_by(criterion, scores).threshold
            except NoFeasibleThresholdError:
                points = sweep(scores)
                threshold = points.thresholds[criterion.nearest(points)]
            row: dict[str, object] = {"criterion": criterion.in_words, "chosen on": kind}
            for name, there in tested.items():
                called, sick = score[there] >= threshold, truth[there]
                row[f"recall, {name}"] = called[sick].mean()
                row[f"accuracy, {name}"] = (called == sick).mean()
            yield row


if __name__ == "__main__":
    main()
