"""Whether memory was refused: by the machine, or by a limit such as ``ulimit -v``."""

from __future__ import annotations

import errno


def lacks_memory(error: BaseException | None) -> bool:
    """Say whether a lack of memory is behind an error. Libraries have many words for it.

    Examples
    --------
    >>> lacks_memory(ImportError("x.so: failed to map segment from shared object"))
    True
    """
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            return True
        if isinstance(error, ImportError | RuntimeError | SystemError | OSError) and any(
            sign in str(error).lower() for sign in _ERROR_SIGNS
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


_ERROR_SIGNS = (
    "failed to map segment",  # ld.so, of a library to be imported
    "cannot allocate memory",
    "unable to allocate",  # HDF5, which raises OSError and RuntimeError
    "can't allocate",
    "memory allocation failed",
    "can't start new thread",
    "error return without exception set",  # CPython, when an import couldn't be told to have failed
)
