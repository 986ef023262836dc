"""Outputs of several layers in one embedding: one after another in a vector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx._specs import require_known
from featx.backbones._pyramid import PYRAMID_VECTORS, pyramid
from featx.backbones._spec import EmbeddingPart, PoolExtra
from featx.errors import InputError

Shape = tuple[int, ...]


def split_parts(
    embeddings: ArrayLike, parts: Iterable[EmbeddingPart | Mapping[str, Any]]
) -> dict[str, NDArray[np.floating]]:
    """Divide embeddings of several layers into those of each layer.

    Parameters
    ----------
    embeddings : array of shape (rows, values)
        Embeddings as a cache of several layers holds them.
    parts
        Parts of an embedding, the main one first: ``backbone.spec.parts``, or
        ``cache.spec["backbone"]["parts"]``.

    Returns
    -------
    dict of str to ndarray of shape (rows, *shape)
        Embeddings by the name of their layer, in the dtype that they had. They share memory with
        `embeddings`.

    Raises
    ------
    InputError
        If the embeddings aren't as long as the parts together.

    Examples
    --------
    >>> import numpy as np
    >>> from featx.backbones import EmbeddingPart, split_parts
    >>> main = EmbeddingPart(name="block5_pool", shape=(9, 9, 512))
    >>> extra = EmbeddingPart(name="block4_pool", shape=(10, 512))
    >>> X = np.zeros((4, main.size + extra.size), np.float16)
    >>> {name: part.shape for name, part in split_parts(X, [main, extra]).items()}
    {'block5_pool': (4, 9, 9, 512), 'block4_pool': (4, 10, 512)}
    """
    known = [
        part if isinstance(part, EmbeddingPart) else EmbeddingPart.model_validate(part)
        for part in parts
    ]
    array: NDArray[np.floating] = np.asarray(embeddings)
    found = split_shapes(array, [part.shape for part in known])
    return dict(zip((part.name for part in known), found, strict=True))


def split_shapes(array: Any, shapes: Sequence[Shape]) -> list[Any]:
    """Divide an array of embeddings (rows, values) into parts of these shapes."""
    require_parts(array.shape, shapes)
    return [
        array[:, where].reshape(len(array), *shape)
        for where, shape in zip(part_slices(shapes), shapes, strict=True)
    ]


def require_parts(embeddings: Shape, shapes: Sequence[Shape]) -> None:
    """Refuse an array's shape that isn't of embeddings with parts of these shapes."""
    sizes = [math.prod(shape) for shape in shapes]
    if len(embeddings) != 2 or embeddings[1] != sum(sizes):
        raise InputError(
            f"embeddings of the shape {embeddings[1:]} don't consist of parts of "
            f"{' + '.join(map(str, sizes))} values",
            "Give embeddings that the same backbone made.",
        )


def part_slices(shapes: Sequence[Shape]) -> list[slice]:
    """Say where each part lies in the vector of an embedding."""
    ends = list(itertools.accumulate((math.prod(shape) for shape in shapes), initial=0))
    return [slice(start, end) for start, end in itertools.pairwise(ends)]


def main_part(embeddings: NDArray[np.floating], shapes: Sequence[Shape]) -> NDArray[np.floating]:
    """Return the main part of embeddings. If they have no parts, it is all of them."""
    if not shapes:
        return embeddings
    main: NDArray[np.floating] = split_shapes(embeddings, shapes)[0]
    return main


def join_outputs(outputs: Sequence[EmbeddingPart], pool: PoolExtra) -> tuple[EmbeddingPart, ...]:
    """Say what embeddings of several layers consist of. One layer's has no parts.

    `outputs` are in the order of the network. The last one is the main part.
    """
    require_known("pooling of extra layers", pool, get_args(PoolExtra))
    if len(outputs) == 1:
        if pool != "none":
            raise InputError(
                f"`pool_extra` {pool} is for layers beyond the deepest, and {outputs[0].name} is "
                "the only one",
                "Leave `pool_extra` out, or give `layer` two names: block4_pool,block5_pool.",
                parameter="pool_extra",
            )
        return ()
    *extra, main = outputs
    for output in outputs:
        if len(output.shape) not in (1, 3):
            raise InputError(
                f"the layer {output.name!r} gives {output.shape}, which is neither a grid nor a "
                "vector",
                "Beside other layers, choose one whose output has rows and columns.",
                parameter="layer",
            )
    return main, *(_kept(output, pool) for output in extra)


def _kept(output: EmbeddingPart, pool: PoolExtra) -> EmbeddingPart:
    """Say what is kept of a layer beyond the deepest. A vector has nothing to pool."""
    if pool == "none" or len(output.shape) == 1:
        return output
    return EmbeddingPart(name=output.name, shape=(PYRAMID_VECTORS, output.shape[-1]))


def is_pooled(shape: Shape) -> bool:
    """Say whether a part is a pyramid's vectors, of shape (10, channels)."""
    return len(shape) == 2


def joined(outputs: Sequence[Any], parts: Sequence[EmbeddingPart]) -> NDArray[np.float32]:
    """Make embeddings of a network's outputs, arrays in the order of the network."""
    arrays = [np.asarray(output, np.float32) for output in outputs]
    if not parts:
        (only,) = arrays
        return only
    ordered = [arrays[-1], *arrays[:-1]]
    flat = []
    for array, part in zip(ordered, parts, strict=True):
        kept = np.stack(pyramid(array, _average), axis=1) if is_pooled(part.shape) else array
        flat.append(kept.reshape(len(array), -1))
    return np.concatenate(flat, axis=1)


def joined_tensors(outputs: Sequence[Any], parts: Sequence[EmbeddingPart]) -> Any:
    """Do what `joined` does with tensors, as a part of a larger TensorFlow graph."""
    import tensorflow as tf

    tensors = [tf.cast(output, tf.float32) for output in outputs]
    if not parts:
        (only,) = tensors
        return only
    flat = []
    for tensor, part in zip([tensors[-1], *tensors[:-1]], parts, strict=True):
        if is_pooled(part.shape):
            vectors = pyramid(tensor, lambda grid: tf.reduce_mean(grid, axis=(1, 2)))
            tensor = tf.stack(vectors, axis=1)
        flat.append(tf.reshape(tensor, (-1, part.size)))
    return tf.concat(flat, axis=1)


def _average(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    average: NDArray[np.float32] = grid.mean(axis=(1, 2), dtype=np.float32)
    return average
