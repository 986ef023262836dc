"""From images and a large frozen network to a small network, in one call."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featx._progress import Progress, progress_of
from featx._silence import import_tensorflow
from featx._specs import spec_errors
from featx._version import __version__
from featx.backbones import Backbone, load_backbone
from featx.backbones._device import placement
from featx.backbones._precision import PrecisionChoice, resolve_precision
from featx.backbones._runtime import RuntimeChoice
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import PoolExtra
from featx.data import ImageSource
from featx.distilling._agreement import Agreement
from featx.distilling._images import ImageFiles, find_image_files
from featx.distilling._spec import RowsSpec, TrainingSpec
from featx.distilling._student import (
    KERAS_SUFFIX,
    WEIGHTS_SUFFIX,
    build_student,
    name_student,
    round_weights,
    save_student,
)
from featx.distilling._training import compare, divide, train
from featx.distilling._work_folder import Rows, WorkFolder
from featx.errors import InputError
from featx.extraction import ExtractionOptions, ExtractionSpec
from featx.extraction._cache_folder import augmentation_of, runtime_of
from featx.extraction._extract_images import fill_shards
from featx.images import AugmentationSpec, preset_augmentation
from featx.runs._outputs import require_output
from featx_cache._text import plural, printable
from featx_cache.files import LOCK_WAIT_SECONDS, atomic_path, lock


@dataclass(frozen=True, slots=True, eq=False)
class Distillation:
    """A student that was trained and written.

    Attributes
    ----------
    path, facts_path
        File of the student, and file of what it was made from.
    images, rows
        Distinct images, and rows: images and their copies.
    history
        One line a part of an epoch: epoch, step, loss, seconds.
    agreement
        Agreement with the teacher on held-out images: ``untouched`` and ``copies``. Empty if
        there was but one patient.
    facts
        What the student was made from, as the second file has it.
    unreadable
        Relative path -> reason, for images that were left out.

    Examples
    --------
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> same = Agreement(500, 0.951, 0.972, 0.981, 0.9)
    >>> paths = Path("mini.keras"), Path("mini.json")
    >>> Distillation(*paths, 5_232, 15_696, pd.DataFrame(), {"untouched": same})
    Distillation(mini.keras, 5,232 images, correlation with the teacher 0.951)
    """

    path: Path
    facts_path: Path
    images: int
    rows: int
    history: pd.DataFrame
    agreement: Mapping[str, Agreement]
    facts: Mapping[str, Any] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        found = self.agreement.get("untouched")
        said = f", correlation with the teacher {found.correlation:.3f}" if found else ""
        return printable(f"Distillation({self.path}, {plural(self.images, 'image')}{said})")

    def to_frame(self) -> pd.DataFrame:
        """Return the agreement, one line for untouched images and one for copies."""
        lines = [each.to_dict() for each in self.agreement.values()]
        return pd.DataFrame(lines, index=list(self.agreement))


def distill(  # noqa: PLR0913
    data: ImageSource,
    out: str | Path,
    backbone: Backbone | str | Path = "vgg16",
    *,
    cache: str | Path | None = None,
    student: str | Path | None = None,
    epochs: int = 8,
    learning_rate: float = 2e-3,
    weights: str = "imagenet",
    input_size: int | None = None,
    layer: str | Sequence[str] | None = None,
    pool_extra: PoolExtra = "none",
    precision: PrecisionChoice = "auto",
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
    augmentation: AugmentationSpec | str | None = None,
    copies: int | None = None,
    seed: int = 0,
    options: ExtractionOptions | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> Distillation:
    """Train a small network to make the embeddings of a large one. Labels aren't needed.

    The teacher embeds all images and their disturbed copies into a cache, and the student learns
    to make the same embeddings. It is written as a backbone: give its path to `featx.extract`. An
    interrupted call goes on where it was when it is made again with the same settings.

    Parameters
    ----------
    data
        Folder of images of any layout, or whatever `load_manifest` reads.
    out
        File to write: ``NAME.keras``, or ``NAME.weights.h5`` for the weights alone as float16.
        ``NAME.json`` beside it says what it was made from. A folder ``OUT.unfinished`` is there
        meanwhile.
    backbone
        Teacher: see `featx.extract`.
    cache
        Folder of the teacher's embeddings, which may be there already, with copies or without.
        Its labels and its index stay as they are. None is ``NAME-embeddings`` beside `out`.
    student
        ``.keras`` file of a network to train, which takes a square image of one or three channels
        with values 0..255 and makes a grid of the teacher's shape. None is the network of
        featx-mini: a million weights, a grid like VGG's block5_pool.
    epochs
        Number of times that the student sees every row.
    learning_rate
        Peak of the learning rate of AdamW, which rises over 200 steps and falls as a cosine.
    weights, input_size, layer, pool_extra, precision, device, runtime
        Settings of the teacher: see `load_backbone`. If it has several layers, the student learns
        the deepest. The student trains on the same device, in the same precision.
    augmentation, copies
        Kind and number of the copies of each image: see `featx.extract`.
    seed
        Seed of the copies, the held-out images, the order of the rows, and all initial weights.
    options
        Batch size of the teacher, and the like.
    force
        Whether files that are there already are replaced.
    progress
        Whether to show bars in a terminal or notebook.

    Returns
    -------
    Distillation
        Paths, history, and agreement with the teacher on a tenth of the images, 500 at most, which
        are held out.

    Raises
    ------
    InputError
        If no image can be read, the student doesn't fit, the teacher makes vectors, or `out` is
        there already.
    SpecMismatchError
        If an interrupted call had other settings, or the cache was made with others.
    StorageError
        If the disk is full or can't be written.
    FeatxError
        If the training diverges.

    Examples
    --------
    >>> import featx
    >>> featx.distill("our_images", "mini.keras", backbone="vgg16")  # doctest: +SKIP
    Distillation(mini.keras, 5,232 images, correlation with the teacher 0.951)
    >>> featx.extract("chest_xray", "embeddings", backbone="mini.keras")  # doctest: +SKIP
    """
    progress, out = progress_of(progress), Path(out)
    suffix, facts_path = _name_outputs(out)
    student_file = None if student is None else Path(student)
    for path in (out, facts_path):
        require_output(path, "`out`", force=force, inputs=[] if student is None else [student])
    name = name_student(student_file)
    import_tensorflow()
    cache = cache_beside(out) if cache is None else Path(cache)
    images = find_image_files(data, progress)
    with spec_errors():
        if isinstance(augmentation, AugmentationSpec):
            changes = {} if copies is None else {"copies": copies}
            augmentation = AugmentationSpec.model_validate(augmentation.model_dump() | changes)
        elif augmentation is None:
            augmentation = augmentation_of(cache, copies=copies, seed=seed)
        else:
            augmentation = preset_augmentation(augmentation, copies=copies, seed=seed)
    if not isinstance(backbone, Backbone):
        backbone = load_backbone(
            str(backbone),
            weights=weights,
            input_size=input_size,
            precision=precision,
            seed=seed,
            layer=layer,
            pool_extra=pool_extra,
            device=device,
            runtime=runtime_of(cache, precision) if runtime == "auto" else runtime,
        )
    elif (weights, input_size, layer, pool_extra, device, runtime) != _DEFAULT_CHOICES:
        raise InputError(
            "a loaded backbone has its own weights, input size, layers, device and runtime",
            "Leave them out, or give `backbone` a name.",
            parameter="backbone",
        )
    extraction = ExtractionSpec(backbone=backbone.spec, augmentation=augmentation)
    untrained = build_student(student_file, backbone)
    rows_spec = RowsSpec(
        teacher=extraction,
        images=len(images.table),
        images_sha256=images.sha256,
        channels=int(untrained.inputs[0].shape[-1]),
    )
    with spec_errors():
        training = TrainingSpec(
            student=name,
            seed=seed,
            epochs=epochs,
            learning_rate=learning_rate,
            precision=resolve_precision(precision, backbone.device)[0],
        )
    job = _Job(backbone, student_file, rows_spec, training, WorkFolder(_work_folder_of(out)))
    with lock(job.work.path, wait=LOCK_WAIT_SECONDS):
        job.work.agree(rows_spec, training)
        rows = job.open_or_make_rows(images, cache, options or ExtractionOptions(), progress)
        job.work.begin_training(rows_spec, training)
        trained, history, agreement = job.train(rows, images, progress)
        unreadable = images.unreadable_with(rows.keys)
        facts = job.facts(rows, history, agreement)
        facts |= {"unreadable": len(unreadable), "repeated": images.repeated}
        with atomic_path(out, replace=force) as temporary:
            save_student(trained, temporary, suffix, job.work.path)
            facts |= {"bytes": temporary.stat().st_size}
            facts |= {"sha256": hashlib.sha256(temporary.read_bytes()).hexdigest()}
        with atomic_path(facts_path) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n")
        job.work.remove()
    return Distillation(
        out,
        facts_path,
        images=facts["images"],
        rows=facts["rows"],
        history=history,
        agreement=agreement,
        facts=facts,
        unreadable=unreadable,
    )


_DEFAULT_CHOICES = ("imagenet", None, None, "none", "auto", "auto")
"""Parameters of a teacher that nobody has chosen."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A teacher, a student, their settings, and the folder of what isn't finished."""

    teacher: Backbone
    student: Path | None
    rows: RowsSpec
    training: TrainingSpec
    work: WorkFolder

    def open_or_make_rows(
        self, images: ImageFiles, cache: Path, options: ExtractionOptions, progress: Progress
    ) -> Rows:
        """Open the rows that an interrupted call has made, or make them."""
        grid = self.teacher.main_shape
        rows = self.work.open_rows(self.rows, grid)
        if rows is not None:
            return rows
        size, augmentation = self.teacher.spec.input_size, self.rows.teacher.augmentation
        wanted = len(images.table) * (1 + augmentation.copies)
        self.work.require_room(wanted, (size, size, self.rows.channels), grid)
        filled = fill_shards(
            images.as_manifest(),
            cache,
            self.teacher,
            self.rows.teacher,
            options=options,
            progress=progress,
        )
        report = filled.report
        progress.note(f"{report.new_rows:,} of {wanted:,} embeddings of the teacher were computed.")
        for path, reason in filled.unreadable.items():
            progress.note(f"Skipped {path}: {reason}")
        return self.work.write_rows(images, filled, self.rows, grid, progress)

    @own_keras_settings()
    def train(
        self, rows: Rows, images: ImageFiles, progress: Progress
    ) -> tuple[Any, pd.DataFrame, dict[str, Agreement]]:
        """Train a student. Return it in float32 with rounded weights, and how it went."""
        groups = dict(zip(images.table["sha256"], images.table["group"], strict=True))
        spec = self.training
        division = divide(rows, groups, spec.seed)
        with placement(self.teacher.device):
            learner = build_student(
                self.student, self.teacher, precision=spec.precision, seed=spec.seed
            )
            history = train(learner, rows, division, spec, self.work, progress)
            finished = build_student(self.student, self.teacher)
            round_weights(finished, learner.variables)
            return finished, history, compare(finished, rows, division.held_out)

    def facts(
        self, rows: Rows, history: pd.DataFrame, agreement: Mapping[str, Agreement]
    ) -> dict[str, Any]:
        """Say what the student was made from, and how well it learned."""
        return {
            "featx": __version__,
            "student": self.training.student,
            "images": len(np.unique(rows.keys.image_sha256)),
            "rows": len(rows.keys.copy),
            "images_sha256": self.rows.images_sha256,
            "channels": self.rows.channels,
            "teacher_fingerprint": self.rows.teacher.fingerprint,
            "teacher": self.rows.teacher.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "loss": round(float(history["loss"].iloc[-1]), 6),
            "held_out": {name: _as_json(each) for name, each in agreement.items()},
        }


def _as_json(agreement: Agreement) -> dict[str, float | None]:
    """Return the numbers. JSON has no word for those that there aren't, as of a single row."""
    numbers = agreement.to_dict()
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _name_outputs(out: Path) -> tuple[str, Path]:
    """Return the suffix of the student's file, and the name of the file of facts."""
    for suffix in (KERAS_SUFFIX, WEIGHTS_SUFFIX):
        if (stem := out.name.removesuffix(suffix)) not in ("", out.name):
            return suffix, out.with_name(f"{stem}.json")
    raise InputError(
        f"{out} is neither a {KERAS_SUFFIX} nor a {WEIGHTS_SUFFIX} file",
        f"Name it NAME{KERAS_SUFFIX}, or NAME{WEIGHTS_SUFFIX} for the weights alone.",
        parameter="out",
    )


def cache_beside(out: Path) -> Path:
    """Return the folder of the teacher's embeddings, if nobody named one."""
    _, facts_path = _name_outputs(out)
    return facts_path.with_name(f"{facts_path.stem}-embeddings")


def _work_folder_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.unfinished")
