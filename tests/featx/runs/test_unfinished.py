"""The state of a training beside its run: when it stays, when it goes, when it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from featx._progress import SILENT
from featx.errors import InputError, NoFeasibleThresholdError, SpecMismatchError, StorageError
from featx.fitting import fit
from featx.heads import HeadSpec, KerasHead, load_head
from featx.runs._unfinished import describe_training, unfinished
from featx_cache import Cache

SPEC = HeadSpec.choose(
    "keras",
    settings={
        "architecture": "gap",
        "dense_units": (),
        "epochs": 2,
        "batch_size": 16,
        "precision": "float32",
    },
)
TABLE = pd.DataFrame({"sha256": ["a", "b"], "label": "A", "group": "g", "copy": [0, 1]})


class Notes:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.task = SILENT.task

    def note(self, message: str) -> None:
        self.notes.append(message)


def weights_of(run: Path) -> list[Any]:
    head = load_head(run / "head.keras")
    assert isinstance(head, KerasHead)
    return list(head.model_.get_weights())


def describe(spec: HeadSpec, table: pd.DataFrame, floor: float, folds: int = 5) -> dict[str, Any]:
    return describe_training(spec, "f", table, accuracy_floor=floor, folds=folds)


def enter(run: Path, job: dict[str, Any], *, resume: bool = False, error: Any = None) -> list[str]:
    """Open and leave the folder, by an error if there is one. Return what was noted."""
    progress = Notes()
    with unfinished(run, job, resume=resume, progress=progress) as folder:
        (folder / "final").mkdir()
        if error is not None:
            raise error
    return progress.notes


class TestFolder:
    def test_it_is_gone_when_all_went_well(self, tmp_path: Path) -> None:
        enter(tmp_path / "new" / "run", {"a": 1})
        assert not list((tmp_path / "new").iterdir())

    @pytest.mark.parametrize(
        "error",
        [KeyboardInterrupt(), SystemExit(), NoFeasibleThresholdError("none", best_accuracy=0.5)],
    )
    def test_an_interruption_or_a_floor_out_of_reach_keeps_it(
        self, tmp_path: Path, error: BaseException
    ) -> None:
        with pytest.raises(type(error)):
            enter(tmp_path / "run", {"a": 1}, error=error)
        assert (tmp_path / "run.unfinished" / "final").exists()

    @pytest.mark.parametrize("error", [InputError("bad"), StorageError("full")])
    def test_another_error_leaves_nothing(self, tmp_path: Path, error: Exception) -> None:
        with pytest.raises(type(error)):
            enter(tmp_path / "a" / "b" / "run", {"a": 1}, error=error)
        assert not list(tmp_path.iterdir())

    def test_without_resume_it_starts_over_and_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            enter(tmp_path / "run", {"a": 1}, error=KeyboardInterrupt())
        assert "Starting over" in enter(tmp_path / "run", {"a": 2})[0]

    def test_another_training_s_state_is_refused_by_what_differs(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            enter(tmp_path / "run", {"head": {"seed": 0}}, error=KeyboardInterrupt())
        with pytest.raises(SpecMismatchError, match=r"head\.seed: 0 -> 1"):
            enter(tmp_path / "run", {"head": {"seed": 1}}, resume=True)
        assert (tmp_path / "run.unfinished" / "final").exists()

    def test_resume_with_nothing_there_begins(self, tmp_path: Path) -> None:
        assert enter(tmp_path / "run", {"a": 1}, resume=True) == []

    def test_a_damaged_job_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run.unfinished").mkdir()
        (tmp_path / "run.unfinished" / "job.json").write_text("{")
        with pytest.raises(InputError, match=r"no readable job\.json"):
            enter(tmp_path / "run", {"a": 1}, resume=True)

    def test_two_do_not_train_for_one_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("featx.runs._unfinished.LOCK_WAIT_SECONDS", 0.1)
        run = tmp_path / "run"
        with unfinished(run, {"a": 1}, resume=False, progress=SILENT) as folder:
            (folder / "fold-1").mkdir()
            for resume in (False, True):
                with pytest.raises(InputError, match=r"another featx is at work on .*unfinished"):
                    enter(run, {"a": 1}, resume=resume)
            assert (folder / "fold-1").exists()
        enter(run, {"a": 1})

    @pytest.mark.parametrize("resume", [False, True])
    @pytest.mark.parametrize("name", ["thesis.docx", "fold-1/thesis.npz", "fold-1/state-0.npz.bak"])
    def test_files_of_somebody_else_in_it_are_kept(
        self, tmp_path: Path, name: str, resume: bool
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            enter(tmp_path / "run", {"a": 1}, error=KeyboardInterrupt())
        file = tmp_path / "run.unfinished" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        with pytest.raises(InputError, match=f"{name} isn't of featx"):
            enter(tmp_path / "run", {"a": 1}, resume=resume)
        assert file.read_text() == "mine"

    def test_a_file_that_comes_meanwhile_is_kept(self, tmp_path: Path) -> None:
        with unfinished(tmp_path / "run", {}, resume=False, progress=SILENT) as folder:
            (folder / "final").mkdir()
            (folder / "thesis.docx").write_text("mine")
        assert [path.name for path in folder.iterdir()] == ["thesis.docx"]

    def test_a_link_in_the_way_is_kept_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "mine" / "final").mkdir(parents=True)
        (tmp_path / "run.unfinished").symlink_to(tmp_path / "mine")
        with pytest.raises(InputError, match="in the way"):
            enter(tmp_path / "run", {"a": 1})
        assert (tmp_path / "mine" / "final").is_dir()

    def test_a_file_in_the_way_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "run.unfinished").write_text("mine")
        with pytest.raises(InputError, match="in the way"):
            enter(tmp_path / "run", {"a": 1})
        assert (tmp_path / "run.unfinished").read_text() == "mine"


class TestDescription:
    @pytest.mark.parametrize("column", ["sha256", "label", "group", "copy"])
    def test_it_depends_on_the_images_their_labels_patients_and_copies(self, column: str) -> None:
        other = TABLE.assign(**{column: 7})
        assert describe(SPEC, TABLE, 0.9) == describe(SPEC, TABLE.copy(), 0.9)
        assert describe(SPEC, TABLE, 0.9) != describe(SPEC, other, 0.9)

    def test_the_floor_counts_only_where_the_stopping_rule_looks_at_it(self) -> None:
        dual = HeadSpec.choose("keras", settings={"stopping": "dual", "precision": "float32"})
        assert describe(SPEC, TABLE, 0.9) == describe(SPEC, TABLE, 0.8)
        assert describe(dual, TABLE, 0.9) != describe(dual, TABLE, 0.8)

    def test_it_depends_on_the_folds_and_five_are_what_earlier_versions_had(self) -> None:
        assert "folds" not in describe(SPEC, TABLE, 0.9)
        assert describe(SPEC, TABLE, 0.9, folds=3)["folds"] == 3


@pytest.mark.long
@pytest.mark.usefixtures("two_folds")
def test_a_floor_out_of_reach_is_lowered_without_training_again(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoFeasibleThresholdError):
        fit(cache, SPEC, tmp_path / "run", accuracy_floor=1.0)
    whole = fit(cache, SPEC, tmp_path / "whole", accuracy_floor=0.0).path

    import keras

    epochs = Mock(side_effect=keras.Sequential.fit)
    monkeypatch.setattr(keras.Sequential, "fit", lambda *a, **k: epochs(*a, **k))
    run = fit(cache, SPEC, tmp_path / "run", accuracy_floor=0.0, resume=True).path
    assert epochs.call_count == 1  # the final fit, which had not begun
    assert (run / "oof.csv").read_bytes() == (whole / "oof.csv").read_bytes()
    weights = zip(weights_of(run), weights_of(whole), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)


@pytest.mark.long
@pytest.mark.usefixtures("two_folds")
def test_tensorboard_has_a_folder_for_each_training_and_each_member(
    cache: Cache, tmp_path: Path
) -> None:
    settings = {**SPEC.settings.model_dump(), "epochs": 1}
    trainings = ["fold-1", "fold-2", "final"]
    for ensemble, names in (
        (1, trainings),
        (2, [f"{training}-member-{m}" for training in trainings for m in (1, 2)]),
    ):
        spec = HeadSpec.choose("keras", settings=settings | {"ensemble": ensemble})
        run = fit(cache, spec, tmp_path / f"{ensemble}", accuracy_floor=0.0).path
        assert sorted(p.name for p in (run / "tensorboard").iterdir()) == sorted(names)
