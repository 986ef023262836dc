"""Importing TensorFlow without the lines that its C++ libraries write to standard error."""

from __future__ import annotations

import os
import sys

from featx.backbones._settings import BACKEND


def import_quietly() -> None:
    """Import TensorFlow and Keras now, silently.

    The lines come from native code before its log levels can be set, so the file descriptor itself
    is pointed elsewhere meanwhile. Failures still raise.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), 2)
        os.environ["KERAS_BACKEND"] = BACKEND
        try:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")
            # Each fold traces a network of its own, which TensorFlow takes for a mistake.
            tf.get_logger().setLevel("ERROR")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
