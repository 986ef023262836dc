"""What the scoring process is asked and what it answers: JSON, each message after its length.

The process decodes what strangers sent. If one of their files took it over, it could answer
anything, so its answers can't be more than values of these forms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter

from featx.scoring import Prediction
from featx.worklist._items import RunFacts

MAX_BYTES = 64 * 2**20
"""Bytes of the largest message. The largest picture has about 10 million."""

_LENGTH = struct.Struct(">I")
_CONFIG = ConfigDict(
    strict=True,
    extra="forbid",
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="constants",
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Runs to load, and how.

    Attributes
    ----------
    paths
        Directories of the runs.
    runtime, weights
        See `featx.load_run`.

    Examples
    --------
    >>> RunSettings(("runs/logreg", "runs/svm")).paths[0]
    'runs/logreg'
    """

    paths: tuple[str, ...]
    runtime: Literal["tensorflow", "ncnn"] | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What the process is asked for.

    Attributes
    ----------
    kind
        ``runs``: which they are. ``score``: predictions. ``explain``: what a page shows.
        ``figure``: what `featx explain` writes. ``picture``: the image.
    paths
        Files that it is about: one, except for ``score``.
    name
        Name of the file in the figure.
    side
        Pixels of the picture's longer side.
    """

    kind: Literal["runs", "score", "explain", "figure", "picture"]
    paths: tuple[str, ...] = ()
    name: str = ""
    side: int = 0


@dataclass(frozen=True, slots=True)
class ScoredFiles:
    """Predictions of the runs for files, and which runs made them.

    Attributes
    ----------
    runs
        Facts of the runs.
    predictions
        A tuple for each file, with one prediction for each run.
    notice
        Reason why a run that was replaced isn't used. Empty if there is none.
    """

    runs: tuple[RunFacts, ...]
    predictions: tuple[tuple[Prediction, ...], ...] = ()
    notice: str = ""


@dataclass(frozen=True, slots=True)
class NearestImage:
    """Training image that is like the image explained.

    Attributes
    ----------
    label
        Its class.
    distance
        Distance of the averaged embeddings, 1 - cosine: 0..2.
    picture
        Content of a PNG file of it. None if its file is gone.
    """

    label: str
    distance: float
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of an image.

    Attributes
    ----------
    method, unit, meaning
        See `featx.explain.Method`.
    overlay
        Content of a PNG file: the map's colors, transparent where it is near zero.
    nearest
        Training images that are most like it.
    notes
        Sentences to read with the map.
    run
        `RunFacts.id` of the run that is explained.
    """

    method: str
    unit: str
    meaning: str
    overlay: bytes
    nearest: tuple[NearestImage, ...]
    notes: tuple[str, ...]
    run: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Answer if a request failed.

    Attributes
    ----------
    what, hint
        Error, as a `FeatxError` has it.
    expected
        Whether it is such an error. Otherwise something is wrong with featx, or with the image.
    """

    what: str
    hint: str = ""
    expected: bool = True


SETTINGS: TypeAdapter[RunSettings] = TypeAdapter(RunSettings)
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
SCORED: TypeAdapter[ScoredFiles | Failed] = TypeAdapter(ScoredFiles | Failed, config=_CONFIG)
SHOWN: TypeAdapter[Shown | Failed] = TypeAdapter(Shown | Failed, config=_CONFIG)
PNG: TypeAdapter[bytes | Failed] = TypeAdapter(bytes | Failed, config=_CONFIG)


def write(pipe: IO[bytes], message: T, form: TypeAdapter[T]) -> None:
    """Write a message. Floats keep their bits.

    Raises
    ------
    OSError
        If nobody reads it.
    """
    content = form.dump_json(message)
    pipe.write(_LENGTH.pack(len(content)) + content)
    pipe.flush()


def read(pipe: IO[bytes], form: TypeAdapter[T]) -> T:
    """Read a message.

    Raises
    ------
    EOFError
        If there is none, or its end is missing.
    ValueError
        If it is too long, or not of the form.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > MAX_BYTES:
        raise ValueError(f"a message of {length} bytes")
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError
    return form.validate_json(content)
