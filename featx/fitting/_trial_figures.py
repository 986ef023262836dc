"""Figures and note of a study, which the dashboard shows besides Optuna's own plots."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna_dashboard import save_note

from featx import plots
from featx._scores import Scores
from featx._silence import silent_optuna
from featx.plots._style import new_axes, save_figure
from featx.thresholds import Criterion
from featx.thresholds._criterion import Objective
from featx.tuning._search import Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARTIFACTS_NAME = "artifacts"
METRICS: dict[Objective, str] = {
    "recall": "recall",
    "specificity": "specificity",
    "youden": "Youden's index",
    "cost": "less the expected cost",
}
"""Names of what is maximized, for the dashboard."""


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """Draws ROC, operating point and confusion matrix of a trial, and attaches them to it."""

    folder: Path
    classes: tuple[str, str]
    criterion: Criterion

    def __call__(
        self,
        trial: optuna.Trial | optuna.Study,
        truth: NDArray[np.bool_],
        scores: NDArray[np.float64],
        threshold: float,
    ) -> None:
        """Draw out-of-fold scores at a threshold. A study gets the figures of its best trial."""
        name = f"trial {trial.number}" if isinstance(trial, optuna.Trial) else "best trial"
        measured = Scores.from_arrays(truth, scores, classes=self.classes)
        # Bands and intervals are for the report, which has the time to resample patients.
        roc, curve, matrix = new_axes(), new_axes(), new_axes()
        plots.roc_curve(measured, roc, threshold=threshold, band=False)
        plots.threshold_curve(
            measured, curve, threshold=threshold, criterion=self.criterion, band=False
        )
        plots.confusion_matrix(measured, matrix, threshold=threshold)
        figures = {"roc": roc, "operating-point": curve, "confusion-matrix": matrix}
        for axes in figures.values():
            axes.set_title(f"{axes.get_title()}: {name}, out of fold", wrap=True)
        attach(trial, figures, self.folder)


def attach(to: optuna.Trial | optuna.Study, figures: Mapping[str, Axes], folder: Path) -> None:
    """Attach figures, by name, to a running trial or to a study. A finished trial takes none."""
    folder.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(folder))
    with silent_optuna(), tempfile.TemporaryDirectory() as drawn:
        for name, axes in figures.items():
            path = Path(drawn) / f"{name}.png"
            save_figure(axes, path, dpi=110)
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=to)


def write_note(search: Search, found: str = "The search goes on.") -> None:
    """Write a note for the dashboard: what the study is for, and what it has found."""
    study, spec, images = search.study, search.spec, search.scorer.table
    criterion, pareto = spec.criterion, spec.objective == "pareto"
    goal = f"Find the settings and the threshold of **{criterion.in_words}**."
    if criterion.objective == "recall":
        goal = f"{goal[:-1]}: recall (sensitivity) alone would call everybody sick."
    if pareto:
        goal = (
            "Show what **recall** (sensitivity) costs in **accuracy**: the two values of a trial, "
            f"in this order. The chosen point is the one of **{criterion.in_words}**."
        )
    copies = {
        "untouched": "",
        "copies": "copies of ",
        "both": "the untouched files and copies of ",
    }[search.scorer.copies.choose_on]
    lines = [
        f"# {study.study_name}",
        goal,
        f"- **Heads**: {', '.join(head.name for head in spec.heads)}",
        f"- **Measured on** {copies}{images['path'].nunique():,} images of "
        f"{images['group'].nunique():,} patients, out of fold: each image is scored by a head "
        "that saw no image of the same patient.",
        "- **Threshold**: an image is called positive if its score is at least this.",
        f"- **Infeasible** trials miss a floor ({criterion.floors_in_words or 'there is none'}). "
        "They are never chosen.",
        "",
        found,
        "",
        "The scores chose the threshold, so they flatter it. `featx evaluate` measures the run on "
        "images that had no part in it. Research software, not a medical device.",
    ]
    with silent_optuna():
        study.set_metric_names(["recall", "accuracy"] if pareto else [METRICS[criterion.objective]])
    save_note(study, "\n".join(lines))
