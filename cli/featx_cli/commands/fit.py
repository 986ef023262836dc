"""``featx fit``: train a head on a cache and choose its operating point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx_cli.console import TerminalProgress, output, say
from featx_cli.tables import confusion_table, metrics_table
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx fit embeddings --head logreg --run runs/logreg --accuracy-floor 0.95"


def fit(
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="Folder that `featx extract` filled.")
    ],
    run: Annotated[
        Path, typer.Option("--run", metavar="RUN", help="Directory to write the run to.")
    ],
    head: Annotated[
        str,
        typer.Option(
            help="keras (the study's network), svm (RBF kernel) or logreg (logistic regression)."
        ),
    ],
    accuracy_floor: Annotated[
        float, typer.Option(help="Accuracy that the threshold must keep, as a fraction.")
    ] = 0.90,
    epochs: Annotated[int, typer.Option(help="Of the Keras head.")] = 8,
    precision: Annotated[
        str, typer.Option(help="Of the Keras head's arithmetic: auto, float32 or bfloat16.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the folds, the head and the search.")] = 0,
    use_copies: Annotated[
        bool | None,
        typer.Option(
            help="Train on augmented copies too, where the cache has some. Default: keras does, "
            "svm and logreg don't.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a run that is there already.")
    ] = False,
) -> None:
    """Train a head on the train and val images of a cache and choose its operating point.

    Every image is scored by a head that saw no image of the same patient (out of fold). On those
    scores an Optuna study picks the threshold of highest recall with accuracy at or above the
    floor. The final head is then trained on train and val together. The test split isn't touched.
    """
    from pydantic import ValidationError

    from featx.heads import HeadSpec
    from featx.runs import fit as run_fit
    from featx.specs import spec_error
    from featx_cache import open_cache

    if head == "keras" and precision == "auto":
        import_quietly()  # `auto` looks at the hardware
    try:
        spec = HeadSpec.choose(head, seed=seed, epochs=epochs, precision=precision)
    except ValidationError as error:
        raise spec_error(error) from error
    opened = open_cache(cache)
    import_quietly()
    if opened.spec["backbone"]["weights"] == "random":
        say("The cache was made with random weights: the embeddings are untrained.")
    report = run_fit(
        opened,
        spec,
        run,
        accuracy_floor=accuracy_floor,
        use_copies=use_copies,
        force=force,
        progress=TerminalProgress(),
    )
    console, record = output(), report.record
    console.print(metrics_table(f"{spec.name}, out of fold", record.metrics["out_of_fold"]))
    console.print(confusion_table(record.metrics["out_of_fold"]["confusion"], record.classes))
    console.print(
        f"Threshold {record.threshold:.6g}: the highest recall with accuracy ≥ "
        f"{accuracy_floor:g} on {record.images} images of {record.patients} patients.",
    )
    console.print("It was chosen on these scores; `featx evaluate` measures it on the test split.")
    console.print(f"Run: {report.run}", soft_wrap=True)
    if report.point.snapped:
        say("The search's last trial is the exact optimum of a full sweep.", detail=True)
