"""Stopping rules: when a training ends, and which epoch's weights it goes back to."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.heads._settings import KerasSettings
from featx.heads._stopping import (
    BestEpoch,
    DualMetricEarlyStopping,
    Logs,
    MetricPatience,
    make_rule,
)


class Model:
    """Its only weight is the number of the epoch."""

    def __init__(self) -> None:
        self.weight = 0
        self.stop_training = False

    def get_weights(self) -> list[NDArray[Any]]:
        return [np.array([self.weight])]

    def set_weights(self, weights: list[NDArray[Any]]) -> None:
        self.weight = int(weights[0][0])


class Ran(NamedTuple):
    """Number of epochs that a rule let through, the one in the model, and the rule's words."""

    epochs: int
    kept: int
    outcome: str


def log(accuracy: float, recall: float, *, loss: float = 0.5, train: float = 1.0) -> Logs:
    return {"val_accuracy": accuracy, "val_recall": recall, "val_loss": loss, "recall": train}


def run(rule: BestEpoch, epochs: list[Logs], *, after: int = 0) -> Ran:
    """Train `epochs` as Keras does, the first `after` of them having been trained before."""
    model = Model()
    rule.set_model(model)
    last = after
    for last, logs in enumerate(epochs[after:], start=after + 1):
        model.weight = last
        rule.on_epoch_end(last - 1, logs)
        if model.stop_training:
            break
    rule.on_train_end()
    return Ran(last, model.weight, rule.outcome)


def dual(accuracy_floor: float = 0.9, **settings: Any) -> DualMetricEarlyStopping:
    return DualMetricEarlyStopping(KerasSettings(**settings), accuracy_floor)


PASSED, BETTER, MISSED = log(0.95, 0.96), log(0.96, 0.97), log(0.8, 0.8)


class TestDualMetricEarlyStopping:
    def test_its_default_targets_are_the_study_s(self) -> None:
        settings = dual().settings
        assert (settings.accuracy_target, settings.recall_target) == (0.94, 0.95)
        assert (settings.train_recall_target, settings.patience) == (None, 10)

    def test_patience_does_not_count_before_both_targets_were_passed(self) -> None:
        accurate, sensitive = log(0.99, 0.9499), log(0.9399, 0.99)
        assert run(dual(patience=2), [accurate, sensitive] * 10).epochs == 20

    def test_patience_counts_from_the_first_epoch_that_passed(self) -> None:
        ran = run(dual(patience=2), [MISSED] * 3 + [PASSED] + [MISSED] * 9)
        assert (ran.epochs, ran.kept) == (6, 4)

    def test_exactly_at_the_targets_is_passed(self) -> None:
        rule = dual(patience=1)
        assert run(rule, [log(0.94, 0.95)] * 3).epochs == 2
        assert rule.passed

    @pytest.mark.parametrize(
        "other",
        [log(0.99, 0.96), log(0.95, 0.99), log(0.99, 0.955), log(0.945, 0.99)],
        ids=["recall equal", "accuracy equal", "recall lower", "accuracy lower"],
    )
    def test_an_epoch_is_not_better_if_only_one_of_the_two_improves(self, other: Logs) -> None:
        ran = run(dual(patience=3), [PASSED, other, other, other, BETTER])
        assert (ran.epochs, ran.kept) == (4, 1)

    def test_an_epoch_in_which_both_improve_is_better_and_patience_starts_anew(self) -> None:
        epochs = [PASSED, MISSED, BETTER, MISSED, MISSED, MISSED]
        ran = run(dual(patience=2), epochs)
        assert (ran.epochs, ran.kept) == (5, 3)

    def test_the_best_weights_come_back_when_the_epochs_run_out(self) -> None:
        ran = run(dual(patience=10), [MISSED, PASSED, MISSED, MISSED])
        assert (ran.epochs, ran.kept) == (4, 2)

    def test_the_first_epoch_that_passes_replaces_one_that_did_not_with_more_recall(self) -> None:
        assert run(dual(), [log(0.93, 1.0), PASSED]).kept == 2

    def test_an_epoch_that_passed_is_never_given_up_for_one_that_did_not(self) -> None:
        assert run(dual(), [PASSED, log(0.93, 1.0), log(1.0, 0.94)]).kept == 1

    def test_recall_on_the_training_images_may_be_a_third_target(self) -> None:
        epochs = [log(0.96, 0.96, train=0.97), log(0.95, 0.95, train=0.98), MISSED]
        assert run(dual(patience=1), epochs).kept == 1
        ran = run(dual(train_recall_target=0.98, patience=1), epochs)
        assert (ran.epochs, ran.kept) == (3, 2)

    def test_a_better_epoch_must_pass_the_third_target_too(self) -> None:
        epochs = [PASSED, BETTER | {"recall": 0.9}, MISSED]
        assert run(dual(train_recall_target=0.98), epochs).kept == 1

    def test_the_outcome_names_the_epoch_and_what_it_reached(self) -> None:
        outcome = run(dual(), [MISSED, PASSED]).outcome
        assert outcome == "kept epoch 2 (accuracy 0.9500, recall 0.9600 on the validation images)"


class TestNoEpochReachesTheTargets:
    def test_the_highest_recall_is_kept_of_those_with_accuracy_at_the_floor(self) -> None:
        epochs = [log(0.93, 0.5), log(0.89, 0.99), log(0.9, 0.7), log(0.92, 0.6)]
        ran = run(dual(), epochs)
        assert ran.kept == 3
        assert "no epoch reached the targets" in ran.outcome
        assert "the highest recall of those with accuracy ≥ 0.9 " in ran.outcome

    def test_accuracy_decides_between_equal_recalls(self) -> None:
        assert run(dual(), [log(0.91, 0.7), log(0.92, 0.7)]).kept == 2

    def test_else_the_highest_accuracy_is_kept(self) -> None:
        ran = run(dual(), [log(0.7, 0.9), log(0.8, 0.1), log(0.6, 1.0)])
        assert ran.kept == 2
        assert ran.outcome == (
            "kept epoch 2: no epoch reached the targets, this one has the highest accuracy "
            "(accuracy 0.8000, recall 0.1000)"
        )


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_a_floor_outside_0_and_1_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="accuracy_floor must be between 0 and 1"):
        dual(value)


def test_targets_and_floors_at_the_ends_of_their_range_are_allowed() -> None:
    rule = dual(1.0, accuracy_target=1.0, recall_target=0.0, train_recall_target=0.0)
    assert run(rule, [log(1.0, 0.0, train=0.0)]).kept == 1
    assert rule.passed


class TestMetricPatience:
    EPOCHS: list[Logs] = [  # noqa: RUF012
        log(0.7, 0.9, loss=0.5),
        log(0.7, 0.8, loss=0.3),
        log(0.8, 0.7, loss=0.4),
        log(0.6, 0.6, loss=0.6),
        log(0.6, 0.6, loss=0.6),
        log(0.6, 0.6, loss=0.6),
    ]

    @pytest.mark.parametrize(("monitor", "best"), [("loss", 2), ("accuracy", 3), ("recall", 1)])
    def test_it_keeps_the_best_epoch_and_stops_so_many_after_it(
        self, monitor: str, best: int
    ) -> None:
        ran = run(MetricPatience(monitor, patience=2), self.EPOCHS)
        assert (ran.epochs, ran.kept) == (best + 2, best)
        value = self.EPOCHS[best - 1][f"val_{monitor}"]
        assert ran.outcome == f"kept epoch {best} ({monitor} {value:.4f} on the validation images)"

    def test_an_equal_value_is_no_improvement(self) -> None:
        ran = run(MetricPatience("loss", patience=2), [log(0.7, 0.7)] * 5)
        assert (ran.epochs, ran.kept) == (3, 1)

    def test_accuracy_decides_between_equal_recalls(self) -> None:
        epochs = [log(0.6, 0.9), log(0.7, 0.9), log(0.65, 0.9), log(0.9, 0.8)]
        assert run(MetricPatience("recall"), epochs).kept == 2

    def test_without_patience_it_trains_through_and_goes_back(self) -> None:
        ran = run(MetricPatience("recall", None), [log(0.9, 0.9)] + [MISSED] * 30)
        assert (ran.epochs, ran.kept) == (31, 1)


@pytest.mark.parametrize(
    "name", ["dual", "patience on loss", "patience on accuracy", "patience on recall"]
)
class TestNaN:
    """Metrics of a training that diverged."""

    EPOCHS = (log(0.5, 0.4, loss=0.5, train=0.9), log(0.96, 0.97, loss=0.4), MISSED)

    def rule(self, name: str) -> BestEpoch:
        return (
            dual(train_recall_target=0.98) if name == "dual" else MetricPatience(name.split()[-1])
        )

    @pytest.mark.parametrize("metric", ["val_accuracy", "val_recall", "val_loss", "recall", "all"])
    @pytest.mark.parametrize("place", [0, 1, 2, "all"])
    def test_never_raises(self, name: str, metric: str, place: int | str) -> None:
        broken = [
            {k: np.nan if metric in (k, "all") and place in (n, "all") else v for k, v in e.items()}
            for n, e in enumerate(self.EPOCHS)
        ]
        ran = run(self.rule(name), broken)
        assert ran.epochs == 3
        assert f"kept epoch {ran.kept}" in ran.outcome

    def test_an_epoch_of_nan_is_not_kept(self, name: str) -> None:
        broken = log(np.nan, np.nan, loss=np.nan, train=np.nan)
        assert run(self.rule(name), [MISSED, broken, broken]).kept == 1

    def test_an_epoch_of_nan_gives_way_to_any_other(self, name: str) -> None:
        broken = log(np.nan, np.nan, loss=np.nan, train=np.nan)
        assert run(self.rule(name), [broken, MISSED, broken]).kept == 2


class TestResuming:
    EPOCHS = (log(0.91, 0.5), MISSED, PASSED, MISSED, BETTER, PASSED, MISSED, PASSED, MISSED)
    RULES = (
        KerasSettings(stopping="dual", patience=3),
        KerasSettings(stopping="dual", accuracy_target=1.0),
        KerasSettings(stopping="patience", monitor="recall", patience=2),
        KerasSettings(stopping="best_recall"),
    )

    @pytest.mark.parametrize("after", range(1, 7))
    @pytest.mark.parametrize("settings", RULES, ids=["dual", "no epoch", "patience", "best recall"])
    def test_a_rule_that_goes_on_from_its_state_does_what_it_would_have_done(
        self, settings: KerasSettings, after: int
    ) -> None:
        undisturbed, first, second = (make_rule(settings, 0.9) for _ in range(3))
        assert undisturbed is not None
        assert first is not None
        assert second is not None
        expected = run(undisturbed, list(self.EPOCHS))
        after = min(after, expected.epochs - 1)
        run(first, list(self.EPOCHS[:after]))
        assert first.best is not None
        second.resume(json.loads(json.dumps(first.state())), first.best.weights)
        assert run(second, list(self.EPOCHS), after=after) == expected
        assert second.state() == undisturbed.state()

    def test_a_rule_whose_patience_has_run_out_still_says_so(self) -> None:
        first, second = (dual(patience=1) for _ in range(2))
        run(first, [PASSED, MISSED])
        assert not second.exhausted
        second.resume(first.state(), [np.array([1])])
        assert second.exhausted


class TestMakeRule:
    def test_nothing_asked_for_is_no_rule(self) -> None:
        assert make_rule(KerasSettings(stopping=None), 0.9) is None

    def test_dual_takes_its_targets_from_the_settings_and_its_floor_from_the_run(self) -> None:
        settings = KerasSettings(stopping="dual", accuracy_target=0.91, patience=4)
        rule = make_rule(settings, 0.85)
        assert isinstance(rule, DualMetricEarlyStopping)
        assert (rule.settings, rule.patience, rule.accuracy_floor) == (settings, 4, 0.85)

    def test_patience_watches_the_metric_of_the_settings(self) -> None:
        settings = KerasSettings(stopping="patience", monitor="accuracy", patience=3)
        rule = make_rule(settings, 0.9)
        assert isinstance(rule, MetricPatience)
        assert (rule.monitor, rule.patience) == ("accuracy", 3)

    def test_best_recall_watches_recall_and_has_no_patience(self) -> None:
        rule = make_rule(KerasSettings(stopping="best_recall", monitor="loss", patience=1), 0.9)
        assert isinstance(rule, MetricPatience)
        assert (rule.monitor, rule.patience) == ("recall", None)
