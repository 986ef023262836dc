"""``featx predict``: score image files with a run, or with several."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from featx_cli.console import TerminalProgress, say, warn
from featx_cli.data_options import tell_unused_files, warn_of_positive
from featx_cli.files import ForceOption, require_output, text_file
from featx_cli.prediction_writers import write_verdicts
from featx_cli.run_options import RuntimeOption, WeightsOption
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx._run import Run
    from featx.scoring import CountsByRun

EPILOG = "\b\nExample:  featx predict runs/logreg new_patients/ --format csv --out verdicts.csv"
SOME_FAILED = 3


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN...",
            help="Directory that `featx fit` wrote. Further runs may follow, before the images.",
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE_OR_FOLDER...",
            help="JPEG, PNG, TIFF, BMP, WebP and DICOM files, and folders of them.",
        ),
    ],
    format: Annotated[
        Literal["table", "csv", "json"] | None,
        typer.Option(
            help="Format of the output. Default: by the suffix of --out, else table.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File to write, whole or not at all. - is standard output.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            metavar="DIR",
            help="Folder for a heat map of each image, as `featx explain` draws it afterwards. "
            "If there are several runs, each gets a folder in it.",
        ),
    ] = None,
    weights: WeightsOption = None,
    runtime: RuntimeOption = None,
    force: ForceOption = False,
) -> None:
    """Decode, embed and score images with the run's own settings. Rows are written as they come.

    An image is called positive if its score is at least the run's threshold. The probability is
    the score, calibrated on out-of-fold scores if the head's scores aren't probabilities. A verdict
    is uncertain if the score lies in the 95 % interval of the threshold. An image is unlike the
    training set if its embedding is farther from it than those of 99 % of the training images.

    An image that doesn't look like an upright frontal chest X-ray has a view: inverted, rotated 90
    (clockwise), upside down, rotated 270, or other. It keeps its verdict, and a warning names it.

    If there are several runs, each image is decoded once, and embedded once for all runs that embed
    alike. It gets a row from each run, with the run's name first. A run's scores are the same as
    alone. Standard error says on how many images the runs disagree.

    Counts of the verdicts go to standard error. So does a warning if 30 patients or more have other
    scores or embeddings than the training images had out of fold.

    A file that can't be read gets an empty score and its reason. The others are still scored, and
    the exit code is 3. Files in a folder that aren't images are left out, and a line counts them.
    """
    from featx._run import load_run
    from featx.evaluation import plural
    from featx.explain import explain_images
    from featx.explain._folder import require_free
    from featx.scoring import (
        CountsByRun,
        RunsScorer,
        find_images,
        load_backbones,
        predict_images_by_run,
    )
    from featx.scoring._run_names import folder_of

    require_output(out, "--out", force=force, inputs=[run, *images])
    suffix = out.suffix.lower() if out is not None else ""
    format = format or ("csv" if suffix == ".csv" else "json" if suffix == ".json" else "table")
    first = load_run(run, runtime=runtime)
    others, images = _split_runs(images)
    runs = [first, *(load_run(other, runtime=runtime) for other in others)]
    counts = CountsByRun(runs)
    names = tuple(counts) if len(runs) > 1 else ()
    folders = [] if explain is None else [explain / folder_of(name) for name in names] or [explain]
    for folder in folders:
        require_free(folder, force=force)
    left_out: Counter[str] = Counter()
    paths = find_images(images, left_out)
    import_quietly()
    scorer = RunsScorer(runs, load_backbones(runs, weights))
    predictions = predict_images_by_run(scorer, paths)
    total = len(images) if not any(path.is_dir() for path in images) else None
    classes = {name for each in runs for name in each.record.classes}
    scored: list[list[str]] = [[] for _ in runs]
    with (
        contextlib.nullcontext(sys.stdout) if out is None else text_file(out, force=force) as file,
        TerminalProgress().task("Predicting", total, "image") as advance,
    ):
        for found in write_verdicts(predictions, format, file, classes, names):
            counts.add(found)
            for own, prediction in zip(scored, found, strict=True):
                if explain is not None and not prediction.error:
                    own.append(prediction.path)
            advance(1)
    for folder, each, backbone, own in zip(folders, runs, scorer.backbones, scored, strict=False):
        explain_images(
            each, own, folder, backbone=backbone, force=force, progress=TerminalProgress()
        )
    _summarize(runs, counts)
    tell_unused_files(left_out.elements())
    if counts.failed:
        files = plural(counts.images, "file")
        say(f"{counts.failed} of {files} could not be scored. The column error says why.")
        raise typer.Exit(SOME_FAILED)


def _split_runs(given: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell further runs from images, which come after them."""
    from featx.errors import InputError
    from featx.runs._record import RECORD_NAME
    from featx_cache.files import is_there

    is_run = [is_there(path / RECORD_NAME, file=True) for path in given]
    if all(is_run):
        raise InputError(
            f"there are no images to predict: {given[-1]} is a run",
            "Give images, or folders of them, after the runs.",
        )
    first = is_run.index(False)
    if any(is_run[first:]):
        raise InputError(
            f"the run {given[is_run.index(True, first)]} comes after images",
            "Give the runs first, then the images.",
        )
    return given[:first], given[first:]


def _summarize(runs: list[Run], counts: CountsByRun) -> None:
    """Say on standard error what the verdicts alone don't tell."""
    for classes in dict.fromkeys(run.record.classes for run in runs):
        warn_of_positive(classes)
    for run, (name, own) in zip(runs, counts.items(), strict=True):
        begin = f"{name}: " if len(runs) > 1 else ""
        say(f"{begin}{own.in_words}")
        if run.record.extraction.backbone.weights == "random":
            say(
                f"{begin}The run's embeddings are untrained (random weights): these verdicts mean "
                "nothing."
            )
        if not run.record.files:
            say(
                f"{begin}An earlier version of featx fitted this run: it can't tell which verdicts "
                "are uncertain, nor which images are unlike its training images, inverted or "
                "turned. Fit it again."
            )
        if warning := own.warning:
            warn(f"{begin}{warning}")
    for warning in counts.view_warnings:
        warn(warning)
    if counts.agreement:
        say(counts.agreement)
