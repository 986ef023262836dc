"""What a worklist knows of an image, of a run, and of what may come in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from featx.errors import FeatxError
from featx.scoring import Prediction

Origin = Literal["upload", "watch", "dicom"]
"""Way by which an image came: over HTTP, from the watched folder, or over the DICOM network."""

State = Literal["waiting", "scored", "failed"]
ID_DIGITS = 32
"""Hexadecimal digits of an identifier: 128 bits of a hash."""

SHOWN_DIGITS = 8
"""Digits of an identifier that people see."""


class RefusedImageError(FeatxError):
    """A file that a worklist doesn't take. Its reason names nobody.

    Attributes
    ----------
    kind
        Kind of the reason, for programs: ``size``, ``pixels`` or ``unreadable``.

    Examples
    --------
    >>> RefusedImageError("the file is empty").code
    'refused-image'
    """

    code = "refused-image"

    def __init__(self, what: str, hint: str = "", *, kind: str = "unreadable") -> None:
        self.kind = kind
        super().__init__(what, hint)


class FullQueueError(FeatxError):
    """So many images wait for a score that a worklist takes no more at the moment.

    Examples
    --------
    >>> FullQueueError("1,000 images wait").code
    'full-queue'
    """

    code = "full-queue"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what a worklist takes.

    Attributes
    ----------
    file_bytes
        Bytes of the largest file. The largest X-ray of 16 bits has about 50 MB.
    pixels
        Pixels of the largest image. The largest detectors have about 20 million.
    request_files
        Number of files in one upload.
    request_bytes
        Bytes of the largest upload.
    waiting
        Number of images that may wait for a score.

    Examples
    --------
    >>> Limits(waiting=10).pixels
    60000000
    """

    file_bytes: int = 96 * 2**20
    pixels: int = 60_000_000
    request_files: int = 200
    request_bytes: int = 2 * 2**30
    waiting: int = 1000


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a page says about a run.

    Attributes
    ----------
    id
        SHA-256 of its record, the first 128 bits: a run that was replaced has another one.
    name
        Name that tells it from the other runs.
    path
        Directory of the run.
    head
        Name of its head.
    classes
        Negative and positive class.
    threshold
        Score from which on an image is called positive.
    band
        Scores between which a verdict is uncertain. None if the run has no such range.
    recall, accuracy
        Cross-validated metrics of the run at its threshold. None if they aren't known.
    images
        Number of images that they are of. None if it isn't known.

    Examples
    --------
    >>> RunFacts("ab", "logreg", "runs/logreg", "logreg", ("NORMAL", "PNEUMONIA"), 0.4).positive
    'PNEUMONIA'
    """

    id: str
    name: str
    path: str
    head: str
    classes: tuple[str, str]
    threshold: float
    band: tuple[float, float] | None = None
    recall: float | None = None
    accuracy: float | None = None
    images: int | None = None

    @property
    def positive(self) -> str:
        """Name of the positive class."""
        return self.classes[1]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Result that is to be delivered to a destination.

    Attributes
    ----------
    image
        Identifier of the image.
    run
        Identifier of the run.
    destination
        Folder, node or address, as it was given.
    tries
        Number of times that it was tried.

    Examples
    --------
    >>> Delivery("5f1c", "ab", "results", 0).tries
    0
    """

    image: str
    run: str
    destination: str
    tries: int


@dataclass(frozen=True, slots=True)
class Item:
    """Image of a worklist.

    Attributes
    ----------
    id
        Identifier: SHA-256 of the image's content, the first 128 bits in hexadecimal digits.
    received
        Time when it came, with its time zone.
    origin
        Way by which it came: ``upload``, ``watch`` or ``dicom``.
    format
        Format of the file, such as ``JPEG`` or ``DICOM``.
    state
        ``waiting`` for its score, ``scored``, or ``failed``: then `error` says why.
    path
        File of the image. None once it isn't kept any more.
    name
        Name of the file as it was given. Of a DICOM file it is a made one, since names of such
        files often name patients. It isn't kept longer than the image.
    patient, study
        Pseudonyms from a DICOM header, or empty texts.
    error
        Reason why there is no score. Empty if there is one.
    reading
        Class that a reader saw. Empty if nobody has read it.
    predictions : dict of str to Prediction
        Prediction of each run that scored it, by the run's `RunFacts.id`.

    Examples
    --------
    >>> worklist.get(identifier).predictions  # doctest: +SKIP
    """

    id: str
    received: datetime
    origin: Origin
    format: str
    state: State
    path: Path | None
    name: str
    patient: str = ""
    study: str = ""
    error: str = ""
    reading: str = ""
    predictions: dict[str, Prediction] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """Short form of the identifier, which people can read to each other."""
        return self.id[:SHOWN_DIGITS]

    def prediction(self, run: RunFacts) -> Prediction:
        """Return the prediction of a run. Without one it has no score."""
        found = self.predictions.get(run.id)
        return found or Prediction(self.name, None, None, run.threshold, "", error=self.error)

    def as_rows(self, runs: tuple[RunFacts, ...]) -> list[dict[str, Any]]:
        """Return what `featx predict` writes as JSON, one row a run, and what the worklist adds.

        Added are `id`, `state`, `received` and `reading`. If there are several runs, `run` names
        the run.
        """
        rows = []
        for run in runs:
            prediction = self.prediction(run)
            about: dict[str, Any] = {"id": self.id, "state": self.state}
            if len(runs) > 1:
                about["run"] = run.name
            values = {name: getattr(prediction, name) for name in Prediction.__slots__}
            rows.append(
                about
                | values
                | {"received": self.received.isoformat(), "reading": self.reading or None}
            )
        return rows


@dataclass(frozen=True, slots=True)
class Result:
    """What a run said of an image, for a report.

    Attributes
    ----------
    item
        The image.
    run
        The run. It may be one that was replaced since.
    prediction
        What it said.
    scored
        Time when it said so, with its time zone.

    Examples
    --------
    >>> worklist.result(identifier, run.id).prediction  # doctest: +SKIP
    """

    item: Item
    run: RunFacts
    prediction: Prediction
    scored: datetime
