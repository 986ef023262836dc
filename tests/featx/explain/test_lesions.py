"""The bar: peaks of heads that were trained on images lie in lesions that they were never shown.

Drawn X-rays and real weights of VGG16. Each patient is drawn healthy and sick, so that few images
make a good head. On a larger set: ``benchmarks/localize.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from featx.demo._phantoms import LABELS, Phantom, draw_phantom
from featx.explain import heat_maps
from featx.explain._maps import peak
from featx.heads import HeadSpec, build

SIDE, TRAINED, TESTED = 224, 40, 28
SHUFFLES = 4


class Phantoms(NamedTuple):
    """Embeddings and labels to train on. Others of sick patients, and where their lesions are."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    sick: NDArray[np.float32]
    lesion: NDArray[np.bool_]


def cells(phantom: Phantom, rows: int) -> NDArray[np.bool_]:
    """Say which cells' centres are in the lesion, dilated by one cell."""
    step = SIDE / rows
    large = ndimage.binary_dilation(phantom.lesion, np.ones((2 * round(step) + 1,) * 2, bool))
    centre = ((np.arange(rows) + 0.5) * step).astype(int)
    found: NDArray[np.bool_] = large[np.ix_(centre, centre)]
    return found


@pytest.fixture(scope="module")
def phantoms(shared_weights: Path) -> Phantoms:
    from featx.backbones import load_backbone

    weights = shared_weights / "vgg16_imagenet_notop.weights.h5"
    if not weights.is_file():
        pytest.skip(f"{weights} is not here")
    backbone = load_backbone("vgg16", weights=str(weights), input_size=SIDE)
    known = [
        draw_phantom(patient, 1, label, size=SIDE) for patient in range(TRAINED) for label in LABELS
    ]
    new = [draw_phantom(TRAINED + patient, 1, LABELS[1], size=SIDE) for patient in range(TESTED)]
    pixels = np.stack([phantom.pixels for phantom in known + new])[..., np.newaxis]
    parts = np.array_split(pixels.astype(np.float32), 16)
    X = np.concatenate([backbone.embed(part) for part in parts])
    return Phantoms(
        X[: len(known)],
        np.array([phantom.label == LABELS[1] for phantom in known]).astype(int),
        X[len(known) :],
        np.stack([cells(phantom, X.shape[1]) for phantom in new]),
    )


def fitted(name: str, X: NDArray[Any], y: NDArray[Any], **settings: Any) -> Any:
    return build(HeadSpec.choose(name, settings=settings)).fit(X, y)


def in_lesion(maps: NDArray[Any], lesion: NDArray[Any]) -> float:
    return float(np.mean([cells[peak(heat)] for heat, cells in zip(maps, lesion, strict=True)]))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "settings"), [("logreg", {}), ("svm", {"components": None}), ("keras", {"epochs": 15})]
)
def test_peaks_of_four_in_five_true_positives_lie_in_the_lesion(
    phantoms: Phantoms, name: str, settings: dict[str, Any]
) -> None:
    head = fitted(name, phantoms.X, phantoms.y, **settings)
    found = head.predict_proba(phantoms.sick)[:, 1] >= 0.5
    assert found.sum() >= 15
    maps = heat_maps(head, phantoms.sick[found], mean=phantoms.X.mean(axis=0))
    assert in_lesion(maps, phantoms.lesion[found]) >= 0.8


@pytest.mark.long
def test_a_head_that_was_trained_on_shuffled_labels_finds_none(phantoms: Phantoms) -> None:
    random, mean = np.random.default_rng(0), phantoms.X.mean(axis=0)
    real = heat_maps(fitted("logreg", phantoms.X, phantoms.y), phantoms.sick, mean=mean)
    shares, alike = [], []
    for _ in range(SHUFFLES):
        head = fitted("logreg", phantoms.X, random.permutation(phantoms.y))
        maps = heat_maps(head, phantoms.sick, mean=mean)
        shares.append(in_lesion(maps, phantoms.lesion))
        alike += [
            np.corrcoef(one.ravel(), other.ravel())[0, 1]
            for one, other in zip(real, maps, strict=True)
        ]
    assert abs(np.mean(alike)) < 0.3
    assert np.mean(shares) < in_lesion(real, phantoms.lesion) - 0.25
