"""The parts of a run's record: metrics, search, promise, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer

from featx.evaluation import Metrics
from featx.thresholds import Promise


class RecordPart(BaseModel, Mapping[str, Any]):
    """A part of a record, as attributes and as a mapping of what ``run.json`` says.

    Earlier versions of featx wrote less, later ones may write more. What a file doesn't say has a
    default as an attribute, and no key. Fields that aren't declared are kept.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    @model_serializer(mode="plain")
    def _said(self) -> dict[str, Any]:
        fields = {
            field.alias or name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set
        }
        return fields | (self.model_extra or {})

    def __getitem__(self, name: str) -> Any:
        return self._said()[name]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self._said())

    def __len__(self) -> int:
        return len(self._said())


class IntervalRecord(RecordPart):
    """Ends of a 95 % interval."""

    low: float
    high: float


class MetricsRecord(RecordPart):
    """Metrics at an operating point; see `featx.evaluation.Metrics`. None is undefined."""

    images: int
    patients: int
    threshold: float
    accuracy: float | None
    balanced_accuracy: float | None = None
    recall: float | None
    specificity: float | None
    precision: float | None
    npv: float | None = None
    f1: float | None
    mcc: float | None = None
    roc_auc: float | None
    average_precision: float | None
    brier: float | None = None
    log_loss: float | None
    calibration_error: float | None = None
    confusion: dict[str, int]
    intervals: dict[str, IntervalRecord]
    other_intervals: dict[str, dict[str, IntervalRecord]] = Field(default_factory=dict)
    at_prevalence: dict[str, float | None] = Field(default_factory=dict)

    @field_validator("confusion")
    @classmethod
    def _of_all_kinds(cls, confusion: dict[str, int]) -> dict[str, int]:
        if not {"tn", "fp", "fn", "tp"} <= confusion.keys():
            raise ValueError("it needs tn, fp, fn and tp")
        return confusion


class RunMetrics(RecordPart):
    """Metrics of a run at its threshold, on out-of-fold scores of the images and of their copies.

    `copies` is None if the run has no scores of copies.
    """

    out_of_fold: MetricsRecord
    copies: MetricsRecord | None = None

    @field_validator("out_of_fold")
    @classmethod
    def _of_both_classes(cls, metrics: MetricsRecord) -> MetricsRecord:
        if metrics.recall is None or metrics.accuracy is None:
            raise ValueError("recall and accuracy are numbers")
        return metrics

    @classmethod
    def of(cls, metrics: Metrics, copies: Metrics | None = None) -> RunMetrics:
        """Take what was measured."""
        measured = {"out_of_fold": metrics.as_dict()}
        return cls.model_validate(
            measured if copies is None else measured | {"copies": copies.as_dict()}
        )


class SearchRecord(RecordPart):
    """Search of the threshold.

    `snapped_to_sweep` says whether the last trial is a sweep's. `note` says which recall was given
    up within one standard error, if any was.
    """

    method: str = ""
    trials: int = 0
    snapped_to_sweep: bool = False
    note: str = ""


class OptimismRecord(RecordPart):
    """Recall and accuracy on the folds of a search, less those on fresh folds."""

    recall: float
    accuracy: float


class TuningRecord(RecordPart):
    """Search that ``featx tune`` made.

    `winner` is the number of the trial that was chosen. `threshold`, `recall` and `accuracy` are
    the winner's on the folds of the search. `trials` counts trials by their state, and under
    ``infeasible`` those that don't keep the floors.
    """

    study: str
    storage: str = ""
    search: dict[str, Any] = Field(default_factory=dict)
    heads: tuple[str, ...] = ()
    sampler: str = ""
    pruner: str = ""
    trials: dict[str, int] = Field(default_factory=dict)
    winner: int
    threshold: float
    recall: float
    accuracy: float
    optimism: OptimismRecord
    seconds_saved_by_pruning: float = 0.0


class PromiseRecord(RecordPart):
    """Promise of the operating point; see `featx.thresholds.Promise`. None is undefined."""

    threshold: float
    confidence: float
    accuracy_floor: float | None
    recall_floor: float | None = None
    specificity_floor: float | None = None
    patients: int
    accuracy: float
    recall: float | None
    specificity: float | None = None
    sentence: str = ""

    @classmethod
    def of(cls, promise: Promise) -> PromiseRecord:
        """Take what was promised."""
        return cls.model_validate(promise.as_dict())


class CalibrationRecord(RecordPart):
    """Calibration that ``featx calibrate`` made: from which run, on what, old and new point.

    `shift`, `advice`, `note` and `assumption` are sentences. `old` and `new` have a threshold,
    metrics and their intervals.
    """

    method: str
    assumption: str | None = None
    source: str = Field(alias="from")
    images: int
    patients: int
    folds: int | None = None
    share: dict[str, float] | None = None
    training_share: float | None = None
    old: dict[str, Any] = Field(default_factory=dict)
    new: dict[str, Any] = Field(default_factory=dict)
    shift: str | None = None
    advice: str | None = None
    note: str | None = None


class SecondsRecord(RecordPart):
    """Seconds of the out-of-fold scores, of the final fit, and of one image's prediction."""

    __pydantic_extra__: dict[str, float] = Field(init=False)

    out_of_fold: float
    final_fit: float
    predict_image: float = 0.0
