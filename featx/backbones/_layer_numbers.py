"""Building networks as if they were the first in the process."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def fresh_layer_numbers() -> Iterator[None]:
    """Number layers from zero and, afterwards, put Keras's own state back as it was.

    Keras numbers layers that have no name by how many were built before in the process, and the
    last layer of a ConvNeXt or NASNet is such a one: its name is in the fingerprint, so it must not
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
