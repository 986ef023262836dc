"""``featx tune``: search heads, settings and thresholds by a criterion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli import completion
from featx_cli.console import TerminalProgress, output, say
from featx_cli.criterion_options import with_criterion_options
from featx_cli.data_options import tell_positive
from featx_cli.head_options import (
    CacheArgument,
    CalibrationOption,
    ChooseOnOption,
    HeadConfigOption,
    HeadOptions,
    StorageOption,
    UseCopiesOption,
    open_for_fitting,
)
from featx_cli.tables import confusion_table, metrics_table, plain_table

if TYPE_CHECKING:
    from featx.runs import FittedRun
    from featx.runs._record_parts import TuningRecord

EPILOG = (
    "\b\nExample:  featx tune embeddings --head logreg --run runs/tuned --accuracy-floor 0.95 "
    "--trials 50"
)


@with_criterion_options()
def tune(
    cache: CacheArgument,
    run: Annotated[
        Path, typer.Option("--run", metavar="RUN", help="Directory to write the run to.")
    ],
    head: Annotated[
        str,
        typer.Option(
            help="Heads: keras, logreg, svm, knn, lda or hgb, several with commas between, or all. "
            "The search chooses among them.",
            autocompletion=completion.several_of(*completion.HEADS, "all"),
        ),
    ],
    *,
    criterion: dict[str, Any],
    trials: Annotated[
        int, typer.Option(help="Finished trials that the study is to have in the end.")
    ] = 100,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Begin no trial after so many seconds. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes that run trials.")] = 1,
    objective: Annotated[
        str,
        typer.Option(
            help="Objective: constrained (what the criterion maximizes, subject to its floors) or "
            "pareto (recall and accuracy, as a front of trials).",
            autocompletion=completion.one_of(*completion.OBJECTIVES),
        ),
    ] = "constrained",
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Sampler: tpe, gp, random, grid or nsga2. Default: tpe, and nsga2 for "
            "--objective pareto.",
            show_default=False,
            autocompletion=completion.one_of(*completion.SAMPLERS),
        ),
    ] = None,
    pruner: Annotated[
        str,
        typer.Option(
            help="Rule that ends Keras trainings that fall behind, by their recall after each "
            "epoch: median, hyperband or none.",
            autocompletion=completion.one_of(*completion.PRUNERS),
        ),
    ] = "median",
    threshold_only: Annotated[
        bool,
        typer.Option(
            "--threshold-only", help="Leave the head's settings alone and search the threshold."
        ),
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix a setting of the head instead of searching it. Can be given many times. "
            "`featx heads HEAD` lists them.",
            show_default=False,
        ),
    ] = None,
    head_config: HeadConfigOption = None,
    calibration: CalibrationOption = None,
    use_copies: UseCopiesOption = True,
    choose_on: ChooseOnOption = None,
    guarantee: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            help="Confidence with which the floors are promised for new patients, such as 0.9. A "
            "fifth of the patients is set aside for that.",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the study. Default: the run's.", show_default=False
        ),
    ] = None,
    storage: StorageOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds, the heads and the sampler.")] = 0,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a run that is there already, or another study beside it."
        ),
    ] = False,
) -> None:
    """Search heads, settings and the threshold for the best operating point.

    A trial is a head with some settings and a threshold. By default its value is its recall out of
    fold, and it counts only if its accuracy keeps the floor. The best is scored once more on folds
    that were shuffled anew, fitted on train and val, and saved as a run. `featx dashboard RUN`
    shows the trials, also while they run. A search that was interrupted goes on with the same
    command.
    """
    from featx.fitting import tune as tune_heads
    from featx.tuning import Budget, SearchSpec

    options = HeadOptions(head, head_config, setting, seed, calibration)
    search = SearchSpec.choose(
        heads=tuple(options.specs()),
        fixed={name: tuple(options.settings) for name in options.names if options.settings},
        **criterion,
        objective=objective,
        threshold_only=threshold_only,
        use_copies=None if use_copies else False,
        choose_on=choose_on,
        guarantee=guarantee,
        seed=seed,
    )
    budget = Budget.choose(
        search, trials=trials, timeout=timeout, jobs=jobs, sampler=sampler, pruner=pruner
    )
    found = tune_heads(
        open_for_fitting(cache),
        search,
        run,
        budget=budget,
        study=study,
        storage=storage,
        force=force,
        progress=TerminalProgress(),
    )
    assert found.record.tuning is not None
    _print(found, found.record.tuning)


def _print(run: FittedRun, tuning: TuningRecord) -> None:
    from featx.evaluation import counts_in_words

    console, record = output(), run.record
    metrics, classes = record.metrics.out_of_fold, record.classes
    tell_positive(classes)
    console.print(f"Fresh folds: {counts_in_words(metrics.confusion, classes)}")
    title = f"{record.head.name} of trial {tuning.winner}, out of fold, fresh folds"
    console.print(metrics_table(title, metrics.model_dump()))
    console.print(confusion_table(metrics.confusion, classes))
    table = plain_table(
        f"The search's threshold {tuning.threshold:.6g}",
        ("", "folds of the search", "fresh folds", "optimism"),
    )
    for name in ("recall", "accuracy"):
        searched, optimism = tuning[name], tuning.optimism[name]
        table.add_row(name, f"{searched:.4f}", f"{searched - optimism:.4f}", f"{optimism:+.4f}")
    console.print(table)
    console.print(_trials(tuning), soft_wrap=True)
    settings = ", ".join(
        f"{key}={'none' if value is None else value}"
        for key, value in record.head.settings.model_dump(mode="json").items()
        if key != "layers"
    )
    console.print(f"Settings: {settings}", soft_wrap=True)
    if record.promise is not None:
        console.print(
            f"Threshold {record.threshold:.6g}. {record.promise.sentence}", soft_wrap=True
        )
    else:
        for name, floor in record.criterion.floors.items():
            if metrics[name] is not None and metrics[name] < floor:
                console.print(
                    f"On fresh folds {name} is below the floor {floor:g}: expect that of new "
                    "patients, too. --guarantee 0.9 chooses a threshold that keeps it.",
                    soft_wrap=True,
                )
    if record.search.note:
        console.print(record.search.note, soft_wrap=True)
    if record.search.snapped_to_sweep:
        say("No trial had hit the exact optimum. The last trial has it, from a full sweep.")
    console.print(f"Run: {run.path}", soft_wrap=True)
    say(f"See the trials with `featx dashboard {run.path}`.")


def _trials(tuning: TuningRecord) -> str:
    """Say what became of the trials."""
    trials, saved = tuning.trials, tuning.seconds_saved_by_pruning
    parts = [f"{trials['complete']} finished ({trials['infeasible']} below a floor)"]
    if trials["pruned"]:
        span = f"{saved / 60:.0f} min" if saved >= 120 else f"{saved:.0f} s"
        parts.append(f"{trials['pruned']} stopped early, which saved about {span}")
    if trials["fail"]:
        parts.append(f"{trials['fail']} failed or interrupted")
    return f"Trials: {', '.join(parts)}."
