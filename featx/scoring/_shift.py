"""Whether some images differ from those that a run was fitted on."""

from __future__ import annotations

from dataclasses import replace

from featx.evaluation import Population, Shift, compare_populations
from featx.runs._fitted import FittedRun


def shift_from_training(run: FittedRun, here: Population) -> Shift | None:
    """Compare images with those that a run was fitted on, out of fold.

    Embeddings are compared if the run knows those of its training images. Runs of earlier versions
    don't.

    Parameters
    ----------
    run
        Run that scored the images.
    here
        Images, with their distances from the training images.

    Returns
    -------
    Shift or None
        None for runs of earlier versions that have no scores of their training images.
    """
    if not run.has_out_of_fold:
        return None
    distances = limit = None
    if run.has_reference:
        distances, limit = run.reference.distances, run.reference.limit
    else:
        here = replace(here, distances=None)
    return compare_populations(
        Population.labelled(run.scores, distances),
        here,
        limit=limit,
        classes=run.record.classes,
        seed=run.record.seed,
    )
