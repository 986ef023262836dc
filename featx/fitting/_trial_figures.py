"""What the dashboard shows of a trial and of a study besides Optuna's own plots."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna_dashboard import save_note

from featx._silence import silent_optuna
from featx.evaluation import Metrics, evaluate_scores
from featx.evaluation._figures import confusion_figure, roc_figure, threshold_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTIFACTS_NAME = "artifacts"


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """Draws ROC, operating point and confusion matrix of a trial, and attaches them to it.

    Attributes
    ----------
    folder
        Of the study's artifacts.
    classes
        The negative and the positive one.
    accuracy_floor
        Drawn into the figure of recall and accuracy.
    """

    folder: Path
    classes: tuple[str, str]
    accuracy_floor: float

    def __call__(
        self,
        trial: optuna.Trial | optuna.Study,
        truth: NDArray[np.bool_],
        scores: NDArray[np.float64],
        threshold: float,
    ) -> None:
        """Draw out-of-fold scores at a threshold; a study gets those of its winner."""
        name = f"trial {trial.number}" if isinstance(trial, optuna.Trial) else "winner"
        # Intervals are for the report: without patients to resample there are none.
        metrics = evaluate_scores(truth, scores, threshold, np.zeros(len(truth)))
        attach(trial, self._figures(name, truth, scores, metrics), self.folder)

    def _figures(
        self, name: str, truth: NDArray[np.bool_], scores: NDArray[np.float64], metrics: Metrics
    ) -> dict[str, Figure]:
        of = f"{name}, out of fold"
        return {
            "roc": roc_figure(truth, scores, metrics, f"ROC of {of}"),
            "operating-point": threshold_figure(
                truth, scores, metrics.threshold, self.accuracy_floor, f"Operating point of {of}"
            ),
            "confusion-matrix": confusion_figure(
                metrics.confusion, self.classes, f"Confusion matrix of {of}"
            ),
        }


def attach(to: optuna.Trial | optuna.Study, figures: Mapping[str, Figure], folder: Path) -> None:
    """Attach figures to a running trial or to a study, as PNG files.

    Parameters
    ----------
    to
        Optuna doesn't let finished trials be added to.
    figures
        By the name of the file, without its suffix.
    folder
        Of the study's artifacts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(folder))
    with silent_optuna(), tempfile.TemporaryDirectory() as drawn:
        for name, figure in figures.items():
            path = Path(drawn) / f"{name}.png"
            figure.savefig(path, dpi=110)
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=to)


def write_note(study: optuna.Study, facts: Mapping[str, Any]) -> None:
    """Say in the dashboard what a study is for, and what it has found.

    Parameters
    ----------
    study
        The study.
    facts
        Heads, objective, accuracy_floor, images, patients, and outcome: lines on what was found.
    """
    goal = (
        f"Of all settings and thresholds whose accuracy is at least "
        f"**{facts['accuracy_floor']:g}**, find the one of highest **recall** (sensitivity): "
        "recall alone would call everybody sick."
    )
    if facts["objective"] == "pareto":
        goal = (
            "Show what **recall** (sensitivity) costs in **accuracy**: the two values of a trial, "
            f"in this order. The chosen point keeps accuracy at or above "
            f"**{facts['accuracy_floor']:g}**."
        )
    lines = [
        f"# {study.study_name}",
        goal,
        f"- **Heads**: {', '.join(facts['heads'])}",
        f"- **Measured on** {facts['images']:,} images of {facts['patients']:,} patients, out of "
        "fold: each image is scored by a head that saw no image of the same patient.",
        "- **Threshold**: an image is called positive when its score is at least this.",
        "- **Infeasible** trials keep less accuracy than the floor; they are never chosen.",
        "",
        *facts["outcome"],
        "",
        "The scores chose the threshold, so they flatter it. `featx evaluate` measures the run on "
        "images that had no part in it. Research software, not a medical device.",
    ]
    with silent_optuna():
        study.set_metric_names(["recall", "accuracy"][: len(study.directions)])
    save_note(study, "\n".join(lines))
