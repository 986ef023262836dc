"""The spec of a distillation: all that decides the student's weights."""

from __future__ import annotations

from pydantic import Field

from featx._specs import Spec
from featx.backbones._spec import Precision
from featx.extraction import ExtractionSpec


class RowsSpec(Spec):
    """All that decides the rows: the student's inputs and the teacher's embeddings of them.

    Attributes
    ----------
    teacher
        What makes the teacher's embeddings: network, decoding and copies.
    images
        Number of distinct images.
    images_sha256
        Hash of the sorted hashes of the images.
    channels
        Channels of the student's input: 1 or 3.
    """

    teacher: ExtractionSpec
    images: int
    images_sha256: str
    channels: int


class TrainingSpec(Spec):
    """All that decides how the student learns from the rows.

    Attributes
    ----------
    student
        Name of the student, or SHA-256 of its file.
    seed
        Seed of the held-out images, the order of the rows, and the initial weights.
    epochs
        Number of times that the student sees every row.
    learning_rate
        Peak of the learning rate.
    precision
        Number format of the training's arithmetic.
    """

    student: str
    seed: int = Field(0, ge=0)
    epochs: int = Field(8, ge=1, le=10_000)
    learning_rate: float = Field(2e-3, gt=0.0, allow_inf_nan=False)
    precision: Precision = "float32"
