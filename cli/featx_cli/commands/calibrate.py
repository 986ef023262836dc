"""``featx calibrate``: a new operating point for another population, with the same head."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from featx_cli.calibration_tables import expected_table, point_table, point_words
from featx_cli.console import TerminalProgress, output, say, warn
from featx_cli.evaluation_tables import tell_known_images
from featx_cli.loading import (
    AllowOutsideOption,
    ClassesOption,
    GroupColumnOption,
    GroupRegexOption,
    KeepIdentifiersOption,
    KeepKnownPatientsOption,
    PositiveOption,
    RootOption,
    tell_positive,
    tell_unused_files,
    warn_of_positive,
)
from featx_cli.sources import DataOptions, is_cache, source_of
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from pandas import DataFrame

    from featx._run import Run

EPILOG = (
    "\b\nExample:  featx calibrate runs/logreg our_hospital/ --accuracy-floor 0.90 "
    "--run runs/logreg-ours"
)


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory that `featx fit` wrote.")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA_OR_CACHE",
            help="Labelled images of the other population as `featx extract` takes them, or a "
            "cache of them; with --unlabelled any images.",
        ),
    ],
    new_run: Annotated[
        Path, typer.Option("--run", metavar="NEW_RUN", help="Directory to write the new run to.")
    ],
    accuracy_floor: Annotated[
        float | None,
        typer.Option(
            help="Accuracy that the threshold must keep there. Default: the run's own.",
            show_default=False,
        ),
    ] = None,
    recalibrate: Annotated[
        Literal["sigmoid", "temperature"] | None,
        typer.Option(
            help="Make scores probabilities there, too: sigmoid (Platt) or temperature. Default: "
            "scores stay as they are.",
            show_default=False,
        ),
    ] = None,
    guarantee: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            help="Promise the accuracy floor for new patients of that population with this "
            "confidence, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Labels aren't known: correct for another share of sick people only, assuming "
            "that nothing else differs.",
        ),
    ] = False,
    split: Annotated[
        str, typer.Option(help="train, val, test or all: which images to choose on.")
    ] = "all",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a run that is there already.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="FOLDER",
            help="Keep the embeddings of images here. Default: a temporary folder.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Where the backbone's weights are, if they were moved since the fit."),
    ] = None,
    root: RootOption = None,
    allow_outside: AllowOutsideOption = False,
    classes: ClassesOption = None,
    positive: PositiveOption = None,
    group_regex: GroupRegexOption = None,
    group_column: GroupColumnOption = None,
    keep_identifiers: KeepIdentifiersOption = False,
    keep_known_patients: KeepKnownPatientsOption = False,
) -> None:
    """Choose a run's threshold anew on images of another population.

    The head isn't fitted again: a few dozen labelled images do. The old and the new operating point
    are shown side by side; the new one is cross-validated, because it was chosen on these images.
    RUN stays as it is; evaluation of NEW_RUN leaves out the images that chose its threshold.
    """
    from featx._run import load_run
    from featx.data import unknown_patients
    from featx.errors import FeatxError, InputError
    from featx.populations._calibrate import require_other
    from featx.runs._folder import require_free
    from featx.thresholds import check_accuracy_floor

    opened = load_run(run)
    floor = opened.record.accuracy_floor if accuracy_floor is None else accuracy_floor
    check_accuracy_floor(floor)
    if guarantee is not None and not 0.0 < guarantee < 1.0:
        raise InputError(
            f"the confidence {guarantee:g} is not between 0 and 1", "Give --guarantee 0.9."
        )
    require_other(opened, new_run)
    require_free(new_run, force)
    warn_of_positive(opened.record.classes)
    if unlabelled:
        if recalibrate is not None or guarantee is not None:
            raise InputError(
                "--recalibrate and --guarantee need labels",
                "Leave them out, or leave out --unlabelled.",
            )
        if cache is not None:
            raise InputError(
                "--cache keeps the embeddings of labelled images, and with --unlabelled none are "
                "made",
                "Leave it out.",
            )
        _unlabelled(opened, data, new_run, floor, force, weights, keep_known_patients)
        return
    from featx.evaluation import plural
    from featx.populations import calibrate as calibrate_run
    from featx.scoring import score_images

    options = DataOptions(
        root,
        allow_outside,
        classes,
        positive,
        group_regex,
        keep_identifiers,
        cache,
        weights,
        group_column,
    )
    import_quietly()
    with source_of([opened], data, options, split=split) as source:
        scored = score_images(
            opened,
            source.caches[0],
            source.split,
            keep_known_patients=keep_known_patients,
            progress=TerminalProgress(),
        )
    if unknown := unknown_patients(scored.table):
        warn(unknown)
    try:
        report = calibrate_run(
            opened,
            scored,
            new_run,
            accuracy_floor=floor,
            recalibrate=recalibrate,
            guarantee=guarantee,
            force=force,
        )
    except FeatxError as error:
        if not is_cache(data):
            error.add_note(_whether_kept(run, cache))
        raise
    tell_positive(report.record.classes)
    console = output()
    for line in point_words(report):
        console.print(line)
    console.print(point_table(report))
    console.print(
        f"{plural(report.old.images, 'image')} of {plural(report.old.patients, 'patient')}. The "
        f"new threshold is the one of highest recall with accuracy ≥ {floor:g} on them"
        + (" that can be promised." if report.promise is not None else ".")
    )
    if report.promise is None:
        console.print(
            "Numbers of the new one are cross-validated: each image is called by a threshold that "
            "its patient had no part in."
        )
    else:
        console.print(report.promise.sentence)
    tell_known_images(scored.left_out)
    if report.advice:
        console.print(report.advice)
    if report.shift is not None:
        console.print(report.shift.sentence)
    console.print(f"Run: {report.run}", soft_wrap=True)


def _whether_kept(run: Path, cache: Path | None) -> str:
    """Say where the embeddings are that were made for nothing."""
    if cache is None:
        return (
            "The embeddings were not kept: add --cache FOLDER, and the next try starts from them."
        )
    return f"The embeddings are kept: `featx calibrate {run} {cache}` starts from them."


def _unlabelled(
    run: Run,
    data: Path,
    target: Path,
    floor: float,
    force: bool,
    weights: str | None,
    keep_known_patients: bool,
) -> None:
    """Correct for the share of sick people."""
    from featx.evaluation import plural
    from featx.populations import calibrate_unlabelled
    from featx.thresholds import LABEL_SHIFT_ASSUMPTION

    import_quietly()
    images = _score_without_labels(run, data, weights, keep_known_patients)
    report = calibrate_unlabelled(run, images, target, accuracy_floor=floor, force=force)
    console, prior = output(), report.prior
    tell_positive(run.record.classes)
    console.print(expected_table(report))
    console.print(
        f"{plural(len(images), 'image')} without labels: {prior.share:.1%} are sick by estimate "
        f"(95 % interval {prior.low:.1%} – {prior.high:.1%}), of the training images "
        f"{report.training_prior:.1%} were."
    )
    console.print(
        "These numbers are no measurement here: they are those of the training population's "
        f"out-of-fold scores at that share, and hold under {LABEL_SHIFT_ASSUMPTION}."
    )
    console.print(report.shift.sentence)
    if report.shift.suspected:
        console.print(
            "Another share of sick people may not be all that differs: a few dozen labelled images "
            "say more."
        )
    console.print(f"Run: {report.run}", soft_wrap=True)


def _score_without_labels(
    run: Run, data: Path, weights: str | None, keep_known_patients: bool
) -> DataFrame:
    """Score images, or those of a cache, whose labels aren't looked at."""
    import pandas as pd

    from featx.data import group_of
    from featx.errors import InputError
    from featx.scoring import find_images, score_images
    from featx_cache import open_cache

    if is_cache(data):
        scored = score_images(
            run,
            open_cache(data),
            "all",
            keep_known_patients=keep_known_patients,
            progress=TerminalProgress(),
        )
        tell_known_images(scored.left_out)
        distance = run.reference.distance(scored.vectors) if run.has_reference else math.nan
        return scored.table[["path", "group", "score"]].assign(distance=distance)
    left_out: Counter[str] = Counter()
    paths = list(find_images([data], left_out))
    tell_unused_files(left_out.elements())
    rows, failed = [], []
    with TerminalProgress().task("Scoring", len(paths), "image") as advance:
        for prediction in run.predict(paths, backbone=run.backbone(weights)):
            advance(1)
            if prediction.error:
                failed.append(prediction)
                continue
            group = group_of(Path(prediction.path).name)
            rows.append((prediction.path, group, prediction.score, prediction.distance))
    for bad in failed:
        say(f"Skipped {bad.path}: {bad.error}")
    if not rows:
        raise InputError(f"no image in {data} could be read", "See the reasons above.")
    return pd.DataFrame(rows, columns=["path", "group", "score", "distance"])
