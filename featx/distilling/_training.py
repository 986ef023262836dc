"""Training a student on the rows of a work folder, so that a killed training goes on."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import Advance, Progress
from featx.backbones._mini import MINI
from featx.distilling._agreement import Agreement, Sums
from featx.distilling._spec import TrainingSpec
from featx.distilling._student import MAX_FLOAT16, scale_outputs
from featx.distilling._work_folder import Rows, WorkFolder
from featx.errors import FeatxError
from featx.heads._batches import prefetched
from featx.heads._checkpoint import Checkpoint, History

BATCH_SIZE = 32
STEPS_BETWEEN_STATES = 200
"""Most steps that a kill can lose, a minute or two on a small machine."""
WARM_UP_STEPS = 200
FIRST_RATE, LAST_RATE = 0.05, 0.01
"""Learning rates at the beginning and at the end, as shares of the peak."""
WEIGHT_DECAY = 1e-4
SAMPLED_ROWS = 2000
"""Rows from which the standard deviations of the channels are estimated."""
MIN_DEVIATION_SHARE = 0.1
"""Least standard deviation of a channel, as a share of the median: others hardly ever differ from
zero, and would weigh too much."""
REGION = 3
"""Side of the regions whose averages count, in cells. Heads pool a grid in the same way."""
REGIONS_WEIGHT = AVERAGE_WEIGHT = 0.5
"""Weights of the differences of averages in the loss. Those of single cells weigh 1."""
HELD_OUT_SHARE, MAX_HELD_OUT = 0.1, 500


@dataclass(frozen=True, slots=True)
class Division:
    """Rows to learn from, and rows held out.

    All copies of an image, and all images of a patient, are on one side.
    """

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]


def divide(rows: Rows, groups: dict[str, str], seed: int) -> Division:
    """Hold out a tenth of the images, 500 at most. One image alone isn't held out."""
    images = [sha256 for sha256, _ in rows.keys.pairs()]
    of_row = np.array([groups[sha256] for sha256 in images], object)
    sizes = pd.Series(images).groupby(of_row).nunique()
    wanted = min(MAX_HELD_OUT, max(1, round(HELD_OUT_SHARE * sizes.sum())))
    order = np.random.default_rng((seed, 0)).permutation(len(sizes))[: len(sizes) - 1]
    taken = sizes.iloc[order][
        sizes.iloc[order].cumsum() <= max(wanted, sizes.iloc[order[:1]].sum())
    ]
    held = np.isin(of_row.astype(str), taken.index.to_numpy().astype(str))
    return Division(np.flatnonzero(~held), np.flatnonzero(held))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of a training: epochs of equal parts, after each of which the state is kept."""

    rows: int
    epochs: int

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        return min(BATCH_SIZE, self.rows)

    @property
    def parts(self) -> int:
        """Parts of an epoch."""
        return math.ceil(self.rows // self.batch_size / STEPS_BETWEEN_STATES)

    @property
    def steps(self) -> int:
        """Steps of a part. Rows that don't fill a batch, or a part, wait for the next epoch."""
        return self.rows // self.batch_size // self.parts

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.parts * self.steps


class Batches:
    """The batches of each part, in an order that depends on the seed and the epoch alone."""

    def __init__(self, rows: Rows, train: NDArray[np.intp], schedule: Schedule, seed: int) -> None:
        self.rows, self.train, self.schedule, self.seed = rows, train, schedule, seed

    def parts_from(self, first: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float16]]]:
        """Yield inputs and targets of each step from the part number `first` on."""
        plan = self.schedule
        for part in range(first, plan.epochs * plan.parts):
            epoch, within = divmod(part, plan.parts)
            order = np.random.default_rng((self.seed, 1, epoch)).permutation(self.train)
            start = within * plan.steps * plan.batch_size
            for step in range(plan.steps):
                at = start + step * plan.batch_size
                batch = np.sort(order[at : at + plan.batch_size])  # memory maps like it
                yield self.rows.pixels[batch], self.rows.targets[batch]


def train(
    student: Any,
    rows: Rows,
    division: Division,
    spec: TrainingSpec,
    folder: WorkFolder,
    progress: Progress,
) -> pd.DataFrame:
    """Train a student that isn't compiled, and return the history, one line a part of an epoch.

    Raises
    ------
    FeatxError
        If the loss isn't finite, or the weights are too large in the end.
    """
    import tensorflow as tf

    schedule = Schedule(len(division.train), spec.epochs)
    deviations = Deviations.of(rows, division, spec.seed)
    # Adam's steps are of one size, and the channels' values aren't. A student from a file may know
    # the scales already.
    unit = deviations.values if spec.student == MINI else np.ones_like(deviations.values)
    student.compile(
        keras.optimizers.AdamW(_learning_rate(schedule, spec), weight_decay=WEIGHT_DECAY),
        _loss(deviations, unit),
    )
    student.optimizer.build(student.trainable_variables)
    history: History = []
    checkpoint = Checkpoint(folder.state, history, None)
    state = checkpoint.load(student)
    batches = Batches(rows, division.train, schedule, spec.seed)
    if state is None or not state.finished:
        with (
            progress.task("Training the student", schedule.total, "step") as advance,
            prefetched(
                functools.partial(batches.parts_from, len(history)),
                ((None, *rows.pixels.shape[1:]), np.uint8),
                ((None, *rows.targets.shape[1:]), np.float16),
            ) as dataset,
        ):
            advance(len(history) * schedule.steps)
            recorder = _Recorder(history, schedule, advance, progress)
            try:
                student.fit(
                    dataset.map(lambda x, y: (tf.cast(x, tf.float32), tf.cast(y, tf.float32))),
                    initial_epoch=len(history),
                    epochs=schedule.epochs * schedule.parts,
                    steps_per_epoch=schedule.steps,
                    shuffle=False,
                    verbose=0,
                    callbacks=[recorder, checkpoint],
                )
            except _DivergedError as error:
                raise _diverged(folder, f"at step {error.step}: the loss is {error.loss}") from None
        # The loss of a step is that of the weights before it, so that the last one isn't seen.
        if not all(
            np.abs(w.numpy()).max(initial=0) <= MAX_FLOAT16 for w in student.trainable_weights
        ):
            raise _diverged(folder, "in its last step: the weights are larger than float16 has")
        checkpoint.finish()
    if spec.student == MINI:
        scale_outputs(student, unit)
    return pd.DataFrame(history)


def compare(student: Any, rows: Rows, where: NDArray[np.intp]) -> dict[str, Agreement]:
    """Compare a student with its teacher on some rows: untouched images, and copies."""
    found = {}
    untouched = rows.keys.copy[where] == 0
    for name, chosen in (("untouched", where[untouched]), ("copies", where[~untouched])):
        sums = Sums()
        for start in range(0, len(chosen), BATCH_SIZE):
            block = chosen[start : start + BATCH_SIZE]
            made = student(rows.pixels[block].astype(np.float32), training=False)
            sums.add(rows.targets[block], np.asarray(made, np.float32))
        if sums.rows:
            found[name] = sums.agreement()
    return found


def _diverged(folder: WorkFolder, how: str) -> FeatxError:
    """Forget a training that diverged, and return the error that says so."""
    folder.forget_training()
    return FeatxError(
        f"the training diverged {how}",
        "Give a smaller `learning_rate`. What was computed before the training is kept.",
    )


class _DivergedError(Exception):
    """The loss of a step isn't finite."""

    def __init__(self, step: int, loss: float) -> None:
        self.step, self.loss = step, loss
        super().__init__(step, loss)


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Write the history, show the progress, and stop where the loss isn't finite."""

    def __init__(
        self, history: History, schedule: Schedule, advance: Advance, progress: Progress
    ) -> None:
        super().__init__()
        self._history, self._schedule = history, schedule
        self._advance, self._progress = advance, progress

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            done = len(self._history) * self._schedule.steps
            raise _DivergedError(done + batch + 1, loss)
        self._advance(1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        plan, seconds = self._schedule, time.perf_counter() - self._started
        done = {"epoch": (epoch + 1) / plan.parts, "step": float((epoch + 1) * plan.steps)}
        loss = float((logs or {})["loss"])
        self._history.append(done | {"loss": loss, "seconds": seconds})
        if (epoch + 1) % plan.parts == 0:
            number = (epoch + 1) // plan.parts
            self._progress.note(f"Epoch {number} of {plan.epochs}: loss {loss:.4f}")


def _learning_rate(schedule: Schedule, spec: TrainingSpec) -> Any:
    """Rise linearly, then fall as a cosine. The optimizer's own count of steps decides."""
    warm_up = max(1, min(WARM_UP_STEPS, schedule.total // 5))
    return keras.optimizers.schedules.CosineDecay(
        FIRST_RATE * spec.learning_rate,
        max(1, schedule.total - warm_up),
        alpha=LAST_RATE,
        warmup_target=spec.learning_rate,
        warmup_steps=warm_up,
    )


@dataclass(frozen=True, slots=True)
class Deviations:
    """Standard deviations of each channel: of its values, and of its averages over regions."""

    values: NDArray[np.float32]
    regions: NDArray[np.float32]
    averages: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Rows, division: Division, seed: int) -> Deviations:
        """Estimate them from some rows."""
        random = np.random.default_rng((seed, 2))
        sample = np.sort(random.permutation(division.train)[:SAMPLED_ROWS])
        mean = rows.targets[sample].mean(axis=(0, 1, 2), dtype=np.float64)
        of_values, regions, averages = np.zeros(len(mean)), [], []
        for row in rows.targets[sample]:
            row = row.astype(np.float32)
            of_values += ((row - mean) ** 2).mean(axis=(0, 1))
            averages.append(row.mean(axis=(0, 1)))
            regions.append(_regions(row[np.newaxis])[0])
        return cls(
            _at_least(np.sqrt(of_values / len(sample))),
            _at_least(np.std(regions, axis=0).mean(axis=(0, 1))),
            _at_least(np.std(averages, axis=0)),
        )


def _regions(grids: Any) -> Any:
    """Average grids of shape (rows, height, width, channels) over squares of cells."""
    side = min(REGION, *grids.shape[1:3])
    return keras.ops.average_pool(grids, side, side)


def _loss(deviations: Deviations, unit: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """Make the loss: squared differences of all values, and of averages over regions and all cells.

    They are divided by the channel's standard deviation, so that each channel counts alike. The
    student makes values in units of `unit`.
    """
    ops = keras.ops
    scale, values, regions, averages = (
        ops.convert_to_tensor(each)
        for each in (unit, deviations.values, deviations.regions, deviations.averages)
    )

    def loss(target: Any, made: Any) -> Any:
        difference = ops.cast(made, "float32") * scale - ops.cast(target, "float32")
        of_grid = ops.mean(ops.square(difference / values), axis=(1, 2, 3))
        of_regions = ops.mean(ops.square(_regions(difference) / regions), axis=(1, 2, 3))
        of_average = ops.mean(ops.square(ops.mean(difference, axis=(1, 2)) / averages), axis=-1)
        return of_grid + REGIONS_WEIGHT * of_regions + AVERAGE_WEIGHT * of_average

    return loss


def _at_least(found: NDArray[np.floating]) -> NDArray[np.float32]:
    least = max(MIN_DEVIATION_SHARE * float(np.median(found)), 1e-6)
    deviations: NDArray[np.float32] = np.maximum(found, least).astype(np.float32)
    return deviations
