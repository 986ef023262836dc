"""Which networks there are, and what each costs and gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from featx.backbones._layer_names import clean_slate
from featx.backbones._registry import Architecture, architecture, architectures
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import DEFAULT_INPUT

_BYTES_OF_FLOAT16 = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A network of ``keras.applications`` without its top.

    Attributes
    ----------
    name
        For ``--backbone``.
    input_size
        Side of the square input in pixels.
    parameters
        How many numbers its weights are; 0 where it can't take that input.
    embedding_shape
        Of its last layer; empty where it can't take that input.
    embedding_bytes
        Size of one embedding in a cache of float16, before compression.
    problem
        Why it can't take that input.
    """

    name: str
    input_size: int
    parameters: int = 0
    embedding_shape: tuple[int, ...] = ()
    embedding_bytes: int = 0
    problem: str = ""


def catalogue(names: Sequence[str] = (), input_size: int = DEFAULT_INPUT) -> Iterator[Entry]:
    """Describe networks one by one; none of their weights are made or loaded.

    Parameters
    ----------
    names
        Which; all when empty.
    input_size
        Side of the square input in pixels.

    Raises
    ------
    InputError
        For an unknown name.
    """
    wanted = [architecture(name) for name in names] or sorted(
        architectures().values(), key=lambda network: network.name
    )
    for network in wanted:
        yield _describe(network, input_size)


@own_keras_settings()
def _describe(network: Architecture, input_size: int) -> Entry:
    import keras

    try:
        # In this scope Keras makes no variables, only their shapes; without the argument it makes
        # up for that at the end, which takes gigabytes.
        with clean_slate(), keras.StatelessScope(initialize_variables=False):
            model = network.build(
                include_top=False, weights=None, input_shape=(input_size, input_size, 3)
            )
            shape = tuple(int(side) for side in model.output_shape[1:])
            parameters = int(model.count_params())
    except ValueError as error:
        return Entry(network.name, input_size, problem=str(error).splitlines()[0])
    size = _BYTES_OF_FLOAT16
    for side in shape:
        size *= side
    return Entry(network.name, input_size, parameters, shape, size)
