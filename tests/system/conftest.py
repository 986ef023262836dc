"""What the tests that try to break featx hold it to."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest


@pytest.fixture
def modest() -> Iterator[None]:
    """Fail where a test has made the process more than 500 MB larger."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024
