"""The student: a small network that makes a grid of the teacher's shape, and its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from featx.backbones import Backbone
from featx.backbones._mini import LAST_WEIGHTS, MINI, build_mini
from featx.backbones._saved import load_saved
from featx.backbones._settings import own_keras_settings
from featx.backbones._spec import Precision, by
from featx.backbones._weights import draw_weights
from featx.errors import InputError
from featx_cache._text import first_line
from featx_cache.files import open_regular

KERAS_SUFFIX, WEIGHTS_SUFFIX = ".keras", ".weights.h5"
MAX_FLOAT16 = float(np.finfo(np.float16).max)


def name_student(file: Path | None) -> str:
    """Return what tells a student apart: its name, or the hash of its file."""
    if file is None:
        return MINI
    try:
        with open_regular(file) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"there is no student {file}", "Give `student` a .keras file.", parameter="student"
        ) from error


def build_student(
    file: Path | None, teacher: Backbone, *, precision: Precision = "float32", seed: int = 0
) -> Any:
    """Build featx-mini with seeded weights for a teacher's images, or load a student.

    Raises
    ------
    InputError
        If the teacher's embedding is no grid, or the student can't make it.
    """
    import keras

    size, grid = teacher.spec.input_size, teacher.main_shape
    if len(grid) != 3:
        raise InputError(
            f"the teacher's embedding has the shape {by(grid)}, which is no grid of rows and "
            "columns",
            "Give `layer` a layer that makes one, such as block5_pool of vgg16.",
            parameter="layer",
        )
    if file is not None:
        student = load_saved(file, precision)
    else:
        with own_keras_settings():
            if precision != "float32":
                keras.mixed_precision.set_dtype_policy(f"mixed_{precision}")
            try:
                student = build_mini(input_shape=(size, size, 1), channels=grid[-1])
            except ValueError as error:
                raise InputError(
                    f"{MINI} can't take {size} pixels ({first_line(error)[:100]})",
                    "Give a larger `input_size`, or a `student`.",
                    parameter="input_size",
                ) from error
        draw_weights(student, seed)
    _require_fit(student, file, teacher)
    return student


def save_student(student: Any, path: Path, suffix: str, scratch: Path) -> None:
    """Write a student with float32 weights, or its weights alone as float16.

    Parameters
    ----------
    student
        Network whose weights are values of float16. It isn't compiled.
    path
        File to write.
    suffix
        ``.keras`` or ``.weights.h5``.
    scratch
        Folder for a file of Keras, which writes to names with its own suffixes only.
    """
    whole = scratch / f"student{suffix}"
    try:
        if suffix == KERAS_SUFFIX:
            student.save(whole)
            path.write_bytes(whole.read_bytes())
        else:
            student.save_weights(whole)
            _halve(whole, path)
    finally:
        whole.unlink(missing_ok=True)


def round_weights(student: Any, weights: list[Any]) -> None:
    """Fill a student with weights, rounded to values that float16 has."""
    for variable, value in zip(student.variables, weights, strict=True):
        array = np.asarray(value)
        if array.dtype == np.float32:
            array = array.clip(-MAX_FLOAT16, MAX_FLOAT16).astype(np.float16).astype(np.float32)
        variable.assign(array)


def scale_outputs(student: Any, scale: NDArray[np.float32]) -> None:
    """Multiply the channels of featx-mini's output. What follows its last weights keeps scales."""
    last = student.get_layer(LAST_WEIGHTS)
    last.set_weights([weights * scale for weights in last.get_weights()])


def _halve(source: Path, target: Path) -> None:
    """Copy a weights file of Keras, its float32 arrays as float16."""

    def copy(one: h5py.Group, other: h5py.Group) -> None:
        for name, value in one.attrs.items():
            other.attrs[name] = value
        for name, entry in one.items():
            if isinstance(entry, h5py.Group):
                copy(entry, other.create_group(name))
            else:
                values = entry[()]
                is_float32 = values.dtype == np.float32
                other[name] = values.astype(np.float16) if is_float32 else values

    with h5py.File(source) as whole, h5py.File(target, "w") as half:
        copy(whole, half)


def _require_fit(student: Any, file: Path | None, teacher: Backbone) -> None:
    """Refuse a student that can't make the teacher's grid of the teacher's images."""
    size, grid, name = teacher.spec.input_size, teacher.main_shape, file or MINI
    height, width, channels = student.inputs[0].shape[1:]
    try:
        if {height, width} - {None, size}:
            raise ValueError(f"it takes {height}x{width}")
        made = student.compute_output_shape((None, size, size, channels))
    except ValueError as error:
        raise InputError(
            f"the student {name} is unfit: it can't take the teacher's {size}x{size} pixels "
            f"({first_line(error)[:100]})",
            "Give another `student` or `input_size`.",
            parameter="student",
        ) from error
    if not student.trainable_weights:
        raise InputError(
            f"the student {name} is unfit: it has no weights to train",
            "Save it with `trainable = True`, or give another `student`.",
            parameter="student",
        )
    layer = teacher.spec.parts[0].name if teacher.spec.parts else teacher.spec.layer
    shape = tuple(made[1:]) if isinstance(made, tuple) else ()
    if shape != grid:
        found = by(shape) if shape and all(isinstance(s, int) for s in shape) else str(made)
        raise InputError(
            f"the student {name} is unfit: of {size}x{size} pixels it makes {found}, and the "
            f"teacher's {layer} makes {by(grid)}",
            "Give a `student` that makes the teacher's grid, or another `layer`.",
            parameter="student",
        )
