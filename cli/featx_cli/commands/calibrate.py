"""``featx calibrate``: a new operating point for another population, with the same head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cli import completion
from featx_cli.calibration_tables import points_table
from featx_cli.console import TerminalProgress, output, warn
from featx_cli.criterion_options import with_criterion_options
from featx_cli.data_options import (
    tell_positive,
    warn_of_positive,
    with_reading_options,
)
from featx_cli.evaluation_tables import tell_left_out
from featx_cli.run_options import (
    EmbeddingsOption,
    KeepKnownPatientsOption,
    ReplaceRunOption,
    RunArgument,
    RuntimeOption,
    WeightsOption,
)
from featx_cli.site_estimates import write_suggestion
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.data import ReadingOptions

EPILOG = (
    "\b\nExample:  featx calibrate runs/logreg our_hospital/ --accuracy-floor 0.90 "
    "--run runs/logreg-ours"
)


@with_reading_options(keep=False)
@with_criterion_options(
    default="the run's own criterion, if no other option of the criterion is given"
)
def calibrate(
    run: RunArgument,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA_OR_CACHE",
            help="Labelled images of the other population as `featx extract` takes them, or a "
            "cache of them. With --unlabelled, any images.",
        ),
    ],
    new_run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="NEW_RUN",
            help="Directory to write the new run to. It must be given, but not with --suggest.",
            show_default=False,
        ),
    ] = None,
    *,
    criterion: dict[str, Any],
    recalibrate: Annotated[
        Literal["sigmoid", "temperature"] | None,
        typer.Option(
            help="Method that makes scores probabilities there, too: sigmoid (Platt) or "
            "temperature. Default: scores stay as they are.",
            show_default=False,
        ),
    ] = None,
    guarantee: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            help="Confidence with which the floors are promised for new patients of that "
            "population, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Correct for another share of sick people only, without labels, assuming that "
            "nothing else differs.",
        ),
    ] = False,
    suggest: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES",
            min=1,
            help="Number of images to label first. They are chosen among images without labels, "
            "one of a patient: half around the threshold, the others at all scores. They are "
            "written to --csv, and no run is made.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="File for the images of --suggest, with an empty column for their labels. With - "
            "they go to standard output.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Split to choose on: train, val, test or all.",
            autocompletion=completion.one_of(*completion.SPLITS),
        ),
    ] = "all",
    force: ReplaceRunOption = False,
    cache: EmbeddingsOption = None,
    weights: WeightsOption = None,
    runtime: RuntimeOption = None,
    reading: ReadingOptions,
    keep_known_patients: KeepKnownPatientsOption = False,
) -> None:
    """Choose a run's threshold anew on images of another population.

    The head isn't fitted again, so a few dozen labelled images are enough. The old and the new
    operating point are shown side by side. The new one is cross-validated, because it was chosen on
    these images. RUN stays as it is. Evaluation of NEW_RUN leaves out the images that chose its
    threshold.
    """
    from featx import populations
    from featx._run import load_run
    from featx.populations._label_shift import refuse_with_unlabelled
    from featx.scoring import ScoringOptions

    if suggest is not None:
        _refuse_with_suggest(
            run=new_run,
            unlabelled=unlabelled,
            **criterion,
            recalibrate=recalibrate,
            guarantee=guarantee,
            cache=cache,
        )
        opened = load_run(run, runtime=runtime)
        import_quietly()
        write_suggestion(
            opened,
            data,
            suggest,
            csv,
            keep_known_patients=keep_known_patients,
            weights=weights,
            reading=reading,
            force=force,
        )
        return
    new_run = _require_new_run(new_run, csv)
    opened = load_run(run, runtime=runtime)
    options = ScoringOptions(
        split=split,
        keep_known_patients=keep_known_patients,
        cache=cache,
        weights=weights,
        reading=reading,
    )
    warn_of_positive(opened.record.classes)
    if unlabelled:
        refuse_with_unlabelled(recalibrate=recalibrate, guarantee=guarantee, cache=cache)
    import_quietly()
    if unlabelled:
        expected = populations.calibrate_unlabelled(
            opened,
            data,
            new_run,
            **criterion,
            options=options,
            force=force,
            progress=TerminalProgress(),
        )
        left_out, notes = expected.left_out, expected.notes
        shown: list[Any] = [points_table(expected, ", expected", "new")]
    else:
        report = populations.calibrate(
            opened,
            data,
            new_run,
            **criterion,
            recalibrate=recalibrate,
            guarantee=guarantee,
            options=options,
            force=force,
            progress=TerminalProgress(),
        )
        if report.unknown_patients:
            warn(report.unknown_patients)
        left_out, notes = report.left_out, report.notes
        how = "chosen on these" if report.promise is not None else "cross-validated"
        shown = [*report.in_words, points_table(report, " on these images", f"new, {how}")]
    tell_positive(opened.record.classes)
    console = output()
    for each in (*shown, *notes):
        console.print(each)
    tell_left_out(left_out)
    console.print(f"Run: {new_run}", soft_wrap=True)


def _require_new_run(new_run: Path | None, csv: Path | None) -> Path:
    """Return the place of the new run, which only --suggest can do without."""
    from featx.errors import InputError

    if csv is not None:
        raise InputError("--csv is for --suggest", "Leave it out, or add --suggest 50.")
    if new_run is None:
        raise InputError(
            "missing option --run", "Give the directory of the new run: --run NEW_RUN."
        )
    return new_run


def _refuse_with_suggest(**given: object) -> None:
    """Refuse options that have no use with a suggestion."""
    from featx.errors import InputError

    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} has no use with --suggest", "Leave it out.")
