"""Trials whose process was killed are begun again."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from featx.tuning import _storage as storage
from featx.tuning._storage import RunningTrials
from featx_cache.files import _claims as claims


@pytest.mark.parametrize("claim", [False, True], ids=["before its claim", "before it signed it"])
def test_a_trial_that_was_killed_is_waited_for_and_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: bool
) -> None:
    monkeypatch.setattr(storage, "UNCLAIMED_SECONDS", 0.2)
    monkeypatch.setattr(claims, "UNSIGNED_SECONDS", 0.2)
    study = optuna.create_study()
    killed = study.ask()
    running = RunningTrials(study, tmp_path)
    if claim:
        (tmp_path / f".trial-{killed.number}.lock").touch()
    while running.retry_dead():
        time.sleep(0.02)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
