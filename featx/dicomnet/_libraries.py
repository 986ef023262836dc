"""The libraries of the extra ``dicomnet``: whether they are there, and that they are silent."""

from __future__ import annotations

import importlib.util
import logging

from featx.data._dicom import silence_pydicom
from featx.errors import InputError

_LIBRARIES = ("pynetdicom", "highdicom", "requests")
_INSTALL = "Install them with `pip install 'featx[dicomnet]'`."


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
