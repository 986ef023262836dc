"""The choice of the operating point, held to the exact sweep."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from featx._scores import Scores
from featx.errors import InputError, NoFeasibleThresholdError
from featx.thresholds import choose_threshold, sweep, write_study


def drawn(seed: int, images: int | None = None) -> Scores:
    """Draw scores of a classifier of some quality. Every third set has ties."""
    random = np.random.default_rng(seed)
    n = images or int(random.integers(4, 60))
    y = random.permutation(np.arange(n) % 3 == 0)
    scores = 1 / (1 + np.exp(-random.normal(size=n) - random.uniform(0, 4) * (y - 0.5)))
    return Scores.from_arrays(y, scores.round(1) if seed % 3 == 0 else scores)


@pytest.fixture(scope="module")
def many() -> Scores:
    return drawn(1, images=400)


class TestOptimum:
    def test_the_point_is_the_exact_optimum_on_200_sets_of_scores(self) -> None:
        feasible = moved = 0
        for seed in range(200):
            scores = drawn(seed)
            points = sweep(scores)
            # A floor that about half of the feasible thresholds keep.
            floor = float(np.quantile(points.accuracy, 0.6))
            best = points.best(floor)
            assert best is not None
            point = choose_threshold(scores, accuracy_floor=floor)
            called = scores.called(point.threshold)
            assert point.recall == called[scores.positive].mean()
            assert point.accuracy == np.mean(called == scores.positive) >= floor
            if point.recall_given_up:
                moved += 1
                assert point.recall + point.recall_error >= points.recall[best]
                assert point.accuracy > points.accuracy[best]
            else:
                assert point.threshold == points.thresholds[best] == points.threshold(floor)
                assert not point.note
            feasible += best > 0
        assert feasible > 50  # the floor did make a difference
        assert 10 < moved < 150  # and so did the rule of one standard error

    def test_ties_in_recall_are_broken_by_accuracy(self) -> None:
        # Thresholds below 0.6 all find both sick; the highest of them clears most of the others.
        y, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.9]
        point = choose_threshold(y, scores, accuracy_floor=0.0)
        assert (point.recall, point.accuracy) == (1.0, 1.0)
        assert 0.3 < point.threshold <= 0.6

    def test_recall_alone_calls_everybody_sick_and_a_floor_does_not(self) -> None:
        # The study's trap: the one sick patient that looks healthy drags the threshold down.
        y = np.array([1] + [0] * 50 + [1] * 9)
        scores = np.concatenate([[0.01], np.linspace(0.02, 0.4, 50), np.linspace(0.6, 0.9, 9)])
        trapped = choose_threshold(y, scores, accuracy_floor=0.0)
        assert trapped.recall == 1.0
        assert (scores >= trapped.threshold).all()
        kept = choose_threshold(y, scores, accuracy_floor=0.9)
        assert kept.recall == 0.9
        assert not (scores[y == 0] >= kept.threshold).any()

    def test_a_floor_that_the_best_accuracy_just_reaches_is_reached(self, many: Scores) -> None:
        best = float(sweep(many).accuracy.max())
        point = choose_threshold(many, accuracy_floor=best)
        assert point.accuracy == point.accuracy_floor == best

    def test_the_order_of_images_does_not_move_the_point(self, many: Scores) -> None:
        order = np.random.default_rng(0).permutation(len(many))
        one, other = (choose_threshold(s, accuracy_floor=0.8) for s in (many, many[order]))
        assert one == other

    def test_the_global_random_state_is_left_alone(self, many: Scores) -> None:
        np.random.seed(3)
        undisturbed = np.random.random()
        np.random.seed(3)
        choose_threshold(many, accuracy_floor=0.8)
        assert np.random.random() == undisturbed


class TestStudy:
    def test_its_trials_are_the_points_that_no_other_exceeds(self, many: Scores) -> None:
        points = sweep(many)
        pairs = set(zip(points.recall.tolist(), points.accuracy.tolist(), strict=True))
        front = {
            (r, a)
            for r, a in pairs
            if not any(o != (r, a) and o[0] >= r and o[1] >= a for o in pairs)
        }
        point = choose_threshold(many, accuracy_floor=0.8)
        table = point.to_frame()
        assert set(zip(table["recall"], table["accuracy"], strict=True)) == front
        assert point.trials == len(front) < len(points)

    def test_the_floor_is_a_constraint_and_no_penalty(self, many: Scores) -> None:
        floor = float(choose_threshold(many).to_frame()["accuracy"].median())
        point = choose_threshold(many, accuracy_floor=floor)
        study = point.study
        assert study.directions == [optuna.study.StudyDirection.MAXIMIZE] * 2
        assert study.metric_names == ["recall", "accuracy"]
        for trial in study.trials:
            called = many.called(trial.params["threshold"])
            assert trial.values == [
                called[many.positive].mean(), np.mean(called == many.positive)
            ]  # fmt: skip
            assert trial.constraints == {"accuracy_floor": floor - trial.values[1]}
        feasible = point.to_frame()["feasible"]
        assert 0 < feasible.sum() < len(feasible)
        assert study.best_trials[0].values == [point.recall, point.accuracy]

    def test_a_journal_keeps_it(self, many: Scores, tmp_path: Path) -> None:
        point = choose_threshold(many, accuracy_floor=0.8)
        journal = tmp_path / "study" / "study.journal"
        write_study(point, journal, "logreg")
        assert list(journal.parent.iterdir()) == [journal]
        storage = JournalStorage(JournalFileBackend(str(journal)))
        study = optuna.load_study(study_name="logreg", storage=storage)
        assert study.metric_names == ["recall", "accuracy"]
        assert study.user_attrs == {"accuracy_floor": 0.8}
        kept = replace(point, study=study)
        assert kept.to_frame().equals(point.to_frame())
        assert max(t.values for t in study.best_trials) == [point.recall, point.accuracy]

    def test_optuna_stays_quiet_and_gets_its_verbosity_back(
        self, many: Scores, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = optuna.logging.get_verbosity()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write_study(choose_threshold(many, accuracy_floor=0.8), tmp_path / "study.journal")
        assert optuna.logging.get_verbosity() == before
        assert capfd.readouterr() == ("", "")

    def test_a_notebook_shows_the_trials_and_the_point(self) -> None:
        shown = choose_threshold([0, 1], [0.2, 0.8], accuracy_floor=0.5)._repr_html_()
        assert "<td>0.5</td>" in shown
        assert "OperatingPoint(threshold 0.5, recall 1.0000, accuracy 1.0000" in shown

    @pytest.mark.parametrize("code", ["import featx.thresholds", "import featx; featx.fit"])
    def test_its_databases_are_imported_by_who_needs_them(self, code: str) -> None:
        found = "[m for m in sys.modules if m.startswith(('optuna.storages', 'sqlalchemy'))]"
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {code}; print({found})"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "[]"


class TestRefusals:
    @pytest.mark.parametrize("floor", [-0.1, 1.5, float("nan"), float("inf")])
    def test_a_floor_outside_0_to_1(self, floor: float) -> None:
        with pytest.raises(InputError, match=f"floor {floor} is not between 0 and 1") as caught:
            choose_threshold([0, 1], [0.1, 0.9], accuracy_floor=floor)
        assert caught.value.parameter == "accuracy_floor"

    def test_one_class(self) -> None:
        with pytest.raises(InputError, match="one class"):
            choose_threshold([1, 1], [0.1, 0.9])

    def test_labels_without_scores(self) -> None:
        with pytest.raises(InputError, match="there are labels and no scores"):
            choose_threshold([0, 1])

    @pytest.mark.parametrize("seed", range(20))
    def test_no_feasible_threshold_names_the_best_accuracy_where_it_is_and_a_reachable_floor(
        self, seed: int
    ) -> None:
        scores = drawn(seed, images=60)
        points = sweep(scores)
        best = points.accuracy.max()
        assert best < 1
        with pytest.raises(NoFeasibleThresholdError) as caught:
            choose_threshold(scores, accuracy_floor=1.0)
        said = re.search(
            r"the best is ([\d.]+) \(recall [\d.]+\) at threshold ([\d.e-]+)\. "
            r"Lower `accuracy_floor` to ([\d.]+) at most",
            str(caught.value),
        )
        assert said is not None
        accuracy, threshold, reachable = map(float, said.groups())
        assert accuracy == pytest.approx(best, abs=1e-4)
        where = points.thresholds[points.accuracy == best]
        assert np.isclose(threshold, where, rtol=1e-5).any()
        assert choose_threshold(scores, accuracy_floor=reachable).accuracy >= reachable
