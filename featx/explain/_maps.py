"""From a fitted head and embeddings to heat maps, by the method that suits the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from featx.backbones._parts import main_part
from featx.backbones._settings import own_keras_settings
from featx.errors import InputError
from featx.explain._gradients import gradient_maps
from featx.explain._heads import network_of, unit_of
from featx.explain._linear import Linear, linear_maps
from featx.explain._occlusion import occlusion_maps
from featx.heads._building import parts_of_head
from featx.heads._head import Head


@dataclass(frozen=True, slots=True)
class Method:
    """Method of a head's heat maps.

    Attributes
    ----------
    name
        ``class activation``, ``gradient`` or ``occlusion``.
    unit
        ``logit`` of the positive class's score, or ``margin`` of a support vector machine whose
        calibration isn't linear in the logit.
    meaning
        Meaning of a value of the map.

    Examples
    --------
    >>> Method("gradient", "logit", "each place's share of the score, to first order").unit
    'logit'
    """

    name: str
    unit: str
    meaning: str


MEANINGS = {
    "class activation": "each place's share of the score",
    "gradient": "each place's share of the score, to first order",
    "occlusion": "fall of the score when a place and its neighbors are hidden",
}


def method_of(head: Head) -> Method:
    """Return how `heat_maps` explains a head."""
    name = "occlusion"
    if network_of(head) is not None:
        name = "gradient"
    elif isinstance(head, Pipeline) and Linear.of(head) is not None:
        name = "class activation"
    return Method(name, unit_of(head), MEANINGS[name])


@own_keras_settings()
def heat_maps(
    head: Head, embeddings: NDArray[np.floating], *, mean: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Return which cells of the grid speak for the positive class, and which against it.

    Linear heads are divided among the cells exactly: a map and a constant sum up to the logit of
    the score. Networks are explained by gradient times activation, everything else by occlusion.

    Parameters
    ----------
    head
        Fitted head: a pipeline or a `featx.heads.KerasHead`, calibrated or not.
    embeddings : ndarray of shape (images, rows, columns, channels)
        Embeddings of the shape that the head was fitted on. Those of several layers are vectors,
        and maps are of the deepest layer's grid.
    mean : ndarray of shape (rows, columns, channels), optional
        Average embedding of the training images (`run.reference.mean`). A map then says what sets
        the image apart from the average, cell by cell. Without `mean`, what every chest has at
        some place (a border, the heart) counts too, and peaks lie in lesions less often.

    Returns
    -------
    ndarray of shape (images, rows, columns), dtype float32
        Maps in units of the positive class's logit (see `method_of`): above 0 speaks for it.

    Raises
    ------
    InputError
        If embeddings have no grid, or another one than `mean`.

    Examples
    --------
    >>> from featx.heads import HeadSpec, build
    >>> X, y = np.random.default_rng(0).random((20, 3, 3, 8)), np.arange(20) % 2
    >>> head = build(HeadSpec.choose("logreg")).fit(X, y)
    >>> heat_maps(head, X[:2]).shape
    (2, 3, 3)
    """
    parts = parts_of_head(head)
    grid = main_part(embeddings, parts)
    if grid.ndim != 4:
        raise InputError(
            f"embeddings of shape {grid.shape[1:]} have no grid, so there is no map of them",
            "Extract again with a layer whose output has rows and columns.",
        )
    if mean is not None and mean.shape != grid.shape[1:]:
        raise InputError(
            f"the average embedding has the shape {mean.shape}, and these {grid.shape[1:]}",
            "Give the average of embeddings that the same backbone made.",
        )
    if not len(grid):
        return np.zeros(grid.shape[:3], np.float32)
    if (network := network_of(head)) is not None:
        return gradient_maps(network, embeddings, mean, parts)
    if isinstance(head, Pipeline) and (linear := Linear.of(head)) is not None:
        return linear_maps(head, linear, grid, mean)[0]
    return occlusion_maps(head, embeddings, mean)


def peak(heat: NDArray[np.floating]) -> tuple[int, int]:
    """Return row and column of a map's largest value."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return int(row), int(column)
