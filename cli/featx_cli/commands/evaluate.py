"""``featx evaluate``: measure a run on images that it wasn't fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cache._spreadsheets import to_csv
from featx_cli.console import TerminalProgress, output
from featx_cli.evaluation_tables import (
    comparison_notes,
    comparison_table,
    shift_table,
    subgroup_notes,
    subgroups_table,
    tell_known_images,
)
from featx_cli.files import ForceOption, require_output, to_standard_output, write_text
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
    warn_of_positive,
)
from featx_cli.protocol import evaluate_protocol
from featx_cli.sources import DataOptions, source_of
from featx_cli.tables import confusion_table, metrics_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx._run import Run
    from featx.scoring import Evaluation, RunComparison

    Result = tuple[str, Evaluation, RunComparison | None]

EPILOG = "\b\nExample:  featx evaluate runs/logreg other_hospital/ --by size --json metrics.json"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory that `featx fit` wrote.")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA_OR_CACHE...",
            help="Caches, or labelled images as `featx extract` takes them, which are embedded "
            "with the run's own settings. Default: the cache that the run was fitted on.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val, test or all. Default: test, or all images where there is no such "
            "split."
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="RUN2...",
            help="Compare with this run, and runs that follow it, on the same images.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Measure subgroups, too: by cause, mode, split, size (the shorter side), or any "
            "column of a manifest; may be given several times.",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of the people who are sick where it will be used, such as 0.05: PPV and "
            "NPV are given for there, too."
        ),
    ] = None,
    protocol: Annotated[
        Literal["shift"] | None,
        typer.Option(
            help="shift: train the run's head anew on one side of a seam of its cache and use it "
            "on the other (bacterial and viral pneumonia, two series of normal images), to see "
            "what another population would cost.",
            show_default=False,
        ),
    ] = None,
    seam: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="With --protocol shift: divide along this column of the manifest, such as the "
            "hospital; may be given several times.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the metrics here too; with - they go to standard output alone.",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write path, label, group, score here; with - to standard output alone.",
        ),
    ] = None,
    force: ForceOption = False,
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
    """Measure a run at its own threshold on images that it wasn't fitted on.

    Everything comes with 95 % intervals by patients, not by images. The file of --json has
    Wilson's, Clopper and Pearson's and DeLong's as well, which take images for independent. Images
    that the run was fitted on, other images of the same patients and near duplicates are left out
    and counted. The images are compared with those that the run was fitted on, and it says so when
    their population differs.
    """
    from featx._run import load_run
    from featx.errors import InputError
    from featx.evaluation._prevalence import require_share
    from featx.scoring._evaluate import names_of

    if prevalence is not None:
        require_share(prevalence)
    if seam and protocol is None:
        raise InputError("--seam is for --protocol shift", "Add that, or give --by COLUMN.")
    data, others = _split_runs(sources or [], compare or [])
    if to_standard_output(json) and to_standard_output(csv):
        raise InputError("--json - and --csv - would be mixed", "Give one of them a file.")
    if cache is not None and len(data) != 1:
        raise InputError("--cache keeps the embeddings of one DATA", "Give one, or leave it out.")
    runs = [load_run(path) for path in (run, *others)]
    names_of(runs)  # which refuses a run that is there twice
    inputs = [run, *others, *(data or [Path(runs[0].record.cache)])]
    for file, option in ((json, "--json"), (csv, "--csv")):
        require_output(file, option, force=force, inputs=inputs)
    import_quietly()
    if protocol is not None:
        _refuse_with_protocol(split=split, compare=others, by=by, cache=cache)
        evaluate_protocol(runs[0], data, seam or [], json, csv, force=force)
        return
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
    results = [
        _evaluate(runs, source, options, split, (by or [], prevalence), keep_known_patients)
        for source in data or (None,)
    ]
    if json is not None:
        write_text(json, as_json(runs[0], results), force=force)
    if csv is not None:
        write_text(csv, as_csv(results), force=force)
    warn_of_positive(runs[0].record.classes)
    if to_standard_output(json) or to_standard_output(csv):
        for _, evaluation, _ in results:
            tell_known_images(evaluation.left_out)
        return
    tell_positive(runs[0].record.classes)
    for result in results:
        _show(runs[0], result, titled=len(data) > 1)


def _refuse_with_protocol(**given: object) -> None:
    """Refuse options that the protocol has no use for."""
    from featx.errors import InputError

    for name, value in given.items():
        if value:
            raise InputError(f"--{name} has no use with --protocol shift", "Leave it out.")


def _split_runs(sources: list[Path], compare: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell data from runs, which may follow --compare."""
    from featx.errors import InputError
    from featx.runs._record import RECORD_NAME

    runs = [path for path in sources if (path / RECORD_NAME).is_file()]
    if runs and not compare:
        raise InputError(
            f"{runs[0]} is a run, not data", f"To compare with it, give --compare {runs[0]}."
        )
    return [path for path in sources if path not in runs], [*compare, *runs]


def _evaluate(
    runs: list[Run],
    source: Path | None,
    options: DataOptions,
    split: str | None,
    how: tuple[list[str], float | None],
    keep_known_patients: bool,
) -> Result:
    from featx.scoring import compare, measure, score_images

    progress, (by, prevalence) = TerminalProgress(), how
    with source_of(runs, source, options, split=split, by=by) as opened:
        scored = [
            score_images(
                run,
                cache,
                opened.split,
                keep_known_patients=keep_known_patients,
                progress=progress,
            )
            for run, cache in zip(runs, opened.caches, strict=True)
        ]
        evaluation = measure(runs[0], scored[0], by=by, prevalence=prevalence)
    pairs = list(zip(runs, scored, strict=True))
    return opened.name, evaluation, compare(pairs) if len(runs) > 1 else None


def _show(run: Run, result: Result, *, titled: bool) -> None:
    from featx.evaluation import caveats, counts_in_words, plural

    name, evaluation, comparison = result
    classes, metrics = run.record.classes, evaluation.metrics.as_dict()
    console = output()
    title = f"{run.record.head.name} on {evaluation.split}"
    console.print(counts_in_words(metrics["confusion"], classes))
    console.print(metrics_table(f"{title} of {name}" if titled else title, metrics))
    console.print(confusion_table(metrics["confusion"], classes))
    console.print(
        f"{plural(metrics['images'], 'image')} of {plural(metrics['patients'], 'patient')} at "
        f"the run's threshold {metrics['threshold']:.6g}."
    )
    for caution in caveats(metrics, classes):
        console.print(caution)
    for subgroups in evaluation.subgroups:
        console.print()
        console.print(subgroups_table(subgroups, classes))
        for note in subgroup_notes(subgroups):
            console.print(note)
    if comparison is not None:
        for other in comparison.names[1:]:
            console.print()
            console.print(comparison_table(comparison, other))
        for note in comparison_notes(comparison):
            console.print(note)
    if evaluation.shift is not None:
        console.print()
        console.print(shift_table(evaluation.shift, classes))
        console.print(evaluation.shift.sentence)
        if evaluation.shift.suspected:
            console.print(
                "The operating point may not hold here: look at recall and specificity above, and "
                "choose another with `featx calibrate` and some labelled images of this population."
            )
    if run.record.extraction.backbone.weights == "random":
        console.print("The embeddings are untrained (random weights).")
    tell_known_images(evaluation.left_out)


def as_json(run: Run, results: list[Result]) -> str:
    """Return evaluations as JSON text: an object, or a list where there are several data."""
    import json

    contents = [_plain(run, result) for result in results]
    return json.dumps(contents[0] if len(contents) == 1 else contents, indent=2) + "\n"


def _plain(run: Run, result: Result) -> dict[str, Any]:
    from featx.evaluation import counts_in_words

    name, evaluation, comparison = result
    return {
        "run": str(run.path),
        "head": run.record.head.name,
        "data": name,
        "split": evaluation.split,
        "classes": list(run.record.classes),
        "positive_class": run.record.classes[1],
        "in_words": counts_in_words(evaluation.metrics.confusion, run.record.classes),
        "accuracy_floor": run.record.accuracy_floor,
        "excluded": evaluation.excluded,
        "left_out": evaluation.left_out.as_dict(),
        "trained_embeddings": run.record.extraction.backbone.weights == "trained",
        **evaluation.metrics.as_dict(),
        "subgroups": [subgroups.as_dict() for subgroups in evaluation.subgroups],
        "comparison": comparison.as_dict() if comparison is not None else None,
        "shift": evaluation.shift.as_dict() if evaluation.shift is not None else None,
    }


def as_csv(results: list[Result]) -> str:
    """Return scores as CSV text, with the data's name where there are several."""
    import pandas as pd

    if len(results) == 1:
        return to_csv(results[0][1].scores)
    named = [evaluation.scores.assign(data=name) for name, evaluation, _ in results]
    return to_csv(pd.concat(named), paths=("path", "data"))
