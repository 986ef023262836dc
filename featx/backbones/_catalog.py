"""Size and embedding of each network that has a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from featx.backbones._layer_numbers import fresh_layer_numbers
from featx.backbones._mini import MINI
from featx.backbones._registry import Architecture, architecture, in_order
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import DEFAULT_INPUT
from featx_cache._text import first_line

_BYTES_OF_FLOAT16 = 2

PURPOSES = {
    MINI: "to try things: small and fast, comes with featx",
    "vgg19": "to publish: the study's network, the default",
}
"""Purposes of the networks that featx itself gives to its users."""


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """A network of `list_backbones` without its top. See `describe_backbones`.

    Attributes
    ----------
    name
        Name for `load_backbone`.
    input_size
        Side of the square input in pixels.
    parameters
        Number of its weights. It is 0 if the network can't take that input.
    embedding_shape
        Shape of its last layer's output. It is empty if the network can't take that input.
    embedding_bytes
        Size of one embedding in a cache of float16, before compression.
    problem
        Reason why the network can't take that input.
    purpose
        Purpose that the network is best for. It is empty for most.

    Examples
    --------
    >>> from featx.backbones import BackboneEntry
    >>> BackboneEntry("vgg19", 300, embedding_shape=(9, 9, 512)).name
    'vgg19'
    """

    name: str
    input_size: int
    parameters: int = 0
    embedding_shape: tuple[int, ...] = ()
    embedding_bytes: int = 0
    problem: str = ""
    purpose: str = ""


def describe_backbones(
    names: Sequence[str] = (), input_size: int = DEFAULT_INPUT
) -> Iterator[BackboneEntry]:
    """Describe networks one by one, without making or loading their weights.

    Parameters
    ----------
    names
        Names of the networks. All are described if there are none.
    input_size
        Side of the square input in pixels.

    Raises
    ------
    InputError
        If a name is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> from featx.backbones import describe_backbones
    >>> table = pd.DataFrame(describe_backbones(["vgg16", "vgg19"]))  # doctest: +SKIP
    >>> table["parameters"].tolist()  # doctest: +SKIP
    [14714688, 20024384]
    """
    for network in [architecture(name) for name in names] or in_order():
        yield describe(network, input_size)


@own_keras_settings()
def describe(network: Architecture, input_size: int) -> BackboneEntry:
    """Describe one network."""
    import keras

    purpose = PURPOSES.get(network.name, "")
    try:
        # In this scope Keras makes no variables, only their shapes; without the argument it makes
        # up for that at the end, which takes gigabytes.
        with fresh_layer_numbers(), keras.StatelessScope(initialize_variables=False):
            model = network.build(
                include_top=False, weights=None, input_shape=(input_size, input_size, 3)
            )
            shape = tuple(int(side) for side in model.output_shape[1:])
            parameters = int(model.count_params())
    except ValueError as error:
        return BackboneEntry(network.name, input_size, problem=first_line(error), purpose=purpose)
    size = _BYTES_OF_FLOAT16
    for side in shape:
        size *= side
    return BackboneEntry(network.name, input_size, parameters, shape, size, purpose=purpose)
