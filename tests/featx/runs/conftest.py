"""A run on the made cache that many tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.heads import HeadSpec
from featx.runs import FitReport, fit
from featx_cache import Cache


@pytest.fixture(scope="session")
def report(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """A logistic regression on the made cache. Copy the run before a change."""
    run: Path = tmp_path_factory.mktemp("made-run") / "logreg"
    return fit(cache, HeadSpec(name="logreg"), run, accuracy_floor=0.6)
