"""Several heads on the same folds, and one table of how they did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from featx._arguments import cache_of
from featx._html import html_table
from featx._progress import Progress, progress_of
from featx.data._links import merged_groups
from featx.errors import InputError, NoFeasibleThresholdError
from featx.extraction._spec import spec_of
from featx.fitting._fit import check_folds, fit_on
from featx.fitting._write_run import FitSettings
from featx.heads import HeadSpec, PatientFolds, head_spec
from featx.runs._folder import require_free
from featx.runs._record import RECORD_NAME, RunRecord, read_record
from featx.thresholds import Criterion
from featx.training import FITTED_SPLITS, TrainingData, load_training_data
from featx.training._copies import CopiesChoice, copies_choice
from featx.training._data import ChooseOn
from featx.training._scoring import FOLDS
from featx_cache import Cache
from featx_cache._text import plural, printable
from featx_cache.files import LOCK_WAIT_SECONDS, atomic_path, lock, open_regular

COMPARISON_NAME = "comparison.csv"
COLUMNS = (
    "head",
    "roc_auc",
    "recall",
    "accuracy",
    "specificity",
    "threshold",
    "fit_seconds",
    "predict_microseconds",
    "best_accuracy",
)
SHOWN_COLUMNS = COLUMNS[:6]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of heads that `fit_heads` made.

    Attributes
    ----------
    folder
        Folder with a run for each head, and ``comparison.csv``.
    table : DataFrame
        Table with one row a head, best first: head, roc_auc, recall, accuracy, specificity,
        threshold, fit_seconds, predict_microseconds an image, best_accuracy. A head that no
        threshold takes to the floors has roc_auc and best_accuracy only, which is the highest of
        all thresholds. The other heads have no best_accuracy.

    Examples
    --------
    >>> table = pd.DataFrame({"head": ["logreg", "knn"], "recall": [0.97, 0.9]})
    >>> comparison = Comparison(Path("runs"), table)
    >>> comparison
    Comparison(2 heads in runs, best: logreg)
    >>> comparison.to_frame()["recall"].tolist()
    [0.97, 0.9]
    """

    folder: Path
    table: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def __repr__(self) -> str:
        heads = self.table["head"]
        heads_said = plural(len(heads), "head")
        return printable(f"Comparison({heads_said} in {self.folder}, best: {heads.iloc[0]})")

    def _repr_html_(self) -> str:
        shown = self.table[[name for name in SHOWN_COLUMNS if name in self.table]]
        return html_table(shown, [f"Runs and {COMPARISON_NAME}: {self.folder}"])


def fit_heads(  # noqa: PLR0913
    cache: Cache | str | Path,
    heads: str | HeadSpec | Sequence[str | HeadSpec],
    folder: str | Path,
    *,
    accuracy_floor: float | None = None,
    recall_floor: float | None = None,
    specificity_floor: float | None = None,
    cost: tuple[float, float] | None = None,
    youden: bool = False,
    folds: int = FOLDS,
    use_copies: bool = True,
    choose_on: ChooseOn | None = None,
    tta: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: Progress | bool = True,
) -> Comparison:
    """Fit several heads on the same folds and compare them.

    Embeddings are read and pooled once for all heads that pool them alike.

    Parameters
    ----------
    cache, folds, use_copies, choose_on, tta, force, progress
        See `featx.fit`.
    accuracy_floor, recall_floor, specificity_floor, cost, youden
        Criterion of the thresholds. See `featx.fit`.
    heads
        Heads with different names and the same seed.
    folder
        Folder that gets a run of each head's name, and ``comparison.csv``.
    resume
        Whether runs with these settings that are there already are kept, and a Keras training that
        was interrupted goes on.

    Raises
    ------
    InputError
        If there is a comparison already, or a run of other settings, or another process makes
        one.
    NoFeasibleThresholdError
        If no head reaches the floors.

    Examples
    --------
    >>> cache = featx.load_cache("embeddings")  # doctest: +SKIP
    >>> featx.fit_heads(cache, ["logreg", "svm"], "runs")  # doctest: +SKIP
    Comparison(2 heads in runs, best: logreg)
    """
    cache, folder, shown = cache_of(cache), Path(folder), progress_of(progress)
    specs = [head_spec(head) for head in ([heads] if isinstance(heads, str | HeadSpec) else heads)]
    if not specs:
        raise InputError("there is no head to fit", "Give `heads` one or more.", parameter="heads")
    criterion = Criterion(
        accuracy_floor=accuracy_floor,
        recall_floor=recall_floor,
        specificity_floor=specificity_floor,
        cost=cost,
        youden=youden,
    )
    check_folds(folds)
    spec_of(cache)  # a cache that no run can describe is refused before the work
    if (folder / RECORD_NAME).is_file():
        raise InputError(
            f"{folder} is a run of one head", "Give `run` a new folder: each head gets a run in it."
        )
    for spec in specs:
        require_free(folder / spec.name, force or resume)
    _require_replaceable(folder / COMPARISON_NAME, force or resume)
    rows: list[dict[str, Any]] = []
    failures: list[NoFeasibleThresholdError] = []
    choice = copies_choice(cache, use_copies=use_copies, choose_on=choose_on, tta=tta)
    data = _SharedData(cache, choice, shown)
    with lock(folder / COMPARISON_NAME, wait=LOCK_WAIT_SECONDS):
        for spec in sorted(specs, key=_data_kind):
            settings = FitSettings(
                spec,
                folder / spec.name,
                criterion,
                folds,
                choice.choose_on,
                tta,
                resume,
                force,
            )
            if resume and (settings.run / RECORD_NAME).is_file():
                rows.append(_row(_same_run(settings, cache)))
                continue
            try:
                run = fit_on(data.of(spec), cache, settings, shown)
            except NoFeasibleThresholdError as error:
                shown.note(f"{spec.name}: {error}")
                reached = {"roc_auc": error.roc_auc, "best_accuracy": error.best_accuracy}
                rows.append({"head": spec.name, **reached})
                failures.append(error)
            else:
                rows.append(_row(run.record))
        if rows and len(failures) == len(rows):
            raise max(failures, key=lambda error: error.best_accuracy)
        table = _ranked(pd.DataFrame(rows, columns=list(COLUMNS)), criterion, cache)
        with atomic_path(folder / COMPARISON_NAME) as temporary:
            table.to_csv(temporary, index=False)
        return Comparison(folder, table.reset_index(drop=True))


def _ranked(table: pd.DataFrame, criterion: Criterion, cache: Cache) -> pd.DataFrame:
    """Sort heads by what the criterion maximizes, and then by ROC AUC."""
    labels = cache.table(cache.row_numbers(splits=FITTED_SPLITS, copies=False))["label"]
    share = float((labels == cache.classes[1]).mean())
    values = criterion.values(table["recall"], table["specificity"], share)
    ranked = table.assign(value=values).sort_values(
        ["value", "roc_auc"], ascending=False, na_position="last"
    )
    return ranked.drop(columns="value")


class _SharedData:
    """Training data that consecutive heads share. Memory holds one at a time."""

    def __init__(self, cache: Cache, copies: CopiesChoice, progress: Progress) -> None:
        self._cache, self._copies, self._progress = cache, copies, progress
        self._kind: Any = None
        self._data: TrainingData | None = None

    def of(self, spec: HeadSpec) -> TrainingData:
        """Return what a head is fitted on."""
        kind = _data_kind(spec)
        if self._data is None or self._kind != kind:
            self._data = None  # before the next is read
            self._data = load_training_data(
                self._cache,
                spec,
                use_copies=self._copies.use_copies,
                score_copies=self._copies.score_copies,
                progress=self._progress,
            )
            self._kind = kind
        return self._data


def _require_replaceable(path: Path, allowed: bool) -> None:
    """Refuse to replace a table unasked, and one that isn't a comparison at all."""
    if not path.exists():
        return
    if not allowed:
        raise InputError(
            f"there is a comparison at {path} already",
            "Give another `run`, or `force=True` to replace it.",
        )
    with open_regular(path) as file:
        if file.readline().rstrip(b"\r\n") != ",".join(COLUMNS).encode():
            raise InputError(f"{path} isn't a comparison of featx", "Give another `run`.")


def _data_kind(spec: HeadSpec) -> tuple[bool, str, bool]:
    """Say what is read for a head. The Keras head sorts last, since it takes longest."""
    settings = spec.baseline
    if settings is None:
        return (True, "", False)
    return (False, settings.representation, settings.standardize)


def _same_run(settings: FitSettings, cache: Cache) -> RunRecord:
    record = read_record(settings.run)
    if (
        record.head != settings.head
        or record.criterion != settings.criterion
        or record.choose_on != settings.choose_on
        or record.folds != _possible_folds(cache, settings.folds)
    ):
        raise InputError(
            f"the run {settings.run} was fitted with other settings",
            "Give another `run`, or `force=True` to fit it again.",
        )
    return record


def _possible_folds(cache: Cache, folds: int) -> int:
    """Return how many folds the patients of train and val allow."""
    table = cache.table(cache.row_numbers(splits=FITTED_SPLITS, copies=False))
    groups = merged_groups(table["group"], table["sha256"])
    return PatientFolds(folds).get_n_splits(None, table["label"], groups)


def _row(record: RunRecord) -> dict[str, Any]:
    metrics, seconds = record.metrics.out_of_fold, record.seconds
    values = (
        record.head.name,
        metrics.roc_auc,
        metrics.recall,
        metrics.accuracy,
        metrics.specificity,
        record.threshold,
        round(seconds.out_of_fold + seconds.final_fit, 2),
        round(1e6 * seconds.predict_image, 1),
        math.nan,
    )
    return dict(zip(COLUMNS, values, strict=True))
