"""Building a network layer by layer, on embeddings of one layer or of several."""

from __future__ import annotations

import itertools
from typing import Any

from featx.backbones._parts import Shape, part_slices

PART = "part_{}"
"""Name of the Keras layer that gives a part of the embedding its shape."""


class NetworkBuilder:
    """A network that layers are added to. Of several parts, the layers see the main one.

    The other parts come to it as vectors when a layer needs vectors, in the first place where the
    main part has become one: grids averaged, vectors that were kept pooled all of them.

    Parameters
    ----------
    embedding_shape
        Shape of one embedding.
    parts
        Shapes of its parts, the main one first. Empty if it has none.
    """

    def __init__(self, embedding_shape: Shape, parts: tuple[Shape, ...] = ()) -> None:
        from keras import Input, Sequential

        self._start = Input(embedding_shape)
        self._sequential = None if parts else Sequential([self._start])
        self._waiting: list[Any] = []
        if parts:
            pieces = [_part(self._start, number, parts) for number in range(len(parts))]
            self._end, self._waiting = pieces[0], [_vector(piece) for piece in pieces[1:]]

    def add(self, layer: Any) -> None:
        """Add a layer."""
        if self._sequential is not None:
            self._sequential.add(layer)
            return
        self._join()
        self._end = layer(self._end)

    def network(self) -> Any:
        """Return the network so far: a Sequential, or a Model if there are parts."""
        from keras import Model

        if self._sequential is not None:
            return self._sequential
        self._join()
        return Model(self._start, self._end)

    def _join(self) -> None:
        from keras import layers

        if self._waiting and len(self._end.shape) == 2:
            self._end = layers.Concatenate()([self._end, *self._waiting])
            self._waiting = []


def parts_of(network: Any) -> tuple[Shape, ...]:
    """Return the shapes of the parts that a network takes. Empty if it takes no parts."""
    inner = [layer for layer in network.layers if hasattr(layer, "layers")]  # of an ensemble
    found = {layer.name: layer for layer in (inner[0] if inner else network).layers}
    numbers = itertools.takewhile(lambda n: PART.format(n) in found, itertools.count())
    return tuple(tuple(found[PART.format(number)].target_shape) for number in numbers)


def tower_of(network: Any) -> list[Any]:
    """Return the layers that the main part's grid goes through, its own layer first."""
    others = {PART.format(number) for number in range(1, len(parts_of(network)))}
    grids = [layer for layer in network.layers if len(layer.output.shape) == 4]
    return [layer for layer in grids if layer.name not in others]


def _part(embedding: Any, number: int, parts: tuple[Shape, ...]) -> Any:
    """Cut a part out of the vector of an embedding, with layers that Keras's safe mode reads."""
    from keras import layers

    where, (length,) = part_slices(parts)[number], embedding.shape[1:]
    column = layers.Reshape((length, 1))(embedding)
    cut = layers.Cropping1D((where.start, length - where.stop))(column)
    return layers.Reshape(parts[number], name=PART.format(number))(cut)


def _vector(part: Any) -> Any:
    from keras import layers

    if len(part.shape) == 4:
        return layers.GlobalAveragePooling2D(dtype="float32")(part)
    return layers.Flatten()(part) if len(part.shape) == 3 else part
