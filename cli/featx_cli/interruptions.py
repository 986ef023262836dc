"""Ctrl-C and requests to end: their exit codes, and an end that crashes nothing."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
TERMINATED, HUNG_UP = 143, 129


class Leaving:
    """Ends an interrupted process before anything that it worked on is taken apart.

    TensorFlow's threads may be in the middle of an epoch. If their data are freed, the process ends
    with a segmentation fault. Temporary files are gone by then.
    """

    code: int | None = None
    error: BaseException | None = None
    """The interruption, whose traceback holds what the command worked on."""

    def __call__(self) -> None:
        """End the process if it was interrupted."""
        if self.code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


def interruption_of(error: BaseException | None) -> int | None:
    """Return the code of the Ctrl-C or SIGTERM that caused an error."""
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if isinstance(error, SystemExit) and error.code == HUNG_UP:
        return HUNG_UP
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
