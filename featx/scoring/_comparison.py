"""Runs side by side on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from featx._html import html_table
from featx._progress import Progress
from featx._scores import Scores
from featx.errors import InputError
from featx.evaluation import Contender, Difference, compare_runs, plural
from featx.runs._fitted import FittedRun
from featx.scoring._labelled_data import Data, ScoringOptions, score_data
from featx.scoring._run_names import names_of
from featx.scoring._scored import Scored
from featx_cache._text import printable


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Comparison of runs on the same images.

    Attributes
    ----------
    names
        Names of the runs. The others are compared with the first.
    images, patients
        Numbers of images and patients that none of the runs was fitted on.
    excluded
        Number of images that were left out: another run was fitted on them or on their patients,
        and the first wasn't, or another run has no embedding of them.
    differences
        Tests of the others against the first. See `featx.evaluation.compare_runs`.

    Examples
    --------
    >>> RunComparison(("logreg", "svm"), 62, 41, 0, ())
    RunComparison(logreg, svm on 62 images of 41 patients)
    """

    names: tuple[str, ...]
    images: int
    patients: int
    excluded: int
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "runs": list(self.names),
            "images": self.images,
            "patients": self.patients,
            "excluded": self.excluded,
            "differences": [difference.as_dict() for difference in self.differences],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row a test: run, metric, method, both values, difference, interval, p."""
        rows = [
            {
                "run": test.run,
                "metric": test.metric,
                "method": test.method,
                "first": test.first,
                "other": test.other,
                "difference": test.difference,
                "low": None if test.interval is None else test.interval.low,
                "high": None if test.interval is None else test.interval.high,
                "p_value": test.p_value,
                "adjusted": test.adjusted,
            }
            for test in self.differences
        ]
        return pd.DataFrame(rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that are needed to read the tests."""
        notes = [
            f"{plural(self.images, 'image')} of {plural(self.patients, 'patient')}, each run at "
            "its own threshold. Difference: other less first. Intervals and p by resampling "
            "patients. (DeLong) and (McNemar) take images for independent. Holm: p for all of "
            "these tests together."
        ]
        if self.excluded:
            notes.append(
                f"{plural(self.excluded, 'image')} left out: another of the runs was fitted on "
                "the same files or patients, or has no embedding of them."
            )
        return tuple(notes)

    def __repr__(self) -> str:
        found = f"{plural(self.images, 'image')} of {plural(self.patients, 'patient')}"
        return f"RunComparison({printable(', '.join(self.names))} on {found})"

    def _repr_html_(self) -> str:
        return html_table(self.to_frame(), self.notes, title=f"Against {self.names[0]}")


def compare(
    runs: Sequence[FittedRun],
    data: Data | None = None,
    options: ScoringOptions | None = None,
    *,
    progress: Progress | bool = True,
) -> RunComparison:
    """Test other runs against the first, on the images that none of them was fitted on.

    Parameters
    ----------
    runs
        Runs of the same classes.
    data, options, progress
        See `score_data`.

    Raises
    ------
    InputError
        If runs tell other classes apart, a run is there twice, or the runs have no image in common.

    Examples
    --------
    >>> runs = [featx.load_run("runs/logreg"), featx.load_run("runs/svm")]  # doctest: +SKIP
    >>> compare(runs).to_frame()  # doctest: +SKIP
    """
    names_of(runs)
    scored = score_data(runs, data, options, progress=progress)
    return compare_scored(list(zip(runs, scored, strict=True)))


def compare_scored(results: Sequence[tuple[FittedRun, Scored]]) -> RunComparison:
    """Compare runs by their scores of the same images, each with its own embeddings of them."""
    first = results[0][0]
    for run, _ in results[1:]:
        if run.record.classes != first.record.classes:
            raise InputError(
                f"the run {first.path} tells {' from '.join(first.record.classes)}, and "
                f"{run.path} {' from '.join(run.record.classes)}",
                "Compare runs of the same classes.",
            )
    keys = ["path", "sha256"]
    table = results[0][1].table[[*keys, "label", "group"]]
    for number, (_, scored) in enumerate(results):
        own = scored.table[[*keys, "score"]].rename(columns={"score": f"score {number}"})
        table = table.merge(own, on=keys)
    if table.empty:
        raise InputError(
            "there is no image that none of these runs was fitted on",
            "Give images of other patients.",
        )
    names = names_of([run for run, _ in results])
    contenders = [
        Contender(
            name,
            Scores.from_table(table.assign(score=table[f"score {number}"]), run.record.classes),
            run.record.threshold,
        )
        for number, (name, (run, _)) in enumerate(zip(names, results, strict=True))
    ]
    differences = compare_runs(contenders, seed=first.record.seed)
    return RunComparison(
        names,
        images=len(table),
        patients=table["group"].nunique(),
        excluded=len(results[0][1].table) - len(table),
        differences=tuple(differences),
    )
