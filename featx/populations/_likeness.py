"""Whether images are enough like the training images for an estimate without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from featx.errors import EstimateError
from featx.evaluation import Population
from featx.evaluation._shift import DISTANCE_MARKS, KS_MARKS, Signal
from featx.populations._expected_performance import Calibrator, Mixture, ks_p_value, one_each
from featx.runs._fitted import FittedRun
from featx.scoring._shift import shift_from_training

FAR_MARKS = (DISTANCE_MARKS[0], 0.5)
"""Shares of patients far from the training images that count and are too large, if the run has
scores of disturbed copies. Of copies of the preset ``shift`` 43 % are far (VGG16, 120 X-rays of the
Kaggle set), and the errors of estimates are known for them."""


def are_disturbed(run: FittedRun) -> bool:
    """Say whether the run has scores of copies that differ as devices and exposures do."""
    made = run.record.extraction.augmentation
    return len(run.out_of_fold_copies) > 0 and bool(made.gamma or made.blur[1] or made.noise[1])


def require_likeness(
    run: FittedRun, calibrator: Calibrator, table: pd.DataFrame, known_misfit: float
) -> list[str]:
    """Refuse images that are too unlike the training images, and say what is unusual.

    Parameters
    ----------
    run, calibrator
        Run that scored the images, and its map from scores to probabilities.
    table
        One row an image: group, score and distance.
    known_misfit
        Misfit of scores up to which the errors of estimates are known. See `TrialSites.errors`.

    Raises
    ------
    EstimateError
        If they are too unlike.
    """
    reasons: dict[str, list[str]] = {"differs": [], "may differ": []}
    for signal, said in _signals(run, calibrator, table, known_misfit):
        if signal.verdict in reasons:
            reasons[signal.verdict].append(said)
    if reasons["differs"]:
        raise EstimateError(
            "without labels, no number can be trusted on these images: "
            + ", and ".join(reasons["differs"]),
            "Label 50 of them: `run.suggest_labels` says which, and `labels=FILE` takes them.",
        )
    notes = []
    if reasons["may differ"]:
        notes.append(
            f"CAUTION: {', and '.join(reasons['may differ'])}. Label some of the images before you "
            "rely on these numbers."
        )
    if not run.has_reference:
        notes.append(
            "CAUTION: an earlier version of featx fitted the run, so the images couldn't be "
            "compared with its training images."
        )
    return notes


def _signals(
    run: FittedRun, calibrator: Calibrator, table: pd.DataFrame, known_misfit: float
) -> Iterator[tuple[Signal, str]]:
    """Compare scores and distances with what another share of the sick would explain."""
    scores, training = table["score"].to_numpy(np.float64), run.scores
    names, patient = np.unique(table["group"].astype(str), return_inverse=True)
    patients = len(names), len(np.unique(training.patient))
    weight = one_each(patient)
    at = calibrator.rates(scores, run.record.threshold, weight[np.newaxis])["share"]
    share = float(at[0])
    misfit = Mixture(training.score, training).misfit(scores, weight, share)
    mark = max(KS_MARKS[0], known_misfit)
    yield (
        Signal("misfit", misfit, (mark, mark), ks_p_value(misfit, *patients)),
        f"another share of the sick doesn't explain the scores (Kolmogorov-Smirnov {misfit:.2f})",
    )
    if not run.has_reference:
        return
    known, distances = are_disturbed(run), table["distance"].to_numpy(np.float64)
    excess = Mixture(run.reference.distances, training).excess(distances, weight, share)
    marks = (KS_MARKS[0], math.inf) if known else KS_MARKS
    yield (
        Signal("distances", excess, marks, ks_p_value(excess, *patients, one_sided=True)),
        f"the images lie farther from the training images (Kolmogorov-Smirnov {excess:.2f})",
    )
    shift = shift_from_training(run, Population(scores, patient, None, distances))
    for signal in shift.signals if shift is not None else ():
        if signal.name == "far":
            yield (
                replace(signal, marks=FAR_MARKS) if known else signal,
                f"{signal.effect:.0%} of the patients lie farther from the training images than "
                "99 % of those do",
            )
