"""Fewer folds, so that tests are fast."""

from __future__ import annotations

import pytest

from featx.heads import PatientFolds


def use_two_folds(patch: pytest.MonkeyPatch) -> None:
    """Let every fit have two folds."""
    patch.setattr("featx.training._scoring.PatientFolds", lambda _, seed=0: PatientFolds(2, seed))
