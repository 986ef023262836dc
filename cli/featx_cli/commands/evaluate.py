"""``featx evaluate``: measure a run on images that it wasn't fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from featx_cache._spreadsheets import to_csv
from featx_cli import completion
from featx_cli.console import TerminalProgress
from featx_cli.data_options import (
    tell_positive,
    warn_of_positive,
    with_reading_options,
)
from featx_cli.evaluation_tables import evaluations_json, show_evaluation, tell_left_out
from featx_cli.files import ForceOption, require_output, to_standard_output, write_text
from featx_cli.run_options import (
    EmbeddingsOption,
    KeepKnownPatientsOption,
    RunArgument,
    RuntimeOption,
    WeightsOption,
)
from featx_cli.shift_protocol import evaluate_protocol
from featx_cli.site_estimates import (
    may_be_without_labels,
    refuse_without_labels,
    show_estimate,
)
from featx_cli.stress_protocol import StressOptions, evaluate_stress
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.data import ReadingOptions
    from featx.populations import PerformanceEstimate
    from featx.scoring import Evaluation

EPILOG = "\b\nExample:  featx evaluate runs/logreg other_hospital/ --by size --json metrics.json"


@with_reading_options(keep=False)
def evaluate(
    run: RunArgument,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA_OR_CACHE...",
            help="Caches, or labelled images as `featx extract` takes them, which are embedded "
            "with the run's own settings. Default: the cache that the run was fitted on. If a "
            "folder has no labels, the metrics are estimated.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to take: train, val, test or all. Default: test, or all images if there "
            "is no such split.",
            autocompletion=completion.one_of(*completion.SPLITS),
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="RUN2...",
            help="Run to compare with on the same images. Further runs may follow.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column that divides the images into subgroups: cause, mode, split, size (the "
            "shorter side), or any column of a manifest. It may be given several times.",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of sick people where the run will be used, such as 0.05: PPV, NPV and what "
            "becomes of 1,000 patients are given for that share, too."
        ),
    ] = None,
    protocol: Annotated[
        Literal["shift", "stress"] | None,
        typer.Option(
            help="Protocol shift: the run's head is trained anew on one side of a seam of its "
            "cache and used on the other (bacterial and viral pneumonia, two series of normal "
            "images), to see what another population would cost. Protocol stress: heads score "
            "images of patients that they weren't trained on, disturbed in three strengths (crop, "
            "exposure, blur, noise and more), and images in which sharpness points at the other "
            "class. DATA may be the folder that the run's images were moved to.",
            show_default=False,
        ),
    ] = None,
    seam: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the manifest to divide along with --protocol shift, such as the "
            "hospital. It may be given several times.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Number of images that --protocol stress disturbs, one a patient, or all. Each "
            "takes 27 passes through the network. Default: 200.",
            show_default=False,
        ),
    ] = None,
    disturbance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Disturbance of --protocol stress: crop, rotation, gamma, contrast, brightness, "
            "blur, noise, downscale, shift (all together) or conflict (images in which sharpness "
            "misleads). It may be given several times. Default: all.",
            show_default=False,
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for the figure of --protocol stress: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Estimate accuracy, recall and specificity from the scores alone. Labels aren't "
            "looked at. Default: only for a folder without class folders.",
        ),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the columns path and label for 20 or more of the images, such as "
            "`featx calibrate --suggest` writes. Labels and scores are combined to an estimate.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="File for the metrics. With - only they go to standard output.",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="File for path, label, group and score of each image. With - only they go to "
            "standard output.",
        ),
    ] = None,
    force: ForceOption = False,
    cache: EmbeddingsOption = None,
    weights: WeightsOption = None,
    runtime: RuntimeOption = None,
    *,
    reading: ReadingOptions,
    keep_known_patients: KeepKnownPatientsOption = False,
) -> None:
    """Measure a run at its own threshold on images that it wasn't fitted on.

    All metrics have 95 % intervals by patients, not by images. The file of --json has Wilson's,
    Clopper and Pearson's and DeLong's intervals as well, which take images for independent. Images
    that the run was fitted on, other images of the same patients and near duplicates are left out
    and counted. The images are compared with those that the run was fitted on: the command says
    whether their population differs.

    If DATA has no labels, the metrics are estimated from calibrated scores, and the command says
    so. It gives no number if the images are too unlike the training images.
    """
    from featx._run import load_run
    from featx.errors import InputError, NoLabelsError
    from featx.evaluation._prevalence import require_share
    from featx.scoring import Evaluation

    if prevalence is not None:
        require_share(prevalence)
    if seam and protocol != "shift":
        raise InputError("--seam is for --protocol shift", "Add that, or give --by COLUMN.")
    stress = StressOptions(images, disturbance, figure)
    if protocol != "stress":
        stress.refuse_without_protocol()
    data, others = _split_runs(sources or [], compare or [])
    if to_standard_output(json) and to_standard_output(csv):
        raise InputError("--json - and --csv - would be mixed", "Give one of them a file.")
    if cache is not None and len(data) != 1:
        raise InputError("--cache keeps the embeddings of one DATA", "Give one, or leave it out.")
    first, *compared = [load_run(path, runtime=runtime) for path in (run, *others)]
    inputs = [run, *others, *(data or [Path(first.record.cache)]), *([labels] if labels else [])]
    for file, option in ((json, "--json"), (csv, "--csv")):
        require_output(file, option, force=force, inputs=inputs)
    stress.require_figure(inputs, force=force)
    import_quietly()
    if protocol is not None:
        _refuse_with_protocol(
            protocol,
            split=split,
            compare=others,
            by=by,
            cache=cache,
            unlabelled=unlabelled,
            labels=labels,
        )
    if protocol == "stress":
        unused: dict[str, object] = {
            name.replace("_", "-"): True for name in reading.names_of_changed()
        }
        unused |= {"prevalence": prevalence, "keep-known-patients": keep_known_patients}
        unused |= {"unlabelled": unlabelled, "labels": labels}
        _refuse_with_protocol(protocol, **unused)
        evaluate_stress(first, data, stress, weights, (json, csv), force=force)
        return
    if protocol == "shift":
        evaluate_protocol(first, data, seam or [], json, csv, force=force)
        return
    if (unlabelled or labels is not None) and len(data) != 1:
        raise InputError("--unlabelled and --labels are for one DATA", "Give one.")

    def measure(source: Path | None) -> Evaluation | PerformanceEstimate:
        try:
            if not unlabelled and labels is None:
                return first.evaluate(
                    source,
                    split=split,
                    by=by or [],
                    prevalence=prevalence,
                    compare=compared,
                    keep_known_patients=keep_known_patients,
                    cache=cache,
                    weights=weights,
                    reading=reading,
                    progress=TerminalProgress(),
                )
            images = data[0]
        except NoLabelsError as error:
            images = may_be_without_labels(first, source, error)
        refuse_without_labels(
            split=split, by=by, prevalence=prevalence, compare=others, cache=cache, csv=csv
        )
        return first.estimate(
            images,
            labels=labels,
            keep_known_patients=keep_known_patients,
            weights=weights,
            reading=reading,
            progress=TerminalProgress(),
        )

    evaluations = [measure(source) for source in data or (None,)]
    if json is not None:
        write_text(json, evaluations_json(evaluations), force=force)
    if csv is not None:
        whole = [each for each in evaluations if isinstance(each, Evaluation)]
        write_text(csv, _scores_csv(whole), force=force)
    warn_of_positive(first.record.classes)
    if to_standard_output(json) or to_standard_output(csv):
        for evaluation in evaluations:
            tell_left_out(evaluation.left_out)
        return
    tell_positive(first.record.classes)
    for evaluation in evaluations:
        if isinstance(evaluation, Evaluation):
            show_evaluation(evaluation, titled=len(data) > 1)
        else:
            show_estimate(evaluation, titled=len(data) > 1)


def _refuse_with_protocol(protocol: str, **given: object) -> None:
    """Refuse options that have no use with the protocol."""
    from featx.errors import InputError

    for name, value in given.items():
        if value:
            raise InputError(f"--{name} has no use with --protocol {protocol}", "Leave it out.")


def _split_runs(sources: list[Path], compare: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell data from runs: these may follow --compare."""
    from featx.errors import InputError
    from featx.runs._record import RECORD_NAME

    runs = [path for path in sources if (path / RECORD_NAME).is_file()]
    if runs and not compare:
        raise InputError(
            f"{runs[0]} is a run, not data", f"To compare with it, give --compare {runs[0]}."
        )
    return [path for path in sources if path not in runs], [*compare, *runs]


def _scores_csv(evaluations: list[Evaluation]) -> str:
    """Return scores as CSV text, with the data's name if there are several."""
    import pandas as pd

    if len(evaluations) == 1:
        return to_csv(evaluations[0].scores)
    named = [evaluation.scores.assign(data=evaluation.data) for evaluation in evaluations]
    return to_csv(pd.concat(named), paths=("path", "data"))
