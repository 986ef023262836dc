"""The libraries of the extra ``dicomnet``: whether they are there, and that they are silent."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable
from typing import Any

from featx.data._dicom import silence_pydicom
from featx.errors import InputError

_LIBRARIES = ("pynetdicom", "highdicom", "requests")
_INSTALL = "Install what is missing with `pip install 'featx[dicomnet]'`."


def require_libraries() -> None:
    """Refuse to go on without the libraries, and silence them: they quote what they send.

    Raises
    ------
    InputError
        If one isn't installed.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the DICOM network needs {' and '.join(missing)}", _INSTALL)
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    silence_pydicom()
    for name in ("pynetdicom", "highdicom", "urllib3"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    if not isinstance(threading.excepthook, _QuietHook):
        threading.excepthook = _QuietHook(threading.excepthook)


class _QuietHook:
    """Prints what ends a thread, unless it is one of pynetdicom: a peer said something wrong."""

    def __init__(self, usual: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self._usual = usual

    def __call__(self, ended: threading.ExceptHookArgs) -> None:
        if not type(ended.thread).__module__.startswith("pynetdicom."):
            self._usual(ended)
