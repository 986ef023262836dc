"""Files with flipped, cut, repeated and foreign bytes: a result, or one error in one line."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.fuzz.conftest import FORMS, Limits, try_all
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.timeout(180)


@FORMS
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_a_result_or_one_error(name: str, limits: Limits, how: settings) -> None:
    prepared = TARGETS[name](limits.folder)
    for seed in prepared.seeds:
        assert prepared.outcome(seed) == "", "the seed is not whole"
    assert try_all(limits, how, damaged(prepared.seeds), prepared)[True]
