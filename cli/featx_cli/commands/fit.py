"""``featx fit``: train heads on a cache and choose their operating points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli import completion
from featx_cli.console import TerminalProgress, output
from featx_cli.criterion_options import with_criterion_options
from featx_cli.data_options import tell_positive
from featx_cli.head_options import (
    CacheArgument,
    CalibrationOption,
    ChooseOnOption,
    HeadConfigOption,
    HeadOptions,
    UseCopiesOption,
    open_for_fitting,
)
from featx_cli.options import with_options
from featx_cli.run_options import ReplaceRunOption
from featx_cli.tables import confusion_table, metrics_table, plain_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from featx.fitting import Comparison
    from featx.runs import FittedRun
    from featx.thresholds import Criterion

EPILOG = "\b\nExample:  featx fit embeddings --head logreg --run runs/logreg --accuracy-floor 0.95"

COMPARED_METRICS = ("roc_auc", "recall", "accuracy", "specificity")


@with_criterion_options()
def fit(
    cache: CacheArgument,
    run: Annotated[
        Path,
        typer.Option(
            "--run", metavar="RUN", help="Directory of the run. Several heads get a run each in it."
        ),
    ],
    head: Annotated[
        str,
        typer.Option(
            help="Head: keras, logreg, svm, knn, lda or hgb (`featx heads` describes them). "
            "Several with commas between, or all, are compared on the same folds.",
            autocompletion=completion.several_of(*completion.HEADS, "all"),
        ),
    ],
    *,
    criterion: dict[str, Any],
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Setting of the head, such as learning_rate=0.002. Can be given many times. "
            "`featx heads HEAD` lists them.",
            show_default=False,
        ),
    ] = None,
    head_config: HeadConfigOption = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the Keras head. Default: 8.", show_default=False)
    ] = None,
    copies_per_epoch: Annotated[
        str | None,
        typer.Option(
            help="Copies of each image in an epoch of the Keras head: one, drawn at random, or "
            "all. Default: one.",
            show_default=False,
        ),
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Keras heads whose scores are averaged. They differ by seed, or with "
            "--set ensemble_of=folds each leaves out a fold of patients. Default: 1.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Arithmetic of the Keras head: float32, bfloat16, or auto, which takes the "
            "faster. Default: auto.",
            show_default=False,
        ),
    ] = None,
    calibration: CalibrationOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds and the head.")] = 0,
    folds: Annotated[
        int,
        typer.Option(
            metavar="K", help="Folds of patients. There are fewer if a class has fewer patients."
        ),
    ] = 5,
    use_copies: UseCopiesOption = True,
    choose_on: ChooseOnOption = None,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            help="Average each score over the image and its copies, now and whenever the run is "
            "used. The cache needs copies of all images (featx extract --copies-of all).",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a training that was interrupted."),
    ] = False,
    force: ReplaceRunOption = False,
) -> None:
    """Train a head on the train and val images of a cache and choose its operating point.

    Every image is scored by a head that saw no image of the same patient (out of fold). On those
    scores the threshold is chosen: by default the one of highest recall with accuracy at or above
    0.9. `featx dashboard RUN` shows the choice. The final head is then trained on train and val
    together. The test split isn't touched.
    """
    from featx.fitting import fit as fit_head
    from featx.fitting import fit_heads
    from featx.thresholds import Criterion

    keras = {
        "epochs": epochs,
        "copies_per_epoch": copies_per_epoch,
        "ensemble": ensemble,
        "precision": precision,
    }
    specs = HeadOptions(head, head_config, setting, seed, calibration, keras).specs()
    opened = open_for_fitting(cache)
    if len(specs) == 1:
        fitted = fit_head(
            opened,
            specs[0],
            run,
            **criterion,
            folds=folds,
            use_copies=use_copies,
            choose_on=choose_on,
            tta=tta,
            resume=resume,
            force=force,
            progress=TerminalProgress(),
        )
        _print_run(fitted)
    else:
        comparison = fit_heads(
            opened,
            specs,
            run,
            **criterion,
            folds=folds,
            use_copies=use_copies,
            choose_on=choose_on,
            tta=tta,
            resume=resume,
            force=force,
            progress=TerminalProgress(),
        )
        _print_comparison(comparison, opened.classes, Criterion(**criterion))


def _print_comparison(
    comparison: Comparison, classes: tuple[str, str], criterion: Criterion
) -> None:
    tell_positive(classes)
    output().print(comparison_table(comparison.table, criterion))
    if comparison.table["threshold"].isna().any():
        output().print(
            "none: no threshold reaches the floors. The accuracy is the best of all thresholds."
        )
    output().print(f"Runs and comparison.csv: {comparison.folder}", soft_wrap=True)


def comparison_table(table: pd.DataFrame, criterion: Criterion) -> Table:
    """List heads side by side."""
    shown = plain_table(
        f"Out of fold, at the {criterion.in_words}",
        ("head", "ROC AUC", "recall", "accuracy", "specificity", "fit s", "predict µs/image"),
    )
    for row in table.to_dict("records"):
        name, numbers = str(row["head"]), [row[c] for c in COMPARED_METRICS]
        if row["threshold"] != row["threshold"]:  # NaN: no threshold reaches the floors
            area = "" if numbers[0] != numbers[0] else f"{numbers[0]:.4f}"
            shown.add_row(name, area, "none", f"≤ {row['best_accuracy']:.4f}", *[""] * 3)
            continue
        shown.add_row(
            name,
            *(f"{number:.4f}" for number in numbers),
            f"{row['fit_seconds']:.1f}",
            f"{row['predict_microseconds']:.0f}",
        )
    return shown


def _print_run(run: FittedRun) -> None:
    from featx.evaluation import caveats, counts_in_words
    from featx.runs._copies import copies_in_words, images_in_words

    console, record = output(), run.record
    metrics = record.metrics.out_of_fold
    tell_positive(record.classes)
    console.print(f"Out of fold: {counts_in_words(metrics.confusion, record.classes)}")
    console.print(metrics_table(f"{record.head.name}, out of fold", metrics.model_dump()))
    console.print(confusion_table(metrics.confusion, record.classes))
    console.print(
        f"Threshold {record.threshold:.6g}: the {record.criterion.in_words} on "
        f"{images_in_words(run)}.",
    )
    if record.search.note:
        console.print(record.search.note)
    if on_copies := copies_in_words(run):
        console.print(with_options(on_copies))
    for caution in caveats(metrics, record.classes):
        console.print(caution)
    console.print(
        "The threshold was chosen on these scores. `featx evaluate` measures it on the test split."
    )
    console.print(f"Run: {run.path}", soft_wrap=True)
