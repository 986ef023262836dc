"""Which images of a new site to label first."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluation import plural
from featx.populations._sampling_weights import WEIGHT
from featx.populations._unlabelled_images import UnlabelledImages
from featx.runs._fitted import FittedRun

COLUMNS = ("path", "score", "verdict", "label", WEIGHT)

NEAR_SHARE = 0.5
"""Share of the labels that lie around the threshold."""
NEAR_PATIENTS = 0.25
"""Share of the patients on a side of the threshold who lie around it."""


def suggest_labels(
    run: FittedRun, images: UnlabelledImages, number: int, *, seed: int = 0
) -> pd.DataFrame:
    """Choose the images of a site whose labels say most, one image of a patient.

    Half of them are drawn from the quarter of the patients on each side whose scores are nearest to
    the threshold, so that another threshold can be chosen. The others are drawn from the rest,
    spread over all scores, so that no kind of image is unseen. Since such images are no random
    sample, each has a weight: the number of images that it stands for.

    Parameters
    ----------
    run
        Run that scored the images.
    images
        Images of the site, with their scores.
    number
        Number of images to choose.
    seed
        Seed of the draw.

    Returns
    -------
    DataFrame
        One row an image, from the lowest score to the highest: path (below the folder, if it is of
        a folder), score, verdict, label (empty) and sampling_weight.

    Raises
    ------
    InputError
        If there are fewer patients than images were asked for.

    Examples
    --------
    >>> suggest_labels(run, score_unlabelled(run, "our_hospital"), 50)  # doctest: +SKIP
    """
    if number < 1:
        raise InputError(
            f"{number} images can't be suggested", "Give 50, for example.", parameter="suggest"
        )
    table, random = images.table, np.random.default_rng(seed)
    shuffled = table.iloc[random.permutation(len(table))]
    count_of = shuffled.groupby("group")["path"].transform("size")
    # One image of each patient stands for all of the patient's.
    drawn = shuffled.assign(**{WEIGHT: count_of.astype(float)}).drop_duplicates("group")
    if len(drawn) < number:
        raise InputError(
            f"there are {plural(len(table), 'image')} of {plural(len(drawn), 'patient')}, and "
            f"{number} images of different patients were asked for",
            f"Ask for {len(drawn)} at most.",
            parameter="suggest",
        )
    drawn = drawn.sort_values(["score", "path"], ignore_index=True)
    chosen = []
    for rows, count in _allocate(_strata(drawn["score"].to_numpy(), run.record.threshold), number):
        # Every so many patients, from a random one on: all have the same chance, at all scores.
        steps = (np.arange(count) + random.random()) * len(rows) / max(count, 1)
        part = drawn.iloc[rows[steps.astype(np.intp)]]
        chosen.append(part.assign(**{WEIGHT: part[WEIGHT] * len(rows) / max(count, 1)}))
    found = pd.concat(chosen).sort_index()
    classes, called = np.array(run.record.classes), found["score"] >= run.record.threshold
    found = found.assign(verdict=classes[called.to_numpy(np.intp)], label="")
    found["path"] = [images.below(path) for path in found["path"]]
    return found[list(COLUMNS)].reset_index(drop=True)


def _strata(scores: NDArray[np.float64], threshold: float) -> list[NDArray[np.intp]]:
    """Divide sorted scores into those around the threshold and the others, on both sides of it."""
    below = int(np.searchsorted(scores, threshold))
    near_below = int(np.ceil(NEAR_PATIENTS * below))
    near_above = int(np.ceil(NEAR_PATIENTS * (len(scores) - below)))
    ends = [below - near_below, below, below + near_above]
    near_low, near_high = np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2])
    far_low, far_high = np.arange(ends[0]), np.arange(ends[2], len(scores))
    return [near_low, near_high, far_low, far_high]


def _allocate(strata: list[NDArray[np.intp]], number: int) -> list[tuple[NDArray[np.intp], int]]:
    """Say how many are drawn from each stratum: one at least, if there are as many."""
    near, far = sum(map(len, strata[:2])), sum(map(len, strata[2:]))
    wanted = [
        number * part * len(rows) / max(whole, 1)
        for rows, whole, part in zip(
            strata, (near, near, far, far), (NEAR_SHARE,) * 2 + (1.0 - NEAR_SHARE,) * 2, strict=True
        )
    ]
    counts = [0] * len(strata)
    for _ in range(number):  # to whichever lacks most, and is not empty yet
        lacks = [
            (not counts[i] and len(rows) > 0, wanted[i] - counts[i], -i)
            if counts[i] < len(rows)
            else (False, -np.inf, -i)
            for i, rows in enumerate(strata)
        ]
        counts[-max(lacks)[2]] += 1
    return [(rows, count) for rows, count in zip(strata, counts, strict=True) if count]
