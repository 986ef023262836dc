"""Importing TensorFlow and Keras, with or without their log."""

from __future__ import annotations

from featx_cli.console import is_verbose


def import_quietly() -> None:
    """Import TensorFlow and Keras now. Their log is shown only if verbose."""
    if is_verbose():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    else:
        from featx._silence import import_tensorflow as silently

        silently()
