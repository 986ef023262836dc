"""``featx predict``: score image files with a run."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cli.console import TerminalProgress, output, say
from featx_cli.files import write_text
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.runs import Prediction

EPILOG = "\b\nExample:  featx predict runs/logreg new_patients/ --format csv --out verdicts.csv"
COLUMNS = ("path", "score", "threshold", "prediction", "error")
SOME_FAILED = 3


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory that `featx fit` wrote.")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Images, and folders of images."),
    ],
    format: Annotated[
        Literal["table", "csv", "json"], typer.Option(help="Of the output.")
    ] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write here, not to the terminal.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Where the backbone's weights are, if they were moved since the fit."),
    ] = None,
) -> None:
    """Decode, embed and score images with the run's own settings.

    An image is called positive when its score is at least the run's threshold. A file that can't be
    read gets an empty score and its reason; the others are still scored, and the exit code is 3.
    """
    from featx.runs import find_images, load_run

    opened = load_run(run)
    paths = find_images(images)
    import_quietly()
    backbone = opened.backbone(weights)
    predictions = []
    with TerminalProgress().task("Predicting", len(paths), "image") as advance:
        for prediction in opened.predict(paths, backbone=backbone):
            predictions.append(prediction)
            advance(1)
    text = {"csv": as_csv, "json": as_json, "table": as_table}[format](predictions)
    if out is not None:
        write_text(out, text)
    else:
        sys.stdout.write(text)
    if opened.record.extraction.backbone.weights == "random":
        say("The run's embeddings are untrained (random weights): these verdicts mean nothing.")
    failed = sum(bool(prediction.error) for prediction in predictions)
    if failed:
        say(f"{failed} of {len(predictions)} files could not be read.")
        raise typer.Exit(SOME_FAILED)


def as_csv(predictions: list[Prediction]) -> str:
    """Return the predictions as CSV text, scores at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for prediction in predictions:
        fields = _fields(prediction)
        writer.writerow("" if fields[c] is None else fields[c] for c in COLUMNS)
    return text.getvalue()


def as_json(predictions: list[Prediction]) -> str:
    """Return the predictions as a JSON list."""
    return json.dumps([_fields(prediction) for prediction in predictions], indent=2) + "\n"


def as_table(predictions: list[Prediction]) -> str:
    """Return the predictions as a text table."""
    table = plain_table("Predictions", COLUMNS, words=(0, 3, 4))
    for p in predictions:
        score = "" if p.score is None else f"{p.score:.4f}"
        table.add_row(p.path, score, f"{p.threshold:.4f}", p.prediction, p.error)
    console = output()
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _fields(prediction: Prediction) -> dict[str, Any]:
    return {column: getattr(prediction, column) for column in COLUMNS}
