"""``featx predict``: score image files with a run."""

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
from featx_cli.run_options import RunArgument, RuntimeOption, WeightsOption
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx._run import Run

EPILOG = "\b\nExample:  featx predict runs/logreg new_patients/ --format csv --out verdicts.csv"
SOME_FAILED = 3


def predict(
    run: RunArgument,
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
            help="Folder for a heat map of each image, as `featx explain` draws it afterwards.",
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

    Counts of the verdicts go to standard error. So does a warning if 30 patients or more have other
    scores or embeddings than the training images had out of fold.

    A file that can't be read gets an empty score and its reason. The others are still scored, and
    the exit code is 3. Files in a folder that aren't images are left out, and a line counts them.
    """
    from featx._run import load_run
    from featx.evaluation import plural
    from featx.explain import explain_images
    from featx.explain._folder import require_free
    from featx.scoring import ImageScorer, PredictionCounts, find_images, predict_images

    require_output(out, "--out", force=force, inputs=[run, *images])
    if explain is not None:
        require_free(explain, force=force)
    suffix = out.suffix.lower() if out is not None else ""
    format = format or ("csv" if suffix == ".csv" else "json" if suffix == ".json" else "table")
    opened = load_run(run, runtime=runtime)
    left_out: Counter[str] = Counter()
    paths = find_images(images, left_out)
    import_quietly()
    backbone = opened.backbone(weights)
    predictions = predict_images(ImageScorer(opened, backbone), paths)
    total = len(images) if not any(path.is_dir() for path in images) else None
    counts = PredictionCounts(opened)
    scored: list[str] = []
    with (
        contextlib.nullcontext(sys.stdout) if out is None else text_file(out, force=force) as file,
        TerminalProgress().task("Predicting", total, "image") as advance,
    ):
        for prediction in write_verdicts(predictions, format, file, opened.record.classes):
            counts.add(prediction)
            if explain is not None and not prediction.error:
                scored.append(prediction.path)
            advance(1)
    if explain is not None:
        explain_images(
            opened, scored, explain, backbone=backbone, force=force, progress=TerminalProgress()
        )
    warn_of_positive(opened.record.classes)
    say(counts.in_words)
    _remarks(opened)
    if warning := counts.warning:
        warn(warning)
    tell_unused_files(left_out.elements())
    if counts.failed:
        files = plural(counts.images, "file")
        say(f"{counts.failed} of {files} could not be scored. The column error says why.")
        raise typer.Exit(SOME_FAILED)


def _remarks(run: Run) -> None:
    """Say on standard error what the verdicts alone don't tell."""
    if run.record.extraction.backbone.weights == "random":
        say("The run's embeddings are untrained (random weights): these verdicts mean nothing.")
    if not run.record.files:
        say(
            "An earlier version of featx fitted this run: it can't tell which verdicts are "
            "uncertain, nor which images are unlike its training images. Fit it again."
        )
