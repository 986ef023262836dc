"""Training a network: going on after a kill, schedules, smoothing, ensembles, and what is left."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from featx.heads import KerasHead
from featx.heads._batches import Batches
from featx.heads._checkpoint import Checkpoint
from featx.heads._settings import KerasSettings
from featx.heads._training import Logging, train

EPOCHS = 4
Epoch = dict[str, float]

X = np.random.default_rng(0).normal(size=(24, 2, 2, 4)).astype(np.float32)
y = np.arange(24) % 2

pytestmark = pytest.mark.filterwarnings(
    "ignore:Even though the `tf.config", "ignore:Your input ran out of data"
)


class Fitted(NamedTuple):
    """A head and the epochs it was really trained for, counted from 1."""

    head: KerasHead
    trained: list[float]
    told: int


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Tracing a network takes longer than training it a little."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def _eagerly() -> Iterator[None]:
    with eagerly():
        yield


@pytest.fixture(scope="module")
def undisturbed() -> KerasHead:
    """A head without a stopping rule, fitted in one go."""
    with eagerly():
        return fit(make()).head


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that the same head left when it was killed."""
    with eagerly():
        interrupt(make(), folder := tmp_path_factory.mktemp("killed"), after=3)
    return (folder / "state-0.npz").read_bytes()


def make(**parameters: Any) -> KerasHead:
    given: dict[str, Any] = {
        "architecture": "gap",
        "dense_units": (),
        "epochs": EPOCHS,
        "batch_size": 12,
        "learning_rate": 0.05,
        "validation_fraction": 0.3,
        "random_state": 3,
    }
    return KerasHead(**(given | parameters))


def fit(head: KerasHead, work_folder: Path | None = None, *, X: NDArray[Any] = X) -> Fitted:
    told: list[Epoch] = []
    head.fit(X, y, work_folder=work_folder, on_epoch=told.append)
    return Fitted(head, [logs["epoch"] for logs in told if logs], len(told))


def interrupt(head: KerasHead, work_folder: Path, *, after: int) -> None:
    """Fit until so many epochs are over, and be killed."""
    told: list[Epoch] = []

    def on_epoch(logs: Epoch) -> None:
        told.append(logs)
        if len(told) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        head.fit(X, y, work_folder=work_folder, on_epoch=on_epoch)


def assert_same(one: KerasHead, other: KerasHead) -> None:
    """To the last bit."""
    weights = zip(one.model_.get_weights(), other.model_.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)
    assert [logs | {"seconds": 0} for logs in one.history_] == [
        logs | {"seconds": 0} for logs in other.history_
    ]
    assert one.outcomes_ == other.outcomes_


@pytest.mark.usefixtures("_eagerly")
class TestGoingOnAfterAKill:
    @pytest.mark.parametrize(
        "parameters",
        [
            {"dropout": 0.5, "dense_units": (8,)},
            {"dropout": 0.0, "optimizer": "rmsprop", "schedule": "constant"},
            {"optimizer": "sgd"},
            {"stopping": "best_recall"},
            {"stopping": "patience", "monitor": "accuracy", "patience": 3},
            {"stopping": "dual", "accuracy_target": 0.0, "recall_target": 0.0, "patience": 2},
            {"layers": [{"class_name": n} for n in ("Flatten", "BatchNormalization")]},
        ],
        ids=str,
    )
    def test_the_rest_is_exactly_as_if_nothing_had_happened(
        self, parameters: dict[str, Any], tmp_path: Path
    ) -> None:
        undisturbed = fit(make(**parameters))
        interrupt(make(**parameters), tmp_path, after=2)
        resumed = fit(make(**parameters), tmp_path)
        assert_same(resumed.head, undisturbed.head)
        # The kill came before the second epoch's state was on disk.
        assert resumed.trained == undisturbed.trained[1:]
        assert resumed.told == EPOCHS

    def test_a_second_kill_does_no_harm_either(
        self, undisturbed: KerasHead, tmp_path: Path
    ) -> None:
        interrupt(make(), tmp_path, after=2)
        interrupt(make(), tmp_path, after=3)
        resumed = fit(make(), tmp_path)
        assert resumed.trained == [3, 4]
        assert_same(resumed.head, undisturbed)

    @pytest.mark.parametrize("ensemble_of", ["seeds", "folds"])
    def test_an_ensemble_goes_on_in_the_member_that_was_killed(
        self, ensemble_of: str, tmp_path: Path
    ) -> None:
        def ensemble() -> KerasHead:
            return make(epochs=2, ensemble=2, ensemble_of=ensemble_of, stopping="best_recall")

        interrupt(ensemble(), tmp_path, after=4)
        resumed = fit(ensemble(), tmp_path)
        assert resumed.trained == [2]
        assert resumed.told == 4
        assert_same(resumed.head, fit(ensemble()).head)

    @pytest.mark.parametrize(
        "parameters",
        [
            {"stopping": "best_recall"},
            {"stopping": "dual", "accuracy_target": 0.0, "recall_target": 0.0, "patience": 1},
        ],
        ids=str,
    )
    def test_a_kill_after_the_last_epoch_leaves_nothing_to_train(
        self, parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "finish", lambda _: None)
            fit(make(**parameters), tmp_path)
        resumed = fit(make(**parameters), tmp_path)
        assert resumed.trained == []
        assert resumed.told == EPOCHS
        assert_same(resumed.head, fit(make(**parameters)).head)

    @pytest.mark.parametrize("stopping", [None, "best_recall"])
    def test_a_finished_training_is_not_trained_again(
        self, stopping: str | None, tmp_path: Path
    ) -> None:
        first = fit(make(stopping=stopping), tmp_path)
        again = fit(make(stopping=stopping), tmp_path, X=X + 1)
        assert (first.trained, again.trained) == ([1, 2, 3, 4], [])
        assert again.told == EPOCHS
        assert_same(again.head, first.head)
        assert again.head.history_ == first.head.history_


def test_a_traced_network_goes_on_exactly_too(tmp_path: Path) -> None:
    interrupt(make(stopping="best_recall"), tmp_path, after=3)
    resumed = fit(make(stopping="best_recall"), tmp_path)
    assert resumed.trained == [3, 4]
    assert_same(resumed.head, fit(make(stopping="best_recall")).head)


@pytest.mark.parametrize(
    "parameters", [{}, {"optimizer": "sgd", "stopping": "best_recall"}], ids=str
)
def test_a_step_is_traced_once(parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes most of the time of a training on few images."""
    traced: list[str] = []
    for name in ("train_step", "test_step"):
        step = getattr(keras.Sequential, name)

        def count(*arguments: Any, step: Any = step, name: str = name) -> Any:
            traced.append(name)
            return step(*arguments)

        monkeypatch.setattr(keras.Sequential, name, count)
    fit(make(**parameters))
    assert traced == ["train_step", *(["test_step"] if "stopping" in parameters else [])]


def altered(content: bytes, after: bytes, offset: int, change: Callable[[int], int]) -> bytes:
    """Change one byte of a file's content."""
    position = content.index(after) + offset
    return content[:position] + bytes([change(content[position])]) + content[position + 1 :]


def saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    save(file := io.BytesIO(), *arrays, **named)
    return file.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"no state",
    "cut short": lambda content: content[: len(content) // 2],
    "a flipped byte": lambda content: altered(content, b"NUMPY", 200, lambda byte: byte ^ 255),
    "other arrays": lambda _: saved(np.savez, weights=np.zeros(3)),
    "empty": lambda _: b"",
    "a newer zip": lambda content: altered(content, b"PK\x01\x02", 6, lambda _: 255),
    "one array": lambda _: saved(np.save, np.zeros(3)),
}


@pytest.mark.usefixtures("_eagerly")
class TestStatesThatCannotBeUsed:
    def begins_anew(self, work_folder: Path, undisturbed: KerasHead) -> None:
        fitted = fit(make(), work_folder)
        assert fitted.trained == [1, 2, 3, 4]
        assert_same(fitted.head, undisturbed)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_damaged_one_is_ignored(
        self, damage: str, state: bytes, undisturbed: KerasHead, tmp_path: Path
    ) -> None:
        (tmp_path / "state-0.npz").write_bytes(DAMAGE[damage](state))
        self.begins_anew(tmp_path, undisturbed)

    def test_an_undamaged_one_is_not(
        self, state: bytes, undisturbed: KerasHead, tmp_path: Path
    ) -> None:
        (tmp_path / "state-0.npz").write_bytes(state)
        fitted = fit(make(), tmp_path)
        assert fitted.trained == [3, 4]
        assert_same(fitted.head, undisturbed)

    @pytest.mark.parametrize(
        "other", [{"dense_units": (5,)}, {"dropout": 0.0}, {"optimizer": "sgd"}], ids=str
    )
    def test_that_of_another_training_is_ignored(
        self, other: dict[str, Any], undisturbed: KerasHead, tmp_path: Path
    ) -> None:
        interrupt(make(**other), tmp_path, after=2)
        self.begins_anew(tmp_path, undisturbed)


@pytest.mark.usefixtures("_eagerly")
class TestWorkplace:
    def test_each_member_has_a_state_and_tensorboard_s_event_files(self, tmp_path: Path) -> None:
        fit(make(epochs=1, ensemble=2, stopping="best_recall"), tmp_path)
        assert {path.name for path in tmp_path.glob("*.npz")} == {"state-0.npz", "state-1.npz"}
        events = tmp_path.rglob("events.out.tfevents.*")
        assert {str(path.parent.relative_to(tmp_path)) for path in events} == {
            f"tensorboard-{member}/{part}" for member in (0, 1) for part in ("train", "validation")
        }

    def test_without_one_nothing_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        fit(make(epochs=1))
        assert list(tmp_path.iterdir()) == []

    def test_it_does_not_change_what_is_learnt(
        self, undisturbed: KerasHead, tmp_path: Path
    ) -> None:
        assert_same(fit(make(), tmp_path).head, undisturbed)


@pytest.mark.usefixtures("_eagerly")
class TestOptimizer:
    STEPS = 2

    def rates(self, schedule: str, epochs: int) -> list[float]:
        """Train at 0.1, and note the rate that comes after each epoch."""
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
        targets = np.array([0, 1] * self.STEPS, np.float32)
        rows = [np.array([row]) for row in range(2 * self.STEPS)]
        features = np.zeros((2 * self.STEPS, 2), np.float32)
        batches = Batches(features, targets, np.ones_like(targets), rows, "one", 2, seed=0)
        settings = KerasSettings(schedule=schedule, epochs=epochs, learning_rate=0.1)
        rates: list[float] = []
        train(
            network,
            batches,
            settings,
            logging=Logging(lambda _: rates.append(float(network.optimizer.learning_rate))),
        )
        return rates

    def test_step_halves_the_rate_every_10_epochs(self) -> None:
        rates = self.rates("step", 21)
        assert rates[:9] == pytest.approx([0.1] * 9)
        assert rates[9:19] == pytest.approx([0.05] * 10)
        assert rates[19:] == pytest.approx([0.025] * 2)

    def test_cosine_is_at_half_the_rate_halfway_and_near_zero_at_the_end(self) -> None:
        rates = self.rates("cosine", 8)
        assert rates == sorted(rates, reverse=True)
        assert rates[3] == pytest.approx(0.05)
        assert rates[-1] == pytest.approx(0.0, abs=1e-6)

    def test_constant_stays(self) -> None:
        assert self.rates("constant", 5) == pytest.approx([0.1] * 5)

    def test_optimizers_learn_differently(self) -> None:
        heads = [fit(make(optimizer=name)).head for name in ("adam", "rmsprop", "sgd")]
        assert len({float(head.history_[-1]["loss"]) for head in heads}) == 3


@pytest.mark.usefixtures("_eagerly")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing_moves_the_targets_of_the_loss(smoothing: float) -> None:
    """A head that says the same of everybody has a loss that can be worked out."""
    constant = {
        "class_name": "Dense",
        "config": {
            "units": 1,
            "activation": "sigmoid",
            "kernel_initializer": "zeros",
            "bias_initializer": {"class_name": "Constant", "config": {"value": 2.0}},
        },
    }
    head = KerasHead(
        layers=[constant],
        label_smoothing=smoothing,
        class_weight=None,
        learning_rate=1e-9,
        epochs=1,
        batch_size=8,
    ).fit(X[:, 0, 0], np.arange(24) % 4 == 0)
    target, score = 0.25 * (1 - smoothing) + smoothing / 2, 1 / (1 + math.exp(-2.0))
    expected = -target * math.log(score) - (1 - target) * math.log(1 - score)
    assert head.history_[0]["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("_eagerly")
class TestWhatIsLeft:
    def test_the_score_of_an_ensemble_is_the_mean_of_its_members(self) -> None:
        head = fit(make(ensemble=3, epochs=1)).head
        members = [head.model_.get_layer(f"member_{number}")(X) for number in range(3)]
        scores = np.stack([np.asarray(member)[:, 0] for member in members])
        assert np.ptp(scores, axis=0).max() > 0.01
        assert head.predict_proba(X)[:, 1] == pytest.approx(scores.mean(axis=0), abs=1e-6)

    def test_the_members_histories_and_outcomes_follow_one_another(self) -> None:
        head = fit(make(ensemble=2, epochs=2, stopping="best_recall")).head
        assert [logs["epoch"] for logs in head.history_] == [1, 2, 1, 2]
        assert len(head.outcomes_) == 2

    def test_held_out_patients_are_judged_in_each_epoch(self) -> None:
        head = fit(make(stopping="best_recall")).head
        judged = {"val_loss", "val_accuracy", "val_recall"}
        assert all(judged <= set(logs) for logs in head.history_)
        kept = int(head.outcomes_[0].split()[2])
        assert head.history_[kept - 1]["val_recall"] == max(e["val_recall"] for e in head.history_)

    @pytest.mark.parametrize("stopping", [None, "best_recall"])
    def test_the_saved_file_has_no_optimizer_in_it(
        self, stopping: str | None, tmp_path: Path
    ) -> None:
        head = fit(make(dense_units=(128, 128), epochs=1, stopping=stopping), tmp_path).head
        assert not head.model_.compiled
        head.save(path := tmp_path / "head.keras")
        weights = sum(weight.nbytes for weight in head.model_.get_weights())
        assert weights < path.stat().st_size < 1.6 * weights


def test_training_with_held_out_patients_warns_of_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    fit(make(epochs=2, stopping="best_recall"))
    assert [str(each.message) for each in recwarn if "ran out of data" in str(each.message)] == []
