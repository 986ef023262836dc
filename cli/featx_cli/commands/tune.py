"""``featx tune``: search heads, settings and thresholds under an accuracy floor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli.choosing import head_names, head_settings, head_spec
from featx_cli.console import TerminalProgress, output, say
from featx_cli.loading import tell_positive, warn_of_cache
from featx_cli.tables import confusion_table, metrics_table, plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.fitting import TuneReport

EPILOG = (
    "\b\nExample:  featx tune embeddings --head logreg --run runs/tuned --accuracy-floor 0.95 "
    "--trials 50"
)


def tune(
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="Folder that `featx extract` filled.")
    ],
    run: Annotated[
        Path, typer.Option("--run", metavar="RUN", help="Directory to write the run to.")
    ],
    head: Annotated[
        str,
        typer.Option(
            help="keras, logreg, svm, knn, lda or hgb, several with commas between, or all: the "
            "search chooses among them."
        ),
    ],
    accuracy_floor: Annotated[
        float, typer.Option(help="Accuracy that a trial must keep, as a fraction.")
    ] = 0.90,
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
            help="constrained: recall, subject to the accuracy floor. pareto: what recall costs in "
            "accuracy, as a front of trials."
        ),
    ] = "constrained",
    sampler: Annotated[
        str | None,
        typer.Option(
            help="tpe, gp, random, grid or nsga2. Default: tpe, and nsga2 for --objective pareto.",
            show_default=False,
        ),
    ] = None,
    pruner: Annotated[
        str,
        typer.Option(
            help="Ends Keras trainings that fall behind, by their recall after each epoch: median, "
            "hyperband or none."
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
            help="Fix a setting of the head instead of searching it; can be given many times. "
            "`featx heads HEAD` lists them.",
            show_default=False,
        ),
    ] = None,
    head_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fixed settings of the head from a YAML file."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="How scores become probabilities: sigmoid, isotonic or temperature. Default: "
            "sigmoid for the svm, none for the others.",
            show_default=False,
        ),
    ] = None,
    use_copies: Annotated[
        bool | None,
        typer.Option(
            help="Train on augmented copies too. Default: keras does, the others don't.",
            show_default=False,
        ),
    ] = None,
    guarantee: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            help="Promise the floor for new patients with this confidence, such as 0.9. A fifth of "
            "the patients is set aside for that.",
            show_default=False,
        ),
    ] = None,
    recall_floor: Annotated[
        float | None,
        typer.Option(help="With --guarantee: promise this recall, too.", show_default=False),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the study. Default: the run's.", show_default=False
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="FEATX_STORAGE",
            help="Database for the study, such as sqlite:///study.db or "
            "postgresql+psycopg://user@host/name. Machines that name the same one share its "
            "trials. Default: a file beside the run.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds, the heads and the sampler.")] = 0,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a run that is there already, or another study beside it."
        ),
    ] = False,
) -> None:
    """Search heads, settings and the threshold for the highest recall above an accuracy floor.

    A trial is a head with some settings and a threshold. It is worth its recall out of fold, and
    it counts only where its accuracy keeps the floor. The best is scored once more on folds that
    were shuffled anew, fitted on train and val, and saved as a run. `featx dashboard RUN` shows the
    trials, also while they run. A search that was interrupted goes on with the same command.
    """
    from featx_cache import open_cache

    names = head_names(head)
    typed = head_settings(head_config, setting or [])
    if "keras" in names:
        import_quietly()  # its precision goes by the hardware, its layers by Keras
    heads = [
        head_spec(name, typed, {}, {"seed": seed, "calibration": calibration}, len(names) > 1)
        for name in names
    ]
    from featx.fitting import tune as run_tune
    from featx.tuning import Budget, SearchSpec
    from featx.tuning._spec import check_objective, check_pruner, check_sampler

    kind = check_objective(objective)
    chosen = check_sampler(sampler or ("nsga2" if kind == "pareto" else "tpe"), kind)
    spec = SearchSpec.choose(
        heads=tuple(heads),
        fixed={name: tuple(typed) for name in names} if typed else {},
        accuracy_floor=accuracy_floor,
        objective=kind,
        threshold_only=threshold_only,
        use_copies=use_copies,
        guarantee=guarantee,
        recall_floor=recall_floor,
        seed=seed,
    )
    opened = open_cache(cache)
    import_quietly()
    warn_of_cache(opened)
    report = run_tune(
        opened,
        spec,
        run,
        budget=Budget(trials, timeout, jobs, chosen, check_pruner(pruner)),
        study=study,
        storage=storage,
        force=force,
        progress=TerminalProgress(),
    )
    _print(report, accuracy_floor)


def _print(report: TuneReport, accuracy_floor: float) -> None:
    from featx.evaluation import counts_in_words

    console, record, winner = output(), report.record, report.outcome.winner
    found = report.record.metrics["out_of_fold"]
    name = record.head.name
    tell_positive(record.classes)
    console.print(f"Fresh folds: {counts_in_words(found['confusion'], record.classes)}")
    console.print(metrics_table(f"{name} of trial {winner.trial}, out of fold, fresh folds", found))
    console.print(confusion_table(found["confusion"], record.classes))
    table = plain_table(
        f"The search's threshold {winner.threshold:.6g}",
        ("", "folds of the search", "fresh folds", "optimism"),
    )
    for measure, searched in (("recall", winner.recall), ("accuracy", winner.accuracy)):
        optimism = report.optimism[measure]
        table.add_row(measure, f"{searched:.4f}", f"{searched - optimism:.4f}", f"{optimism:+.4f}")
    console.print(table)
    console.print(_trials(report), soft_wrap=True)
    settings = ", ".join(
        f"{key}={'none' if value is None else value}"
        for key, value in record.head.settings.model_dump(mode="json").items()
        if key != "layers"
    )
    console.print(f"Settings: {settings}", soft_wrap=True)
    if report.promise is not None:
        console.print(
            f"Threshold {record.threshold:.6g}. {report.promise.sentence}", soft_wrap=True
        )
    elif found["accuracy"] < accuracy_floor:
        console.print(
            f"On fresh folds accuracy is below the floor {accuracy_floor:g}: expect that of new "
            "patients, too. --guarantee 0.9 chooses a threshold that keeps it.",
            soft_wrap=True,
        )
    if winner.snapped:
        say("No trial had hit the exact optimum; the last trial is it, from a full sweep.")
    console.print(f"Run: {report.run}", soft_wrap=True)
    say(f"See the trials with `featx dashboard {report.run}`.")


def _trials(report: TuneReport) -> str:
    """Say what became of the trials."""
    trials: dict[str, Any] = report.outcome.trials
    parts = [f"{trials['complete']} finished ({trials['infeasible']} below the floor)"]
    if trials["pruned"]:
        saved = report.outcome.seconds_saved
        span = f"{saved / 60:.0f} min" if saved >= 120 else f"{saved:.0f} s"
        parts.append(f"{trials['pruned']} stopped early, which saved about {span}")
    if trials["fail"]:
        parts.append(f"{trials['fail']} failed or interrupted")
    return f"Trials: {', '.join(parts)}."
