"""Keras's own settings as featx needs them, whatever a keras.json or the caller has chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from featx._silence import BACKEND, import_tensorflow
from featx.errors import InputError

FLOAT, CHANNELS = "float32", "channels_last"


@contextlib.contextmanager
def own_keras_settings() -> Iterator[None]:
    """Use TensorFlow, float32 and channels last in a block, and put all back afterwards.

    Keras reads ``floatx``, ``image_data_format`` and its backend from ``keras.json``. They decide
    what a network computes and aren't part of any spec.
    """
    import_tensorflow()
    import keras

    if (backend := keras.config.backend()) != BACKEND:
        raise InputError(
            f"Keras runs on {backend} in this process, and featx needs TensorFlow",
            "Import featx before Keras, or set KERAS_BACKEND=tensorflow.",
        )
    kept = (
        keras.config.floatx(),
        keras.config.image_data_format(),
        keras.mixed_precision.dtype_policy(),
    )
    try:
        keras.config.set_floatx(FLOAT)
        keras.config.set_image_data_format(CHANNELS)
        keras.mixed_precision.set_dtype_policy(FLOAT)
        yield
    finally:
        keras.config.set_floatx(kept[0])
        keras.config.set_image_data_format(kept[1])
        keras.mixed_precision.set_dtype_policy(kept[2])
