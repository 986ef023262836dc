"""Fitting a run: what is written, that it repeats, and that it is written whole or not at all."""

from __future__ import annotations

import copy
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx._run import load_run
from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError, StorageError
from featx.evaluation import evaluate_scores
from featx.fitting import _write_run as write_run
from featx.fitting import fit, fit_heads
from featx.heads import HeadSpec, load_head
from featx.runs import FittedRun
from featx.thresholds import choose_threshold
from featx_cache import Cache
from tests.folds import use_two_folds

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

LOGREG = HeadSpec.choose("logreg")
FILES = [
    *("fit.log", "head.skops", "oof.csv", "oof_copies.csv", "reference.h5", "run.json", "study"),
    "training.txt",
]


def record_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def contents_of(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    # The log and the head's archive have times in them, too, and hashes follow.
    changing = ("created", "seconds", "cache", "files", "checksum")
    return {k: v for k, v in record.items() if k not in changing}


def flat(metrics: dict[str, Any]) -> dict[str, float]:
    """Return metrics without nesting, for comparison."""
    return {str(name): value for name, value in pd.json_normalize(metrics).iloc[0].items()}


def in_cache(cache: Cache, path: Path) -> Any:
    """Score all untouched images of a cache with a run's head."""
    rows = cache.row_numbers(splits=None, copies=False)
    name = record_of(path)["head_file"]
    return load_head(path / name).predict_proba(cache.read(rows))


class TestWhatIsWritten:
    def test_the_run_has_these_files_and_no_others(self, fitted: FittedRun) -> None:
        assert sorted(path.name for path in fitted.path.iterdir()) == FILES

    def test_nothing_is_left_beside_it(self, fitted: FittedRun) -> None:
        assert [path.name for path in fitted.path.parent.iterdir()] == [fitted.path.name]

    def test_run_json_says_what_was_fitted_on_what_with_what_result(
        self, fitted: FittedRun, cache: Cache
    ) -> None:
        record = record_of(fitted.path)
        assert record["schema_version"] == 3
        assert record["head"] == {"name": "logreg"} | LOGREG.model_dump()
        assert record["head_file"] == "head.skops"
        assert record["extraction"] == cache.spec
        assert record["cache"] == str(cache.path.resolve())
        assert record["weights"] == cache.weights
        assert record["classes"] == ["NORMAL", "PNEUMONIA"]
        assert record["fitted_splits"] == ["train", "val"]
        assert (record["images"], record["patients"], record["copies"]) == (40, 20, 1)
        assert record["folds"] == 5
        assert record["seed"] == 0
        assert record["threshold"] == fitted.record.threshold
        assert record["accuracy_floor"] == record["criterion"]["accuracy_floor"] == 0.6
        assert record["choose_on"] == "both"
        assert set(record["metrics"]) == {"out_of_fold", "copies"}
        assert record["metrics"]["out_of_fold"] == fitted.record.metrics.out_of_fold.model_dump()
        assert len(record["fingerprint"]) == 64
        assert {"python", "featx", "tensorflow", "keras", "scikit-learn", "numpy"} <= set(
            record["versions"]
        )
        assert set(record["seconds"]) == {"out_of_fold", "final_fit", "predict_image"}

    def test_oof_csv_has_these_columns_in_this_order(self, fitted: FittedRun) -> None:
        lines = (fitted.path / "oof.csv").read_text().splitlines()
        assert lines[0] == "path,label,group,fold,score"
        assert len(lines) == 41

    def test_threshold_and_metrics_follow_from_the_out_of_fold_scores(
        self, fitted: FittedRun
    ) -> None:
        record, names = fitted.record, ("oof.csv", "oof_copies.csv")
        tables = [pd.read_csv(fitted.path / name) for name in names]
        both = Scores.from_table(pd.concat(tables), record.classes)
        point = choose_threshold(both, accuracy_floor=0.6)
        assert record.threshold == pytest.approx(point.threshold)
        assert point.accuracy >= 0.6
        for table, found in zip(
            tables, (record.metrics.out_of_fold, record.metrics.copies), strict=True
        ):
            again = evaluate_scores(Scores.from_table(table, record.classes), record.threshold)
            assert found is not None
            assert flat(again.as_dict()) == pytest.approx(flat(found.model_dump()))

    @pytest.mark.parametrize("choose_on", ["untouched", "copies"])
    def test_a_threshold_is_chosen_on_the_scores_that_were_asked_for(
        self, cache: Cache, tmp_path: Path, choose_on: Literal["untouched", "copies"]
    ) -> None:
        run = fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.5, choose_on=choose_on)
        name = {"untouched": "oof.csv", "copies": "oof_copies.csv"}[choose_on]
        scores = Scores.from_table(pd.read_csv(run.path / name), run.record.classes)
        point = choose_threshold(scores, accuracy_floor=0.5)
        assert run.record.threshold == pytest.approx(point.threshold)
        assert run.record.choose_on == choose_on
        assert run.chosen_scores.score == pytest.approx(scores.score)

    def test_the_log_tells_the_story_in_plain_lines(self, fitted: FittedRun) -> None:
        log = (fitted.path / "fit.log").read_text()
        assert "fitted logreg" in log
        assert "40 images of 20 patients" in log
        assert f"{fitted.record.threshold:.6g}" in log
        assert record_of(fitted.path)["fingerprint"] in log

    def test_the_training_images_are_listed_by_their_sha256(
        self, fitted: FittedRun, cache: Cache
    ) -> None:
        kept = cache.images[cache.images["split"] != "test"]
        listed = (fitted.path / "training.txt").read_text().split()
        assert sorted(listed) == sorted(kept["sha256"])

    def test_the_head_was_fitted_on_all_of_train_and_val(
        self, fitted: FittedRun, cache: Cache
    ) -> None:
        from featx.heads import build

        rows = cache.row_numbers(splits=("train", "val"), copies=True)
        table = cache.table(rows)
        y = (table["label"] == "PNEUMONIA").astype(int)
        # An image counts once, whether it has copies or not.
        weight = 1 / table.groupby("path")["copy"].transform("size").to_numpy()
        by_hand = build(LOGREG).fit(cache.read(rows), y, classifier__sample_weight=weight)
        everything = cache.read(cache.row_numbers(splits=None, copies=False))
        assert in_cache(cache, fitted.path) == pytest.approx(
            by_hand.predict_proba(everything), abs=1e-6
        )

    def test_a_file_name_that_is_not_utf8_survives(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def change(made: Contents) -> None:
            made.images.loc[0, "path"] = "train/NORMAL/\udcff.png"

        run = fit(
            make_cache(tmp_path / "cache", change=change),
            LOGREG,
            tmp_path / "run",
            accuracy_floor=0.5,
        ).path
        assert b"train/NORMAL/\xff.png,NORMAL" in (run / "oof.csv").read_bytes()


class TestChoosing:
    @pytest.mark.parametrize("folds", [2, 7])
    def test_the_number_of_folds(self, cache: Cache, tmp_path: Path, folds: int) -> None:
        run = fit(cache, "logreg", tmp_path / "run", accuracy_floor=0.5, folds=folds)
        assert run.record.folds == folds
        assert run.out_of_fold["fold"].nunique() == folds

    def test_a_classifier_of_one_s_own(self, cache: Cache, tmp_path: Path) -> None:
        own = make_pipeline(StandardScaler(), GaussianNB())
        run = fit(cache, own, tmp_path / "run", accuracy_floor=0.5)
        assert not hasattr(own[-1], "theta_")
        assert load_run(run.path).record == run.record
        assert run.record.head.name == "custom"
        assert run.score(cache.read(np.arange(3))).shape == (3,)


class TestRepeating:
    @pytest.mark.parametrize("name", ["logreg", "svm"])
    def test_two_fits_are_identical(self, cache: Cache, tmp_path: Path, name: Any) -> None:
        runs = [tmp_path / "one", tmp_path / "other"]
        for run in runs:
            fit(cache, HeadSpec.choose(name), run, accuracy_floor=0.5)
        one, other = runs
        assert (one / "oof.csv").read_bytes() == (other / "oof.csv").read_bytes()
        assert without_time(record_of(one)) == without_time(record_of(other))
        assert np.array_equal(in_cache(cache, one), in_cache(cache, other))

    def test_another_seed_gives_another_fit(
        self, cache: Cache, fitted: FittedRun, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        fit(cache, HeadSpec.choose("logreg", seed=1), run, accuracy_floor=0.6)
        assert (run / "oof.csv").read_bytes() != (fitted.path / "oof.csv").read_bytes()

    def test_the_test_split_is_never_looked_at(
        self, fitted: FittedRun, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def change(made: Contents) -> None:
            made.embeddings[made.rows(split="test")] = np.nan
            of_test = made.images["split"] == "test"
            made.images.loc[of_test, "label"] = "NORMAL"
            made.images.loc[of_test, "group"] = "p00"

        changed = make_cache(tmp_path / "cache", change=change)
        run = fit(changed, LOGREG, tmp_path / "run", accuracy_floor=0.6).path
        assert (run / "oof.csv").read_bytes() == (fitted.path / "oof.csv").read_bytes()
        assert without_time(record_of(run)) == without_time(record_of(fitted.path))
        rows = changed.row_numbers(splits=("train", "val"), copies=False)
        one, other = (load_head(r / "head.skops") for r in (run, fitted.path))
        X = changed.read(rows)
        assert np.array_equal(one.predict_proba(X), other.predict_proba(X))

    def test_without_copies_none_are_scored_or_chosen_on(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        run = fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.5, use_copies=False)
        assert (run.record.copies, run.record.choose_on) == (0, "untouched")
        assert run.record.metrics.copies is None
        assert run.out_of_fold_copies.empty
        assert len((run.path / "oof.csv").read_text().splitlines()) == 41

    def test_a_head_fitted_on_untouched_images_can_be_chosen_on_copies(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        run = fit(
            cache,
            LOGREG,
            tmp_path / "run",
            accuracy_floor=0.5,
            use_copies=False,
            choose_on="copies",
        )
        assert (run.record.copies, run.record.choose_on) == (0, "copies")
        assert len(run.out_of_fold_copies) == (cache.rows["copy"] > 0).sum()

    def test_a_class_without_copies_is_no_damage(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def apart(made: Contents) -> None:
            sick = made.images["label"] == "PNEUMONIA"
            made.images["split"] = np.where(sick, "val", "train")
            kept = (made.copy == 0) | ~sick.to_numpy()[made.image]
            made.image, made.copy, made.embeddings = (
                each[kept] for each in (made.image, made.copy, made.embeddings)
            )

        cache = make_cache(tmp_path / "cache", change=apart)
        run = fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.6)
        assert set(run.out_of_fold_copies["label"]) == {"NORMAL"}

    def test_copies_that_are_not_there_are_refused(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        bare = make_cache(tmp_path / "cache", copies=0)
        with pytest.raises(InputError, match="has no copies to choose a threshold on") as caught:
            fit(bare, LOGREG, tmp_path / "run", choose_on="both")
        assert caught.value.parameter == "choose_on"
        assert "into another cache with `augmentation='shift'`" in caught.value.hint
        with pytest.raises(InputError, match="kind of scores"):
            fit(bare, LOGREG, tmp_path / "run", choose_on="copys")  # type: ignore[arg-type]
        assert not (tmp_path / "run").exists()


class TestKeras:
    @pytest.mark.usefixtures("one_layer")
    def test_a_keras_run_repeats_and_is_read_back(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_two_folds(monkeypatch)
        spec = HeadSpec.choose("keras", settings={"epochs": 2})
        one, other = (
            fit(cache, spec, tmp_path / name, accuracy_floor=0.0) for name in ("one", "other")
        )
        assert record_of(one.path)["copies"] == 1
        assert sorted(path.name for path in one.path.iterdir()) == [
            "curves.png",
            "fit.log",
            "head.keras",
            "history.csv",
            "oof.csv",
            "oof_copies.csv",
            "reference.h5",
            "run.json",
            "study",
            "tensorboard",
            "training.txt",
        ]
        assert flat(one.record.metrics.model_dump()) == pytest.approx(
            flat(other.record.metrics.model_dump()), abs=1e-6
        )
        tables = [pd.read_csv(run.path / "oof.csv") for run in (one, other)]
        pd.testing.assert_frame_equal(tables[0], tables[1], rtol=0, atol=1e-6)
        log = (one.path / "fit.log").read_text().splitlines()
        assert [line.split(":")[0] for line in log[-2:]] == ["epoch 1", "epoch 2"]
        assert "recall" in log[-1]

        run = load_run(one.path)
        evaluation = run.evaluate(cache)
        assert evaluation.metrics.images == 8
        assert evaluation.scores["score"].between(0, 1).all()
        assert evaluation.scores["score"].to_numpy() == pytest.approx(
            load_run(other.path).evaluate(cache).scores["score"].to_numpy(), abs=1e-6
        )


def begin_to_work(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("it began to work")


def fill_the_disk(*_: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestRefusals:
    def test_a_run_that_is_there_is_kept(self, cache: Cache, copied: Path) -> None:
        before = contents_of(copied)
        with pytest.raises(InputError, match=f"there is a run at {copied} already.*`force=True`"):
            fit(cache, LOGREG, copied, accuracy_floor=0.6)
        assert contents_of(copied) == before

    def test_force_replaces_it_whole(self, cache: Cache, copied: Path) -> None:
        (copied / "oof.csv").write_text("damaged")
        seed = HeadSpec.choose("logreg", seed=3)
        fit(cache, seed, copied, accuracy_floor=0.5, force=True)
        assert sorted(path.name for path in copied.iterdir()) == FILES
        assert record_of(copied)["seed"] == 3
        assert [path.name for path in copied.parent.iterdir()] == [copied.name]

    def test_force_does_not_replace_a_folder_that_is_no_run(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "cat.jpg").touch()
        with pytest.raises(InputError, match="not empty and not a run"):
            fit(cache, LOGREG, tmp_path / "photos", accuracy_floor=0.6, force=True)
        assert (tmp_path / "photos" / "cat.jpg").exists()

    @pytest.mark.parametrize(
        "name",
        [
            "notes.txt",
            ".git/config",
            "study/thesis.docx",
            "study/artifacts/thesis.docx",
            "tensorboard/final/train/thesis.docx",
            "empty/",
        ],
    )
    def test_force_deletes_no_files_of_somebody_else(
        self, cache: Cache, copied: Path, name: str
    ) -> None:
        file = copied / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.mkdir() if name.endswith("/") else file.write_text("mine")
        first = copied / name.split("/")[0] if name[0] in ".e" else file
        with pytest.raises(InputError, match=f"{first} isn't of featx, and would be deleted"):
            fit(cache, LOGREG, copied, accuracy_floor=0.6, force=True)
        assert file.exists()
        assert (copied / "run.json").is_file()

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_force_follows_no_link_in_a_run(
        self, cache: Cache, copied: Path, tmp_path: Path, kind: str
    ) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "study.journal").write_text("mine")
        if kind == "file":
            (copied / "oof.csv").unlink()
            (copied / "oof.csv").symlink_to(tmp_path / "mine" / "study.journal")
        else:
            shutil.rmtree(copied / "study")
            (copied / "study").symlink_to(tmp_path / "mine")
        with pytest.raises(InputError, match="isn't of featx"):
            fit(cache, LOGREG, copied, accuracy_floor=0.6, force=True)
        assert (tmp_path / "mine" / "study.journal").read_text() == "mine"

    def test_force_replaces_a_link_to_a_run_and_leaves_the_run(
        self, cache: Cache, copied: Path
    ) -> None:
        link = copied.with_name("link")
        link.symlink_to(copied)
        before = contents_of(copied)
        fit(cache, LOGREG, link, accuracy_floor=0.5, force=True)
        assert link.is_dir()
        assert not link.is_symlink()
        assert contents_of(copied) == before

    @pytest.mark.parametrize("content", ["{}", "", "[1]", '{"schema_version": 3}', "half"])
    def test_a_run_json_alone_makes_no_run(
        self, cache: Cache, copied: Path, tmp_path: Path, content: str
    ) -> None:
        if content == "half":
            content = (copied / "run.json").read_text()[:-20]
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "run.json").write_text(content)
        with pytest.raises(InputError, match="can't be shown to be a run of featx"):
            fit(cache, LOGREG, tmp_path / "project", accuracy_floor=0.6, force=True)
        assert (tmp_path / "project" / "run.json").read_text() == content

    @pytest.mark.parametrize("name", ["run-schema-1", "run-schema-2-keras"])
    def test_runs_of_earlier_versions_are_replaced_and_files_in_them_kept(
        self, cache: Cache, tmp_path: Path, name: str
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(Path(__file__).parents[1] / "runs/fixtures" / name, run)
        (run / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match=r"notes\.txt isn't of featx"):
            fit(cache, LOGREG, run, accuracy_floor=0.5, force=True)
        (run / "notes.txt").unlink()
        fit(cache, LOGREG, run, accuracy_floor=0.5, force=True)
        assert sorted(path.name for path in run.iterdir()) == FILES

    def test_a_file_that_comes_while_it_writes_is_kept(
        self, cache: Cache, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = write_run._log

        def come(*arguments: Any) -> str:
            (copied / "notes.txt").write_text("mine")
            return log(*arguments)

        monkeypatch.setattr(write_run, "_log", come)
        with pytest.raises(InputError, match=r"notes\.txt isn't of featx"):
            fit(cache, LOGREG, copied, accuracy_floor=0.5, force=True)
        assert (copied / "notes.txt").read_text() == "mine"
        assert [path.name for path in copied.parent.iterdir()] == [copied.name]

    def test_an_empty_folder_becomes_the_run(self, cache: Cache, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        assert (fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.6).path / "run.json").exists()

    def test_a_file_in_the_way_is_kept(self, cache: Cache, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("mine")
        with pytest.raises(InputError, match="is a file"):
            fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.6, force=True)
        with pytest.raises(StorageError, match="a file is in the way"):
            fit(cache, LOGREG, tmp_path / "run" / "below", accuracy_floor=0.6)
        assert (tmp_path / "run").read_text() == "mine"

    @pytest.mark.parametrize("run", [".", "..", "/"])
    def test_a_folder_that_cannot_be_swapped_for_a_run(
        self, cache: Cache, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        with pytest.raises(InputError, match="Give `run` a new folder"):
            fit(cache, LOGREG, run, accuracy_floor=0.6)

    @pytest.mark.parametrize("floor", [-0.01, 1.5, float("nan")])
    def test_a_floor_outside_0_to_1(self, cache: Cache, tmp_path: Path, floor: float) -> None:
        with pytest.raises(InputError, match="not between 0 and 1"):
            fit(cache, LOGREG, tmp_path / "run", accuracy_floor=floor)
        assert not list(tmp_path.iterdir())

    def test_no_feasible_threshold_leaves_nothing(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def scramble(made: Contents) -> None:
            random = np.random.default_rng(0)
            made.embeddings[:] = random.normal(size=made.embeddings.shape)

        cache = make_cache(tmp_path / "cache", change=scramble)
        with pytest.raises(NoFeasibleThresholdError, match=r"the best is 0\.\d+"):
            fit(cache, LOGREG, tmp_path / "runs" / "run", accuracy_floor=0.99)
        assert [path.name for path in tmp_path.iterdir()] == ["cache"]

    @pytest.mark.parametrize("reason", ["floor", "feasible", "target"])
    def test_what_can_be_refused_before_the_work_is(
        self,
        cache: Cache,
        copied: Path,
        tmp_path: Path,
        reason: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("featx.fitting._fit.load_training_data", begin_to_work)
        floor = {"floor": 2.0}.get(reason, 0.6)
        run = copied if reason == "target" else tmp_path / "new"
        expected = AssertionError if reason == "feasible" else InputError
        with pytest.raises(expected):
            fit(cache, LOGREG, run, accuracy_floor=floor)

    def test_a_cache_of_an_earlier_version_is_refused_before_the_work(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("_fit", "_compare_heads"):
            monkeypatch.setattr(f"featx.fitting.{module}.load_training_data", begin_to_work)
        earlier = {k: v for k, v in cache.spec["backbone"].items() if k != "layer"}
        cache = copy.copy(cache)
        monkeypatch.setattr(cache, "spec", cache.spec | {"backbone": earlier})
        with pytest.raises(InputError, match="another version of featx"):
            fit(cache, LOGREG, tmp_path / "run", accuracy_floor=0.6)
        with pytest.raises(InputError, match="another version of featx"):
            fit_heads(cache, [LOGREG], tmp_path / "runs", accuracy_floor=0.6)


class TestWholeOrNotAtAll:
    @pytest.mark.parametrize(
        ("failure", "raised"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), StorageError),
            (PermissionError(errno.EACCES, "Permission denied"), StorageError),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ],
        ids=["disk full", "no permission", "Ctrl-C"],
    )
    def test_a_failure_while_writing_leaves_nothing(
        self,
        cache: Cache,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        failure: BaseException,
        raised: type[BaseException],
    ) -> None:
        def fail(*_: Any) -> NoReturn:
            raise failure

        monkeypatch.setattr(write_run, "_log", fail)  # the last file to be written
        with pytest.raises(raised):
            fit(cache, LOGREG, tmp_path / "a" / "b" / "run", accuracy_floor=0.6)
        assert not list(tmp_path.iterdir())

    def test_folders_that_were_there_stay(
        self, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").mkdir()
        monkeypatch.setattr(write_run, "save_head", fill_the_disk)
        with pytest.raises(StorageError, match="no room"):
            fit(cache, LOGREG, tmp_path / "a" / "b" / "run", accuracy_floor=0.6)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert not list((tmp_path / "a").iterdir())

    @pytest.mark.parametrize("failing", ["_log", "rename"])
    def test_a_run_that_was_to_be_replaced_survives_a_failure(
        self, cache: Cache, copied: Path, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        before = contents_of(copied)
        rename: Callable[..., Path] = Path.rename

        def fail_on_the_new(self: Path, target: Path) -> Path:
            new = self.name.endswith(".tmp") and not self.name.endswith(".old.tmp")
            if new and (self / "run.json").is_file():
                fill_the_disk()
            return rename(self, target)

        if failing == "rename":
            monkeypatch.setattr(Path, "rename", fail_on_the_new)
        else:
            monkeypatch.setattr(write_run, "_log", fill_the_disk)
        with pytest.raises(StorageError):
            fit(cache, LOGREG, copied, accuracy_floor=0.6, force=True)
        assert [path.name for path in copied.parent.iterdir()] == [copied.name]
        assert contents_of(copied) == before

    def test_a_target_that_cannot_be_written_is_refused_before_the_work(
        self, cache: Cache, read_only_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("featx.fitting._fit.load_training_data", begin_to_work)
        with pytest.raises(StorageError, match="no permission"):
            fit(cache, LOGREG, read_only_folder / "runs" / "run", accuracy_floor=0.6)
        assert not list(read_only_folder.iterdir())


@pytest.fixture
def copied(fitted: FittedRun, tmp_path: Path) -> Path:
    """A run that may be changed, alone in its folder."""
    run = tmp_path / "runs" / "logreg"
    shutil.copytree(fitted.path, run)
    return run
