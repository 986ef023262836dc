"""Numbers in the names of Keras's layers, as if a network were the first in the process."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def fresh_layer_numbers() -> Iterator[None]:
    """Let Keras number layers from zero, and put its own state back afterwards.

    Keras names a layer without a name by the number of layers that were built before. The last
    layer of a ConvNeXt or NASNet is such a layer, and its name is in the fingerprint, so it mustn't
    depend on what was built before. Variables that a ``StatelessScope`` left unmade are forgotten.
    """
    # Keras's public `clear_session` would drop the caller's dtype policy and seeds too.
    from keras.src.backend.common import global_state

    fresh: dict[str, Any] = {
        "object_name_uids": collections.defaultdict(int),
        "uninitialized_variables": [],
    }
    kept = {name: global_state.get_global_attribute(name) for name in fresh}
    try:
        for name, value in fresh.items():
            global_state.set_global_attribute(name, value)
        yield
    finally:
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)
