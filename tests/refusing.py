"""Refusals of files and folders, in one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featx_cache import InputError


def refused(use: Callable[[Path], object], path: Path) -> str:
    """Use a file or folder that has to be refused. Return what was said."""
    with pytest.raises(InputError) as caught:
        use(path)
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said
    return said
