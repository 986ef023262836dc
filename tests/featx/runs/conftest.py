"""A made cache and a run on it that many tests read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from featx.heads import HeadSpec
from featx.runs import FitReport, fit
from featx_cache import Cache

if TYPE_CHECKING:
    from tests.featx.conftest import MakeCache


@pytest.fixture(scope="session")
def cache(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """The made cache as it is. Only read it."""
    return make_cache(tmp_path_factory.mktemp("made") / "cache")


@pytest.fixture(scope="session")
def report(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """A logistic regression on the made cache. Copy the run before a change."""
    run: Path = tmp_path_factory.mktemp("made-run") / "logreg"
    return fit(cache, HeadSpec(name="logreg"), run, accuracy_floor=0.6)
