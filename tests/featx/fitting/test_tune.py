"""Tuning from a cache to a run: what is searched, scored, kept and promised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import pytest

from featx._run import load_run
from featx.errors import InputError, NoFeasibleThresholdError, SpecMismatchError
from featx.fitting import tune
from featx.fitting._studies import find_study, study_folder
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx.runs._record_parts import TuningRecord
from featx.training import load_training_data, out_of_fold
from featx.tuning import Budget, SearchSpec
from featx.tuning._scorer import Scorer
from featx.tuning._storage import StudyLocation, open_storage
from featx_cache import Cache
from featx_cache.files import lock
from tests.folds import use_two_folds

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

LOGREG = HeadSpec.choose("logreg")
THRESHOLDS = SearchSpec(heads=(LOGREG,), accuracy_floor=0.6, threshold_only=True)


def tuning_of(run: FittedRun) -> TuningRecord:
    assert run.record.tuning is not None
    return run.record.tuning


def studied(run: Path, name: str | None = None) -> optuna.Study:
    """Load the study that a run keeps."""
    storage = open_storage(StudyLocation(run / "study", None, ""))
    return optuna.load_study(study_name=name or run.name, storage=storage)


@pytest.fixture(scope="module")
def tuned(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> FittedRun:
    spec = SearchSpec(heads=(LOGREG,), accuracy_floor=0.6)
    return tune(cache, spec, tmp_path_factory.mktemp("tuned") / "run", budget=Budget(12))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[HeadSpec]:
    """Record which settings were scored out of fold."""
    seen: list[HeadSpec] = []

    def count(spec: HeadSpec, *arguments: Any, **options: Any) -> Any:
        seen.append(spec)
        return out_of_fold(spec, *arguments, **options)

    monkeypatch.setattr("featx.tuning._scorer.out_of_fold", count)
    return seen


class TestRun:
    def test_it_is_a_run_like_any_other(self, tuned: FittedRun, cache: Cache) -> None:
        run = load_run(tuned.path)
        evaluation = run.evaluate(cache)
        assert evaluation.metrics.threshold == tuning_of(tuned).threshold
        assert evaluation.metrics.images == (cache.images["split"] == "test").sum()
        assert sorted(path.name for path in tuned.path.iterdir()) == [
            "fit.log",
            "head.skops",
            "oof.csv",
            "oof_copies.csv",
            "reference.h5",
            "run.json",
            "study",
            "training.txt",
        ]
        assert not study_folder(tuned.path).exists()

    def test_its_metrics_are_of_fresh_folds(self, tuned: FittedRun, cache: Cache) -> None:
        untouched, copies = (
            pd.read_csv(tuned.path / name) for name in ("oof.csv", "oof_copies.csv")
        )
        scores = pd.concat([untouched, copies])
        truth = scores["label"] == cache.classes[1]
        called = scores["score"] >= tuned.record.threshold
        searched, spec = tuning_of(tuned), tuned.record.head
        fresh = {"recall": called[truth].mean(), "accuracy": (called == truth).mean()}
        for name in ("recall", "accuracy"):
            optimism = searched[name] - fresh[name]
            assert searched.optimism[name] == pytest.approx(optimism)
        assert not np.allclose(tune_scores(cache, spec, seed=0), untouched["score"])
        assert np.allclose(tune_scores(cache, spec, seed=1), untouched["score"])

    def test_the_record_says_how_it_was_found(self, tuned: FittedRun) -> None:
        record = json.loads((tuned.path / "run.json").read_text())
        assert record["tuning"]["sampler"] == "tpe"
        assert record["tuning"]["trials"]["complete"] >= 12
        assert record["tuning"]["recall"] == tuning_of(tuned).recall
        assert record["promise"] is None

    def test_trials_say_what_they_achieve(self, tuned: FittedRun) -> None:
        study = studied(tuned.path)
        for trial in study.trials:
            assert set(trial.user_attrs) - {"source"} == {
                "accuracy",
                "specificity",
                "roc_auc",
                "fit_seconds",
                "feasible",
            }
            assert trial.constraints == {
                "accuracy_floor": pytest.approx(0.6 - trial.user_attrs["accuracy"])
            }
        assert study.metric_names == ["recall"]
        first = study.trials[0].params
        assert first["logreg.C"] == LOGREG.settings.C  # type: ignore[union-attr]

    def test_the_same_search_repeats(self, tuned: FittedRun, cache: Cache, tmp_path: Path) -> None:
        spec = SearchSpec(heads=(LOGREG,), accuracy_floor=0.6)
        again = tune(cache, spec, tmp_path / "run", budget=Budget(12))
        first, second = (studied(r).trials[:12] for r in (tuned.path, again.path))
        assert [t.params for t in first] == [t.params for t in second]
        assert [t.values for t in first] == [t.values for t in second]


def tune_scores(cache: Cache, spec: HeadSpec, seed: int) -> Any:
    data = load_training_data(cache, spec, use_copies=True)
    return out_of_fold(spec, data, seed=seed)[0]["score"]


class TestMemory:
    @pytest.mark.long
    def test_a_setting_is_fitted_once_for_all_its_thresholds(
        self, cache: Cache, tmp_path: Path, fits: list[HeadSpec]
    ) -> None:
        run = tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(40))
        assert fits == [LOGREG]
        assert len({t.params["threshold"] for t in studied(run.path).trials}) >= 40

    def test_scores_outlive_the_process_and_the_floor(
        self, cache: Cache, tmp_path: Path, fits: list[HeadSpec]
    ) -> None:
        run = tmp_path / "run"
        high = THRESHOLDS.model_copy(update={"accuracy_floor": 1.0})
        with pytest.raises(NoFeasibleThresholdError, match="the nearest is 0") as caught:
            tune(cache, high, run, budget=Budget(5))
        assert caught.value.best_accuracy < 1.0
        assert not run.exists()
        with pytest.raises(SpecMismatchError, match=r"accuracy_floor: 1.0 -> 0.6"):
            tune(cache, THRESHOLDS, run, budget=Budget(5))
        tune(cache, THRESHOLDS, run, budget=Budget(5), force=True)
        assert len(fits) == 1
        assert {t.number for t in studied(run).trials} <= set(range(6))

    def test_what_is_kept_is_no_pickle(self, cache: Cache, tmp_path: Path) -> None:
        high = THRESHOLDS.model_copy(update={"accuracy_floor": 1.0})
        with pytest.raises(NoFeasibleThresholdError):
            tune(cache, high, tmp_path / "run", budget=Budget(2))
        kept = [p for p in study_folder(tmp_path / "run").rglob("*") if p.is_file()]
        (result,) = [p for p in kept if p.suffix in (".pkl", ".npz")]
        assert result.suffix == ".npz"
        with np.load(result, allow_pickle=False) as arrays:
            assert arrays["scores"].dtype == np.float64


class TestGoingOn:
    def test_a_study_of_an_earlier_version_is_the_same_search(self) -> None:
        written = THRESHOLDS.model_dump(mode="json")
        assert list(written) == [
            "heads", "fixed", "accuracy_floor", "objective", "threshold_only", "use_copies",
            "guarantee", "recall_floor", "seed",
        ]  # fmt: skip
        assert SearchSpec.model_validate_json(THRESHOLDS.model_dump_json()) == THRESHOLDS
        named = SearchSpec(heads=(LOGREG,), youden=True)
        assert named.accuracy_floor is None
        assert SearchSpec.model_validate_json(named.model_dump_json()) == named

    def test_a_study_that_another_search_made_is_refused(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path}/study.db"
        tune(cache, THRESHOLDS, tmp_path / "a", budget=Budget(3), study="s", storage=url)
        other = THRESHOLDS.model_copy(update={"seed": 1})
        with pytest.raises(SpecMismatchError, match="seed: 0 -> 1"):
            tune(cache, other, tmp_path / "b", budget=Budget(3), study="s", storage=url)
        pareto = THRESHOLDS.model_copy(update={"objective": "pareto"})
        with pytest.raises(InputError, match="objective: constrained -> pareto"):
            tune(cache, pareto, tmp_path / "b", budget=Budget(3), study="s", storage=url)
        assert not study_folder(tmp_path / "b").exists()

    def test_a_study_of_other_embeddings_is_refused(
        self, cache: Cache, make_cache: Any, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path}/study.db"
        tune(cache, THRESHOLDS, tmp_path / "a", budget=Budget(2), study="s", storage=url)

        def fewer(contents: Any) -> None:
            contents.images.loc[contents.images.index[0], "label"] = "PNEUMONIA"

        other = make_cache(tmp_path / "other", change=fewer)
        with pytest.raises(SpecMismatchError, match="images: "):
            tune(other, THRESHOLDS, tmp_path / "b", budget=Budget(2), study="s", storage=url)

    @pytest.mark.long
    def test_trials_are_counted_over_all_who_search(self, cache: Cache, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/study.db"
        options: dict[str, Any] = {"study": "s", "storage": url}
        tune(cache, THRESHOLDS, tmp_path / "a", budget=Budget(4), **options)
        tune(cache, THRESHOLDS, tmp_path / "b", budget=Budget(9), **options)
        tune(cache, THRESHOLDS, tmp_path / "c", budget=Budget(9), **options)
        study = optuna.load_study(study_name="s", storage=url)
        assert sum("source" not in t.user_attrs for t in study.trials) == 9
        records = [json.loads((tmp_path / r / "run.json").read_text()) for r in "bc"]
        assert records[0]["threshold"] == records[1]["threshold"]
        assert records[0]["tuning"]["storage"] == url

    def test_a_study_that_featx_did_not_make_is_refused(self, cache: Cache, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/study.db"
        study = optuna.create_study(storage=url, study_name="s", direction="maximize")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        with pytest.raises(InputError, match="was not made by featx"):
            tune(cache, THRESHOLDS, tmp_path / "b", budget=Budget(2), study="s", storage=url)

    def test_a_damaged_journal_is_named(self, cache: Cache, tmp_path: Path) -> None:
        folder = study_folder(tmp_path / "run")
        folder.mkdir()
        (folder / "study.journal").write_text("not a journal\n{}\n")
        with pytest.raises(Exception, match=r"study.journal can't be read") as caught:
            tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(2))
        assert "`force=True`" in str(caught.value)

    def test_files_of_somebody_else_beside_the_run_are_kept(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        folder = study_folder(tmp_path / "run")
        folder.mkdir()
        (folder / "thesis.docx").write_text("mine")
        for force in (False, True):
            with pytest.raises(InputError, match=r"thesis\.docx isn't of featx"):
                tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(2), force=force)
            assert [path.name for path in folder.iterdir()] == ["thesis.docx"]
        (folder / "thesis.docx").unlink()
        folder.rmdir()
        (tmp_path / "mine").mkdir()
        folder.symlink_to(tmp_path / "mine")
        with pytest.raises(InputError, match="isn't of featx"):
            tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(2))
        assert folder.is_symlink()

    def test_a_tuned_run_is_replaced_with_its_study(
        self, tuned: FittedRun, cache: Cache, tmp_path: Path
    ) -> None:
        run = Path(shutil.copytree(tuned.path, tmp_path / "run"))
        with pytest.raises(InputError, match="there is a run"):
            tune(cache, THRESHOLDS, run, budget=Budget(2))
        (run / "study" / "study.journal.lock").symlink_to("study.journal")
        (run / "study" / "thesis.docx").write_text("mine")
        with pytest.raises(InputError, match=r"thesis\.docx isn't of featx"):
            tune(cache, THRESHOLDS, run, budget=Budget(2), force=True)
        assert (run / "study" / "thesis.docx").read_text() == "mine"
        (run / "study" / "thesis.docx").unlink()
        tune(cache, THRESHOLDS, run, budget=Budget(2), force=True)
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
        assert len(studied(run).trials) <= 3


class TestPareto:
    def test_the_front_is_a_table_and_a_figure(self, cache: Cache, tmp_path: Path) -> None:
        spec = THRESHOLDS.model_copy(update={"objective": "pareto"})
        run = tune(cache, spec, tmp_path / "run", budget=Budget(40, sampler="nsga2"))
        front = pd.read_csv(run.path / "study" / "front.csv")
        assert list(front.columns[:3]) == ["trial", "recall", "accuracy"]
        assert front["accuracy"].is_monotonic_increasing
        assert front["recall"].is_monotonic_decreasing
        trials = studied(run.path).trials
        for row in front.itertuples():
            assert not any(
                t.values[0] >= row.recall
                and t.values[1] >= row.accuracy
                and t.values != [row.recall, row.accuracy]
                for t in trials
            )
        for suffix in ("png", "svg"):
            assert (run.path / "study" / f"front.{suffix}").stat().st_size > 5000
        assert tuning_of(run).accuracy >= 0.6
        assert any(t.values[1] < 0.6 for t in trials)


class TestGuarantee:
    def test_the_promise_is_calibrated_on_patients_that_nobody_saw(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        spec = THRESHOLDS.model_copy(update={"accuracy_floor": 0.3, "guarantee": 0.6})
        run = tune(cache, spec, tmp_path / "run", budget=Budget(5))
        record = run.record
        promise = record.promise
        assert promise is not None
        assert record.threshold == promise.threshold == record.metrics.out_of_fold.threshold
        assert "With 60% confidence" in promise.sentence
        scored = pd.read_csv(run.path / "oof.csv")
        fitted = cache.images[cache.images["split"].isin(["train", "val"])]
        apart = set(fitted["group"]) - set(scored["group"])
        assert len(apart) == promise.patients > 0
        assert not set(scored["group"]) & apart
        known = (run.path / "training.txt").read_text().split()
        assert set(known) == set(fitted["sha256"])

    def test_patients_who_share_an_image_are_set_aside_together(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def share(made: Contents) -> None:
            sha256 = made.images["sha256"].to_numpy().copy()
            sha256[4::8], sha256[6::8] = sha256[0::8], sha256[2::8]  # every other two of a class
            made.images["sha256"] = sha256

        cache = make_cache(tmp_path / "cache", change=share)
        search = SearchSpec(heads=(LOGREG,), accuracy_floor=0.3, guarantee=0.6)
        scorer = Scorer(cache, search, tmp_path / "scores")
        data = scorer.data(LOGREG)
        assert data.set_aside is not None
        assert not set(data.searched.table["sha256"]) & set(data.set_aside.table["sha256"])
        assert len(scorer(LOGREG).scores) == len(scorer.table)

    def test_what_cant_be_promised_says_what_would_do(self, cache: Cache, tmp_path: Path) -> None:
        spec = THRESHOLDS.model_copy(update={"guarantee": 0.999})
        with pytest.raises(NoFeasibleThresholdError, match="can't be promised from"):
            tune(cache, spec, tmp_path / "run", budget=Budget(5))
        assert not (tmp_path / "run").exists()


class TestKeras:
    @pytest.mark.long
    def test_hopeless_trainings_are_stopped_and_the_time_is_told(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_two_folds(monkeypatch)
        # The median of so few images says little: every second trial falls behind after an epoch.
        monkeypatch.setattr(
            optuna.pruners.MedianPruner, "prune", lambda *given: given[-1].number % 2 == 1
        )
        settings = {"architecture": "gap", "epochs": 3, "precision": "float32"}
        spec = SearchSpec(
            heads=(HeadSpec.choose("keras", settings=settings),),
            fixed={"keras": ("architecture", "epochs", "dense_units", "label_smoothing")},
            accuracy_floor=0.5,
        )
        run = tune(cache, spec, tmp_path / "run", budget=Budget(8, sampler="random"))
        study = studied(run.path)
        pruned = study.get_trials(states=(optuna.trial.TrialState.PRUNED,))
        assert len(pruned) == tuning_of(run).trials["pruned"] > 0
        for trial in pruned:
            assert list(trial.intermediate_values) == [1]
            assert trial.user_attrs["seconds_saved"] > 0
        assert tuning_of(run).seconds_saved_by_pruning > 0
        complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        assert {tuple(t.intermediate_values) for t in complete if "source" not in t.user_attrs} == {
            (1, 2, 3)
        }
        assert (run.path / "tensorboard").is_dir()


class TestSeveral:
    def test_all_heads_are_searched_together(self, cache: Cache, tmp_path: Path) -> None:
        heads = tuple(HeadSpec.choose(name) for name in ("logreg", "knn", "lda"))
        spec = SearchSpec(heads=heads, accuracy_floor=0.5)
        run = tune(cache, spec, tmp_path / "run", budget=Budget(9))
        trials = studied(run.path).trials
        assert [t.params["head"] for t in trials[:3]] == ["logreg", "knn", "lda"]
        for trial in trials:
            head = trial.params["head"]
            rest = set(trial.params) - {"head", "threshold"}
            assert rest
            assert all(name.startswith(f"{head}.") for name in rest)

    def test_two_processes_share_the_trials(self, cache: Cache, tmp_path: Path) -> None:
        run = tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(20, jobs=2))
        trials = [t for t in studied(run.path).trials if "source" not in t.user_attrs]
        assert [t.number for t in trials] == list(range(20))
        assert len({t.params["threshold"] for t in trials}) >= 19

    def test_a_grid_ends_where_it_has_no_more_points(self, cache: Cache, tmp_path: Path) -> None:
        run = tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(50, sampler="grid"))
        own = [t for t in studied(run.path).trials if "source" not in t.user_attrs]
        assert {t.params["threshold"] for t in own} >= {0.05, 0.5, 0.95}
        assert 19 <= len(own) <= 20

    def test_time_ends_a_search(self, cache: Cache, tmp_path: Path) -> None:
        run = tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(100000, timeout=1.0))
        assert 0 < tuning_of(run).trials["complete"] < 2000


class TestSamplers:
    @pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp"])
    def test_each_finds_a_feasible_trial(self, sampler: Any, cache: Cache, tmp_path: Path) -> None:
        if sampler == "gp":
            pytest.importorskip("torch", reason="the sampler gp needs PyTorch")
        run = tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(24, sampler=sampler))
        own = [t for t in studied(run.path).trials if "source" not in t.user_attrs]
        assert len(own) == 24
        assert any(t.user_attrs["feasible"] for t in own)
        assert tuning_of(run).accuracy >= 0.6

    @pytest.mark.long
    def test_a_sampler_learns_of_the_floor(self, cache: Cache, tmp_path: Path) -> None:
        shares = {}
        for sampler in ("random", "tpe"):
            run = tune(
                cache,
                THRESHOLDS,
                tmp_path / sampler,
                budget=Budget(60, sampler=sampler),
            )
            late = studied(run.path).trials[30:60]
            shares[sampler] = np.mean([t.user_attrs["feasible"] for t in late])
        assert shares["tpe"] > shares["random"]

    @pytest.mark.long
    def test_hyperband_goes_with_keras(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_two_folds(monkeypatch)
        settings = {"architecture": "gap", "epochs": 3, "precision": "float32"}
        spec = SearchSpec(
            heads=(HeadSpec.choose("keras", settings=settings),),
            fixed={"keras": tuple(settings)},
            accuracy_floor=0.4,
        )
        run = tune(
            cache, spec, tmp_path / "run", budget=Budget(4, sampler="random", pruner="hyperband")
        )
        trials = tuning_of(run).trials
        assert trials["complete"] + trials["pruned"] >= 4


class TestTogether:
    def test_one_command_at_a_time_works_on_a_run(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("featx.fitting._tune.LOCK_WAIT_SECONDS", 0.1)
        with (
            lock(study_folder(tmp_path / "run")),
            pytest.raises(InputError, match=r"another featx is at work on .*help with its trials"),
        ):
            tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(2))
        tune(cache, THRESHOLDS, tmp_path / "run", budget=Budget(2))


class TestFinding:
    def test_a_study_that_goes_on_is_found_beside_its_run(self, tmp_path: Path) -> None:
        folder = study_folder(tmp_path / "run")
        folder.mkdir()
        (folder / "study.journal").touch()
        found = find_study(tmp_path / "run", "sqlite:///of-other-studies.db")
        assert found.location == StudyLocation(folder, None, "run")
        assert found.artifacts == folder / "artifacts"

    def test_a_fitted_run_has_the_study_of_its_threshold(self, fitted: FittedRun) -> None:
        found = find_study(fitted.path, "sqlite:///of-other-studies.db")
        study = studied(fitted.path, found.location.name)
        assert len(study.trials) == fitted.record.search.trials
        assert study.metric_names == ["recall", "accuracy"]
        chosen = max(study.best_trials, key=lambda trial: trial.values)
        assert chosen.params["threshold"] == fitted.record.threshold

    def test_a_run_of_an_earlier_version_has_none(self, fitted: FittedRun, tmp_path: Path) -> None:
        run = shutil.copytree(fitted.path, tmp_path / "run")
        shutil.rmtree(run / "study")
        with pytest.raises(InputError, match="has no study"):
            find_study(run, None)
