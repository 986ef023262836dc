"""TensorFlow, Keras, Optuna and loky without the lines that nobody asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

BACKEND = "tensorflow"


def set_log_levels() -> None:
    """Tell TensorFlow, before it is imported, to log errors only. A user's own settings stay."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def import_tensorflow() -> None:
    """Import TensorFlow and Keras silently, unless they are there already.

    Their native code writes lines before its log levels can be set, so the file descriptor itself
    is pointed elsewhere meanwhile. Failures still raise.
    """
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        return
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = BACKEND
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")
            # Each fold traces a network of its own, which TensorFlow takes for a mistake.
            tf.get_logger().setLevel("ERROR")
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def silent_optuna() -> Iterator[None]:
    """Keep Optuna from logging a line a trial, and from calling its parts experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def start_silent_tracker() -> None:
    """Start loky's process that removes what dead workers left, so that it does so silently.

    It outlives this process, and its warnings would follow the error that says that one died.
    """
    from joblib.externals.loky.backend import resource_tracker

    own = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*filter(None, [own]), "ignore:resource_tracker"])
    try:
        resource_tracker.ensure_running()
    finally:
        if own is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = own
