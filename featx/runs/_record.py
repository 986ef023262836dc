"""Record of a run: ``run.json``."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from featx.errors import InputError
from featx.extraction import ExtractionSpec
from featx.heads import HeadSpec
from featx.runs._record_parts import (
    CalibrationRecord,
    PromiseRecord,
    RunMetrics,
    SearchRecord,
    SecondsRecord,
    TuningRecord,
)
from featx.thresholds import Criterion, Recalibration
from featx_cache._text import printable

SCHEMA: Literal[3] = 3
RECORD_NAME = "run.json"
OOF_NAME = "oof.csv"
OOF_COPIES_NAME = "oof_copies.csv"
TRAINING_NAME = "training.txt"
REFERENCE_NAME = "reference.h5"
CALIBRATION_NAME = "calibration.csv"
LOG_NAME = "fit.log"
HISTORY_NAME, CURVES_NAME = "history.csv", "curves.png"
STUDY_NAME = "study"
TENSORBOARD_NAME = "tensorboard"
CHECKSUM = "checksum"
_PACKAGES = (
    *("featx", "tensorflow", "keras", "ncnn", "scikit-learn", "numpy", "optuna", "h5py"),
    "pillow",
)


class RunRecord(BaseModel):
    """Record of a run: what was fitted, on what, with what result.

    Attributes
    ----------
    threshold, criterion
        Operating point, and the criterion that chose it out of fold.
    accuracy_floor
        Accuracy floor of the criterion. 0 if it has none.
    classes
        Negative and positive class.
    head, extraction, fingerprint
        Spec of the head, spec of the embeddings, and fingerprint of the latter.
    head_file
        ``head.keras`` or ``head.skops``.
    cache, weights
        Places of the embeddings and of the backbone's weights when the run was fitted.
    fitted_splits, images, patients, folds, copies
        Data that the run was fitted on. `copies` counts the augmented copies of a training image.
    tta
        Number of copies that each score is averaged over, besides the untouched image.
    choose_on
        Out-of-fold scores that the threshold was chosen on: of ``untouched`` images, of their
        ``copies``, or of ``both``.
    metrics
        Metrics on the out-of-fold scores.
    search
        Search that found the threshold.
    tuning
        Search of `featx.tune`: the study, its trials, and what the best trial achieved. None for a
        fit.
    promise
        Promise of the operating point. None if nothing is promised.
    band
        Uncertain range around the threshold; see `featx.thresholds.uncertain_range`. None in runs
        of earlier versions.
    recalibration
        Map from the head's scores to this run's. None leaves the scores as they are.
    calibrated
        Calibration on other images: from which run, on what, old and new operating point. None if
        the run wasn't calibrated.
    files
        Name -> SHA-256 of the other files of the run. Empty in runs of earlier versions.
    seconds
        Seconds of the out-of-fold scores, the final fit, and a prediction of one image's embedding.
    versions
        Versions of Python and of the packages that decide results.

    Examples
    --------
    >>> record = featx.load_run("runs/logreg").record  # doctest: +SKIP
    >>> record.threshold, record.metrics.out_of_fold.recall, record.head.name  # doctest: +SKIP
    (0.412, 0.968, 'logreg')
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[3] = SCHEMA
    created: str
    threshold: float = Field(allow_inf_nan=False)
    accuracy_floor: float = Field(ge=0, le=1)
    criterion: Criterion = Criterion()
    classes: tuple[str, str]
    head: HeadSpec
    head_file: Literal["head.keras", "head.skops"]
    extraction: ExtractionSpec
    fingerprint: str
    cache: str
    weights: str
    seed: int = Field(ge=0, lt=2**32)
    fitted_splits: tuple[str, ...]
    images: int
    patients: int
    folds: int
    copies: int
    tta: int = Field(0, ge=0)
    choose_on: Literal["untouched", "copies", "both"] = "untouched"
    metrics: RunMetrics
    search: SearchRecord
    tuning: TuningRecord | None = None
    promise: PromiseRecord | None = None
    band: tuple[float, float] | None = None
    recalibration: Recalibration | None = None
    calibrated: CalibrationRecord | None = None
    files: dict[str, str] = Field(default_factory=dict)
    seconds: SecondsRecord
    versions: dict[str, str]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields replaced. Unlike pydantic's, they are validated."""
        del deep  # nothing in a record changes
        return self.model_validate({**dict(self), **(update or {})})

    def __repr__(self) -> str:
        return f"RunRecord({self.head.name}, threshold {self.threshold:.6g}, {self.created})"

    __str__ = __repr__  # pydantic has all fields in it

    @field_validator("files")
    @classmethod
    def _beside_it(cls, files: dict[str, str]) -> dict[str, str]:
        """Refuse files that lie elsewhere: what is named here is read and copied."""
        for name in files:
            if name in ("", ".", "..") or "\0" in name or Path(name).name != name:
                raise ValueError(f"{name!r} is not a file beside it")
        return files

    @field_validator("classes")
    @classmethod
    def _of_plain_text(cls, classes: tuple[str, str]) -> tuple[str, str]:
        """Refuse names that a terminal would obey: they stand in tables, figures and reports."""
        for name in classes:
            if printable(name) != name:
                raise ValueError(f"{name!r} is not printable text")
        return classes

    @model_validator(mode="before")
    @classmethod
    def _from_earlier(cls, values: Any) -> Any:
        """Read runs of schema 1, in which epochs and precision stood beside the head's name, and 2.

        Schema 3 added fields only.
        """
        if not isinstance(values, dict) or values.get("schema_version") not in (1, 2):
            return values
        if values["schema_version"] == 2:
            return values | {"schema_version": SCHEMA}
        head = dict(values["head"])
        settings = {name: head.pop(name) for name in ("epochs", "precision") if name in head}
        if head.get("name") == "keras":
            head["settings"] = settings
        return values | {"schema_version": SCHEMA, "head": head}

    @model_validator(mode="before")
    @classmethod
    def _with_criterion(cls, values: Any) -> Any:
        """Give runs of earlier versions their criterion, which was an accuracy floor."""
        if not isinstance(values, dict) or values.get("criterion") is not None:
            return values
        try:
            return values | {"criterion": Criterion(accuracy_floor=values.get("accuracy_floor"))}
        except InputError:  # the field is refused by its own name
            return values

    @field_validator("criterion", mode="before")
    @classmethod
    def _read_criterion(cls, value: Any) -> Criterion:
        """Read a criterion. What it refuses is a damaged record."""
        try:
            return Criterion.model_validate(value)
        except InputError as error:
            raise ValueError(error.what) from error

    @model_validator(mode="after")
    def _of_one_floor(self) -> Self:
        if self.accuracy_floor != (self.criterion.accuracy_floor or 0.0):
            raise ValueError("accuracy_floor isn't that of the criterion")
        return self


def read_record(folder: Path) -> RunRecord:
    """Read ``run.json``.

    Raises
    ------
    InputError
        If the folder isn't a run, or the file is damaged or of an unknown schema.

    Examples
    --------
    >>> read_record(Path("runs/logreg")).threshold  # doctest: +SKIP
    0.412
    """
    path = folder / RECORD_NAME
    again = "It is damaged or from another version of featx. Fit the run again."
    if not path.is_file():
        what = f"{folder} is not a run (it has no {RECORD_NAME})"
        if not folder.exists():
            what = f"there is no run at {folder}"
        raise InputError(what, "Make one with `featx.fit`.")
    require_inside(folder, path)
    try:
        content = path.read_bytes()
        record = RunRecord.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise InputError(f"{path} can't be used: {where}: {first['msg']}", again) from error
    values = json.loads(content)
    if values.get(CHECKSUM, wanted := checksum(values)) != wanted:
        raise InputError(f"{path} is damaged: it isn't what featx wrote", again)
    return record


def require_inside(folder: Path, path: Path) -> None:
    """Refuse a file of a run that is a link: in a run of somebody else's it could show any file."""
    if path.resolve().parent != folder.resolve():
        raise InputError(
            f"{path} leads out of the run, to {path.resolve()}",
            "Put the file itself in its place, if you trust the run.",
        )


def checksum(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a record says: its fields but for the checksum, keys sorted.

    A digit of the threshold that a bad disk changed would else go unnoticed.
    """
    said = {name: value for name, value in values.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def record_text(record: RunRecord) -> str:
    """Return the content of ``run.json``, its checksum included."""
    values = json.loads(record.model_dump_json())
    return json.dumps(values | {CHECKSUM: checksum(values)}, indent=2, ensure_ascii=False) + "\n"


def write_record(folder: Path, record: RunRecord) -> RunRecord:
    """Write ``run.json`` as the last file of a run, with the hashes of the others."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    whole = record.model_copy(update={"files": hashes})
    (folder / RECORD_NAME).write_text(record_text(whole), encoding="utf-8")
    return whole


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
