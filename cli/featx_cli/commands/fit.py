"""``featx fit``: train heads on a cache and choose their operating points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli.choosing import head_names, head_settings, head_spec
from featx_cli.console import TerminalProgress, output
from featx_cli.loading import tell_positive, warn_of_cache
from featx_cli.tables import confusion_table, metrics_table, plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    import pandas as pd

    from featx.fitting import FitReport

EPILOG = "\b\nExample:  featx fit embeddings --head logreg --run runs/logreg --accuracy-floor 0.95"

COMPARED = ("roc_auc", "recall", "accuracy", "specificity")


def fit(
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="Folder that `featx extract` filled.")
    ],
    run: Annotated[
        Path,
        typer.Option(
            "--run", metavar="RUN", help="Directory to write the run to, or a run a head."
        ),
    ],
    head: Annotated[
        str,
        typer.Option(
            help="keras, logreg, svm, knn, lda or hgb (`featx heads` says what they are), several "
            "with commas between, or all: they are compared on the same folds."
        ),
    ],
    accuracy_floor: Annotated[
        float, typer.Option(help="Accuracy that the threshold must keep, as a fraction.")
    ] = 0.90,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the head, such as learning_rate=0.002; can be given many times. "
            "`featx heads HEAD` lists them.",
            show_default=False,
        ),
    ] = None,
    head_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings of the head from a YAML file, among them `layers`: a Keras head of "
            "your own.",
        ),
    ] = None,
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
            help="Keras heads whose scores are averaged; they differ by seed, or with "
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
    calibration: Annotated[
        str | None,
        typer.Option(
            help="How scores become probabilities, on held-out patients: sigmoid, isotonic or "
            "temperature. Default: sigmoid for the svm, none for the others.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds, the head and the search.")] = 0,
    use_copies: Annotated[
        bool | None,
        typer.Option(
            help="Train on augmented copies too, where the cache has some. Default: keras does, "
            "the others don't.",
            show_default=False,
        ),
    ] = None,
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
    force: Annotated[
        bool, typer.Option("--force", help="Replace a run that is there already.")
    ] = False,
) -> None:
    """Train a head on the train and val images of a cache and choose its operating point.

    Every image is scored by a head that saw no image of the same patient (out of fold). On those
    scores an Optuna study picks the threshold of highest recall with accuracy at or above the
    floor. The final head is then trained on train and val together. The test split isn't touched.
    """
    from featx_cache import open_cache

    shortcuts = {
        "epochs": epochs,
        "copies_per_epoch": copies_per_epoch,
        "ensemble": ensemble,
        "precision": precision,
    }
    given = {name: value for name, value in shortcuts.items() if value is not None}
    settings = head_settings(head_config, setting or [])
    names = head_names(head)
    if "keras" in names:
        import_quietly()  # its precision goes by the hardware, its layers by Keras
    specs = [
        head_spec(name, settings, given, {"seed": seed, "calibration": calibration}, len(names) > 1)
        for name in names
    ]
    opened = open_cache(cache)
    import_quietly()
    warn_of_cache(opened)
    how: dict[str, Any] = {
        "accuracy_floor": accuracy_floor,
        "use_copies": use_copies,
        "tta": tta,
        "resume": resume,
        "force": force,
        "progress": TerminalProgress(),
    }
    if len(specs) == 1:
        from featx.fitting import fit as run_fit

        _print_run(run_fit(opened, specs[0], run, **how), accuracy_floor)
    else:
        from featx.fitting import fit_heads

        comparison = fit_heads(opened, specs, run, **how)
        tell_positive(opened.classes)
        output().print(comparison_table(comparison.table, accuracy_floor))
        if comparison.table["threshold"].isna().any():
            output().print(
                "none: no threshold reaches the floor. The accuracy is the best of all thresholds."
            )
        output().print(f"Runs and comparison.csv: {run}", soft_wrap=True)


def comparison_table(table: pd.DataFrame, accuracy_floor: float) -> Any:
    """List heads side by side."""
    shown = plain_table(
        f"Out of fold, at the highest recall with accuracy ≥ {accuracy_floor:g}",
        ("head", "ROC AUC", "recall", "accuracy", "specificity", "fit s", "predict µs/image"),
    )
    for row in table.to_dict("records"):
        name, numbers = str(row["head"]), [row[c] for c in COMPARED]
        if row["threshold"] != row["threshold"]:  # NaN: no threshold reaches the floor
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


def _print_run(report: FitReport, accuracy_floor: float) -> None:
    from featx.evaluation import caveats, counts_in_words, plural

    console, record = output(), report.record
    name = record.head.name
    tell_positive(record.classes)
    found = record.metrics["out_of_fold"]
    console.print(f"Out of fold: {counts_in_words(found['confusion'], record.classes)}")
    console.print(metrics_table(f"{name}, out of fold", record.metrics["out_of_fold"]))
    console.print(confusion_table(record.metrics["out_of_fold"]["confusion"], record.classes))
    console.print(
        f"Threshold {record.threshold:.6g}: the highest recall with accuracy ≥ "
        f"{accuracy_floor:g} on {plural(record.images, 'image')} of "
        f"{plural(record.patients, 'patient')}.",
    )
    for caution in caveats(found, record.classes):
        console.print(caution)
    console.print("It was chosen on these scores; `featx evaluate` measures it on the test split.")
    console.print(f"Run: {report.run}", soft_wrap=True)
