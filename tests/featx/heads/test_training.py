"""Training the Keras head: going on after a kill, logs, schedules, ensembles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.heads import KerasHead, KerasSettings
from featx.heads.training import _optimizer

PATIENTS = np.arange(64) // 2
SMALL: dict[str, Any] = {"architecture": "gap", "dense_units": (4,), "epochs": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    random = np.random.default_rng(0)
    y = PATIENTS % 2
    return (random.normal(size=(64, 2, 2, 6)) + y[:, None, None, None]).astype(np.float16), y


Data = tuple[NDArray[np.float16], NDArray[np.int64]]


def stop_after(epochs: int) -> Callable[[dict[str, float]], None]:
    seen: list[Any] = []

    def count(logs: dict[str, float]) -> None:
        seen.append(logs)
        if len(seen) == epochs:
            raise KeyboardInterrupt

    return count


def same(one: KerasHead, other: KerasHead) -> bool:
    weights = zip(one.model_.get_weights(), other.model_.get_weights(), strict=True)
    histories = [[{**e, "seconds": 0} for e in head.history_] for head in (one, other)]
    equal = all(np.array_equal(a, b) for a, b in weights)
    return equal and histories[0] == histories[1] and one.outcomes_ == other.outcomes_


class TestGoingOnAfterAKill:
    @pytest.mark.parametrize(
        "settings",
        [
            {"optimizer": "adam", "dropout": 0.5},
            {"optimizer": "rmsprop", "schedule": "step"},
            {"optimizer": "sgd", "schedule": "constant"},
            {"stopping": "dual", "accuracy_target": 0.1, "recall_target": 0.1, "patience": 2},
            {"stopping": "best_recall", "batch_normalization": False},
            {"ensemble": 2, "ensemble_of": "folds", "stopping": "patience", "epochs": 2},
        ],
        ids=lambda s: " ".join(map(str, s.values())),
    )
    def test_it_ends_as_if_it_had_not_been_killed(
        self, data: Data, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        options = SMALL | settings
        whole = KerasHead(**options).fit(*data, groups=PATIENTS)
        for epochs in (2, 3):
            with pytest.raises(KeyboardInterrupt):
                KerasHead(**options).fit(
                    *data, groups=PATIENTS, on_epoch=stop_after(epochs), workplace=tmp_path
                )
        resumed = KerasHead(**options).fit(*data, groups=PATIENTS, workplace=tmp_path)
        assert same(resumed, whole)

    def test_batch_normalization_and_convolutions_go_on_too(self, tmp_path: Path) -> None:
        random = np.random.default_rng(1)
        X, y = random.normal(size=(24, 3, 3, 4)).astype(np.float32), np.arange(24) % 2
        options: dict[str, Any] = {"dense_units": (4,), "epochs": 3, "batch_size": 8}
        whole = KerasHead(**options).fit(X, y)
        with pytest.raises(KeyboardInterrupt):
            KerasHead(**options).fit(X, y, on_epoch=stop_after(2), workplace=tmp_path)
        assert same(KerasHead(**options).fit(X, y, workplace=tmp_path), whole)

    def test_a_finished_training_is_not_trained_again(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import keras

        first = KerasHead(**SMALL).fit(*data, workplace=tmp_path)
        monkeypatch.setattr(keras.Sequential, "fit", None)
        units: list[Any] = []
        again = KerasHead(**SMALL).fit(*data, workplace=tmp_path, on_epoch=units.append)
        assert same(again, first)
        assert len(units) == SMALL["epochs"]

    @pytest.mark.parametrize("content", [b"", b"not a zip", "half", "foreign"])
    def test_a_damaged_or_foreign_state_is_not_gone_by(
        self, data: Data, tmp_path: Path, content: Any
    ) -> None:
        whole = KerasHead(**SMALL).fit(*data)
        other = SMALL | {"dense_units": (5,)}
        with pytest.raises(KeyboardInterrupt):
            KerasHead(**(other if content == "foreign" else SMALL)).fit(
                *data, on_epoch=stop_after(2), workplace=tmp_path
            )
        (state,) = tmp_path.glob("state-*.npz")
        if content == "half":
            state.write_bytes(state.read_bytes()[:-100])
        elif content != "foreign":
            state.write_bytes(content)
        assert same(KerasHead(**SMALL).fit(*data, workplace=tmp_path), whole)

    def test_progress_counts_every_epoch_once_also_those_done_or_saved(
        self, data: Data, tmp_path: Path
    ) -> None:
        settings = SMALL | {"stopping": "patience", "patience": 1, "epochs": 30}
        with pytest.raises(KeyboardInterrupt):
            KerasHead(**settings).fit(*data, on_epoch=stop_after(2), workplace=tmp_path)
        units: list[Any] = []
        KerasHead(**settings).fit(*data, on_epoch=units.append, workplace=tmp_path)
        assert len(units) == 30


class TestLogs:
    def test_tensorboard_has_each_epoch(self, data: Data, tmp_path: Path) -> None:
        import tensorflow as tf
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        settings = SMALL | {"stopping": "best_recall"}
        head = KerasHead(**settings).fit(*data, groups=PATIENTS, workplace=tmp_path)
        for part, key in (("train", "loss"), ("validation", "val_loss")):
            events = EventAccumulator(str(tmp_path / "tensorboard-0" / part))
            events.Reload()
            losses = [
                float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("epoch_loss")
            ]
            assert losses == pytest.approx([epoch[key] for epoch in head.history_], abs=1e-6)

    def test_nothing_is_written_without_a_workplace(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        KerasHead(**(SMALL | {"epochs": 1})).fit(*data)
        assert not list(tmp_path.iterdir())


class TestOptimizing:
    @pytest.mark.parametrize(
        ("schedule", "rates"),
        [
            ("step", {0: 0.002, 9: 0.002, 10: 0.001, 19: 0.001, 20: 0.0005}),
            ("constant", {0: 0.002, 29: 0.002}),
            ("cosine", {0: 0.002, 15: 0.001, 30: 0.0}),
        ],
    )
    def test_the_learning_rate_follows_its_schedule(
        self, schedule: Any, rates: dict[int, float]
    ) -> None:
        settings = KerasSettings(schedule=schedule, learning_rate=0.002, epochs=30)
        optimizer = _optimizer(settings, steps=7)
        for epoch, rate in rates.items():
            optimizer.iterations.assign(epoch * 7)
            assert float(optimizer.learning_rate) == pytest.approx(rate, abs=1e-7)

    @pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
    def test_each_optimizer_is_the_one_that_was_named(self, name: Any) -> None:
        assert _optimizer(KerasSettings(optimizer=name), 1).name.lower() == name

    def test_label_smoothing_keeps_scores_from_the_ends(self, data: Data) -> None:
        settings = SMALL | {"epochs": 25, "learning_rate": 0.05, "dropout": 0.0}
        plain, smooth = (
            KerasHead(**settings, label_smoothing=s).fit(*data).predict_proba(data[0])[:, 1]
            for s in (0.0, 0.4)
        )
        assert np.ptp(smooth) < np.ptp(plain)

    def test_class_weights_can_be_left_out(self) -> None:
        y = (np.arange(40) % 8 == 0).astype(int)
        X = np.zeros((40, 4), np.float32)
        settings = SMALL | {"dropout": 0.0, "learning_rate": 0.1, "epochs": 30}
        balanced, plain = (
            KerasHead(**settings, class_weight=w).fit(X, y).predict_proba(X)[0, 1]
            for w in ("balanced", None)
        )
        assert balanced == pytest.approx(0.5, abs=0.1)
        assert plain == pytest.approx(1 / 8, abs=0.06)


class TestHeldOut:
    @pytest.mark.parametrize("ensemble", [{}, {"ensemble": 3, "ensemble_of": "folds"}])
    def test_patients_are_held_out_whole_and_judged_by_their_untouched_images(
        self, monkeypatch: pytest.MonkeyPatch, ensemble: dict[str, Any]
    ) -> None:
        from featx.heads import training

        seen: list[tuple[set[int], set[int], list[int]]] = []
        original = training.train

        def spy(network: Any, batches: Any, settings: Any, **options: Any) -> Any:
            X, _ = options["validation"]
            kept = np.concatenate(batches.images)
            patients = set(batches.X[kept, 0].astype(int).tolist())
            seen.append((patients, set(X[:, 0].astype(int)), X[:, 1].astype(int).tolist()))
            return original(network, batches, settings, **options)

        monkeypatch.setattr(training, "train", spy)
        copies = np.tile([0, 1, 2], 40)
        images, patients = np.arange(120) // 3, np.arange(120) // 6
        X = np.stack([patients, copies], axis=1).astype(np.float32)
        head = KerasHead(**(SMALL | ensemble | {"stopping": "best_recall", "epochs": 1}))
        head.fit(X, patients % 2, groups=patients, images=images, copies=copies)
        assert len(seen) == ensemble.get("ensemble", 1)
        for kept, held_out, copy in seen:
            assert not kept & held_out
            assert kept | held_out == set(patients.tolist())
            assert set(copy) == {0}
        if ensemble:
            assert set.union(*(held_out for _, held_out, _ in seen)) == set(patients.tolist())


class TestEnsembles:
    def test_its_scores_are_the_mean_of_its_members(self, data: Data, tmp_path: Path) -> None:
        settings = SMALL | {"epochs": 2}
        both = KerasHead(**settings, ensemble=2, random_state=3).fit(*data)
        members = [KerasHead(**settings, random_state=seed).fit(*data) for seed in (3, 4)]
        mean = np.mean([member.predict_proba(data[0]) for member in members], axis=0)
        assert both.predict_proba(data[0]) == pytest.approx(mean, abs=1e-5)
        both.save(tmp_path / "head.keras")
        back = KerasHead.load(tmp_path / "head.keras", both.classes_)
        assert back.predict_proba(data[0]) == pytest.approx(mean, abs=1e-5)

    def test_members_differ(self, data: Data) -> None:
        head = KerasHead(**(SMALL | {"epochs": 1}), ensemble=2).fit(*data)
        assert len(head.history_) == 2
        assert head.history_[0]["loss"] != head.history_[1]["loss"]


def test_a_saved_head_has_no_optimizer_in_it(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(8, 300)).astype(np.float32)
    head = KerasHead(dense_units=(400,), epochs=1).fit(X, np.arange(8) % 2)
    head.save(tmp_path / "head.keras")
    floats = sum(weight.size for weight in head.model_.get_weights())
    assert (tmp_path / "head.keras").stat().st_size < 1.3 * 4 * floats
