"""What a few local images are worth: an operating point chosen anew on the other side of a seam.

A logistic regression is fitted on the normal images called ``IM-`` and bacterial pneumonia of the
public chest X-ray set, and used on ``NORMAL2-IM-`` and viral pneumonia. Patients of that side are
drawn again and again: some choose a threshold, the others measure it. Usage::

    python benchmarks/local.py CACHE [ACCURACY_FLOOR]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from sklearn.metrics import roc_auc_score

import featx
from featx._scores import Scores
from featx.errors import NoFeasibleThresholdError
from featx.evaluation._seams import with_kaggle_columns
from featx.heads import HeadSpec
from featx.thresholds import Criterion, choose_cross_validated, choose_threshold
from featx.training import fit_head, load_training_data, out_of_fold

PATIENTS = (20, 40, 80, 160, 320)
REPEATS = 100


def main(path: str, floor: float) -> None:
    """Print one line a number of local patients."""
    cache = featx.load_cache(path)
    spec = HeadSpec.choose("logreg")
    data = load_training_data(cache, spec, use_copies=False)
    table = with_kaggle_columns(data.table)
    here = ((table["cause"] == "bacteria") | (table["series"] == "IM")).to_numpy()
    side = data.part(here)
    scores = out_of_fold(spec, side, seed=0).scores
    old = choose_threshold(side.y == 1, scores["score"], accuracy_floor=floor).threshold
    head = fit_head(spec, side, np.arange(len(side.y)))
    there = np.flatnonzero(~here)
    values = np.asarray(head.predict_proba(data.rows(there))[:, 1], np.float64)
    others = Scores.from_arrays(data.y[there] == 1, values, data.groups[there])
    patients = np.unique(others.patient)
    print(f"{len(there)} images of {len(patients)} patients there, ", end="")
    print(f"ROC AUC {roc_auc_score(others.positive, others.score):.4f}; floor {floor:g}")
    print("| threshold chosen on | accuracy | 10 % of draws below | recall | specificity | said |")
    print("|---|---|---|---|---|---|")
    accuracy, recall, specificity = _rates(others.positive, others.called(old))
    fixed = f"{recall:.4f} | {specificity:.4f} | {floor:.4f}"
    print(f"| training side | {accuracy:.4f} | {accuracy:.4f} | {fixed} |")
    random, criterion = np.random.default_rng(0), Criterion(accuracy_floor=floor)
    for count in PATIENTS:
        found = []
        for seed in range(REPEATS):
            local = np.isin(others.patient, random.choice(patients, count, replace=False))
            few, rest = others[local], others[~local]
            try:
                point = choose_cross_validated(few, criterion=criterion, seed=seed)
            except NoFeasibleThresholdError:
                continue
            said = (point.called == few.positive).mean()
            found.append((*_rates(rest.positive, rest.called(point.threshold)), said))
        mean, low = np.mean(found, axis=0), np.quantile([f[0] for f in found], 0.1)
        print(
            f"| {count} patients there | {mean[0]:.4f} | {low:.4f} | {mean[1]:.4f} | "
            f"{mean[2]:.4f} | {mean[3]:.4f} |",
            flush=True,
        )


def _rates(truth: np.ndarray, called: np.ndarray) -> tuple[float, float, float]:
    """Return accuracy, recall and specificity."""
    return (
        float((called == truth).mean()),
        float(called[truth].mean()),
        float((~called[~truth]).mean()),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.9)
