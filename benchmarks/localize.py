"""How often a heat map's peak lies in the lesion, on drawn X-rays whose lesions are known.

Images of all splits are scored by heads that hadn't seen their patients. What is measured are the
true positives at score 0.5. A peak counts when its cell's centre is in the lesion, dilated by one
cell. ``cells`` is the share of all cells for which that holds, which is chance. ``shuffled`` are
heads that were fitted on shuffled labels, of all sick images. ``apart`` are maps from which the
average training image's was taken off, as `featx explain` draws them. Usage::

    python benchmarks/localize.py draw DATA MASKS --patients 600
    featx extract DATA --cache CACHE --backbone vgg16 --copies 0
    python benchmarks/localize.py measure CACHE MASKS
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

import featx
from featx.demo._phantoms import write_phantoms
from featx.explain import heat_maps
from featx.explain._maps import peak
from featx.heads import HeadSpec, PatientFolds, build, fit_arguments

FOLDS = 3
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "logreg": ("logreg", {}),
    "logreg, average": ("logreg", {"representation": "average"}),
    "lda": ("lda", {}),
    "svm, linear": ("svm", {"kernel": "linear"}),
    "svm": ("svm", {}),
    "svm, all features": ("svm", {"components": None}),
    "knn": ("knn", {}),
    "hgb": ("hgb", {}),
    "keras": ("keras", {"epochs": 10}),
    "keras, gap": ("keras", {"architecture": "gap", "epochs": 10}),
}


def lesion_cells(mask: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Say which cells' centres are in a lesion that is dilated by one cell."""
    lesion = np.asarray(Image.open(mask)) > 0
    steps = [side / cells for side, cells in zip(lesion.shape, shape, strict=True)]
    reach = [2 * round(step) + 1 for step in steps]
    large = ndimage.binary_dilation(lesion, np.ones(reach, bool))
    centres = [
        ((np.arange(cells) + 0.5) * step).astype(int)
        for cells, step in zip(shape, steps, strict=True)
    ]
    found: NDArray[np.bool_] = large[np.ix_(*centres)]
    return found


def maps_out_of_fold(
    spec: HeadSpec, X: NDArray[Any], y: NDArray[Any], groups: NDArray[Any], shuffle: bool
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield rows, scores, and maps without and with the average image, of those called positive."""
    random = np.random.default_rng(0)
    for train, test in PatientFolds(FOLDS, 0).split(X, y, groups):
        labels = random.permutation(y[train]) if shuffle else y[train]
        rows = fit_arguments(
            spec, groups=groups[train], images=train, copies=np.zeros(len(train), int)
        )
        head = build(spec).fit(X[train], labels, **rows)
        scores = head.predict_proba(X[test])[:, 1]
        sick = y[test] == 1
        chosen = sick if shuffle else sick & (scores >= 0.5)
        mean = X[train].mean(axis=0, dtype=np.float32)
        plain, apart = np.zeros((2, len(test), *X.shape[1:3]), np.float32)
        if chosen.any():
            plain[chosen] = heat_maps(head, X[test][chosen])
            apart[chosen] = heat_maps(head, X[test][chosen], mean=mean)
        yield test[chosen], scores, plain[chosen], apart[chosen]
        yield test, scores, plain[:0], apart[:0]


def measure(cache: str, masks: Path, heads: list[str]) -> None:
    """Print one line a head."""
    opened = featx.load_cache(cache)
    rows = opened.row_numbers(splits=None, copies=False)
    table: pd.DataFrame = opened.table(rows)
    X = opened.read(rows)
    y = (table["label"] == opened.classes[1]).to_numpy().astype(int)
    groups = table["group"].to_numpy(object)
    where = {
        int(row): lesion_cells(
            masks / str(table["split"].iloc[row]) / Path(table["path"].iloc[row]).name,
            (X.shape[1], X.shape[2]),
        )
        for row in np.flatnonzero(y)
    }
    print(f"{len(y)} images, {X.shape[1]}x{X.shape[2]} cells")
    print("| head | AUC | true positives | cells | peak | apart | shuffled | shuffled, apart |")
    print("|---|---|---|---|---|---|---|---|")
    for title in heads:
        name, settings = HEADS[title]
        spec = HeadSpec.choose(name, settings=settings)
        hits, scores = _hits(spec, X, y, groups, where, shuffle=False)
        random, _ = _hits(spec, X, y, groups, where, shuffle=True)
        chance = np.mean([where[row].mean() for row in hits[2]])
        print(
            f"| {title} | {roc_auc_score(y, scores):.3f} | {len(hits[2])} | {chance:.2f} "
            f"| {np.mean(hits[0]):.3f} | {np.mean(hits[1]):.3f} | {np.mean(random[0]):.3f} "
            f"| {np.mean(random[1]):.3f} |",
            flush=True,
        )


def _hits(
    spec: HeadSpec,
    X: NDArray[Any],
    y: NDArray[Any],
    groups: NDArray[Any],
    where: dict[Any, NDArray[np.bool_]],
    *,
    shuffle: bool,
) -> tuple[tuple[list[bool], list[bool], list[int]], NDArray[np.float64]]:
    plain_hits: list[bool] = []
    apart_hits: list[bool] = []
    found: list[int] = []
    scores = np.empty(len(y))
    for rows, part, plain, apart in maps_out_of_fold(spec, X, y, groups, shuffle):
        if len(part) == len(rows):
            scores[rows] = part
        for row, one, other in zip(rows, plain, apart, strict=False):
            plain_hits.append(bool(where[row][peak(one)]))
            apart_hits.append(bool(where[row][peak(other)]))
            found.append(int(row))
    return (plain_hits, apart_hits, found), scores


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("draw")
    draw.add_argument("data", type=Path)
    draw.add_argument("masks", type=Path)
    draw.add_argument("--patients", type=int, default=600)
    draw.add_argument("--seed", type=int, default=6)
    evaluate = commands.add_parser("measure")
    evaluate.add_argument("cache")
    evaluate.add_argument("masks", type=Path)
    evaluate.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    given = parser.parse_args()
    if given.command == "draw":
        write_phantoms(
            given.data, patients=given.patients, size=300, seed=given.seed, masks=given.masks
        )
    else:
        measure(given.cache, given.masks, given.heads)


if __name__ == "__main__":
    main()
