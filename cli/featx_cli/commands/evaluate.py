"""``featx evaluate``: measure a run on images that it wasn't fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx_cli.console import TerminalProgress, output, say
from featx_cli.files import write_text
from featx_cli.tables import confusion_table, metrics_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.runs import Evaluation, Run

EPILOG = "\b\nExample:  featx evaluate runs/logreg --split test --json metrics.json"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory that `featx fit` wrote.")],
    cache: Annotated[
        Path | None,
        typer.Argument(metavar="CACHE", help="Default: the cache that the run was fitted on."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of the people who are sick where it will be used, such as 0.05: PPV and "
            "NPV are given for there, too."
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the metrics here too.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write path, label, group, score here."),
    ] = None,
) -> None:
    """Measure a run at its own threshold on images that it wasn't fitted on.

    Everything comes with 95 % intervals: a bootstrap that resamples patients. The file of --json
    has Wilson's, Clopper and Pearson's and DeLong's as well, which take images for independent.
    Images that the run was fitted on are left out, and counted.
    """
    from featx.runs import load_run
    from featx_cache import open_cache

    opened = load_run(run)
    import_quietly()
    result = opened.evaluate(
        open_cache(cache) if cache is not None else None,
        split=split,
        prevalence=prevalence,
        progress=TerminalProgress(),
    )
    if json is not None:
        write_text(json, as_json(opened, result))
    if csv is not None:
        write_text(csv, result.scores.to_csv(index=False))
    metrics = result.metrics.as_dict()
    console = output()
    console.print(metrics_table(f"{opened.record.head.name} on {result.split}", metrics))
    console.print(confusion_table(metrics["confusion"], opened.record.classes))
    console.print(
        f"{metrics['images']} images of {metrics['patients']} patients at the run's threshold "
        f"{metrics['threshold']:.6g}."
    )
    if opened.record.extraction.backbone.weights == "random":
        console.print("The embeddings are untrained (random weights).")
    if result.excluded:
        say(f"{result.excluded} images were left out: the run was fitted on the same files.")


def as_json(run: Run, result: Evaluation) -> str:
    """Return an evaluation as JSON text."""
    import json

    content = {
        "run": str(run.path),
        "head": run.record.head.name,
        "split": result.split,
        "classes": list(run.record.classes),
        "accuracy_floor": run.record.accuracy_floor,
        "excluded": result.excluded,
        "trained_embeddings": run.record.extraction.backbone.weights == "trained",
        **result.metrics.as_dict(),
    }
    return json.dumps(content, indent=2) + "\n"
