"""``featx evaluate`` without labels or with a few, and the images that ``calibrate`` suggests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx_cache._spreadsheets import to_csv
from featx_cli.console import output, say
from featx_cli.evaluation_tables import tell_left_out
from featx_cli.files import require_output, to_standard_output, write_text
from featx_cli.tables import metric_name, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from featx._run import Run
    from featx.errors import NoLabelsError
    from featx.populations import PerformanceEstimate

SHARE = "Share of the sick"


def refuse_without_labels(**given: object) -> None:
    """Refuse options that need a label of every image."""
    from featx.errors import InputError

    for name, value in given.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} needs labels of all images, and there are none or a few",
                "Leave it out, or give images in class folders.",
            )


def may_be_without_labels(run: Run, data: Path | None, error: NoLabelsError) -> Path:
    """Return the folder of images without labels. Raise the error again if labels were meant.

    A folder that is named as a class is one, and its label was left behind in the folder above.
    """
    classes = {name.casefold() for name in run.record.classes}
    if data is None or not data.is_dir() or data.resolve().name.casefold() in classes:
        raise error
    return data


def show_estimate(estimate: PerformanceEstimate, *, titled: bool) -> None:
    """Print an estimate. `titled` says that its title has the data's name."""
    console = output()
    of = f" of {estimate.data}" if titled else ""
    if estimate.labels:
        console.print(f"{estimate.labels} labels and all scores{of}: estimated.", soft_wrap=True)
    else:
        console.print(f"No labels{of}: estimated.", soft_wrap=True)
    console.print(estimate_table(estimate))
    for note in estimate.notes:
        console.print(note)
    tell_left_out(estimate.left_out)


def estimate_table(estimate: PerformanceEstimate) -> Table:
    """List the estimated metrics with their 95 % intervals."""
    table = plain_table("Estimated", ("", "value", "95 % interval"))
    for row in estimate.to_frame().itertuples():
        name = SHARE if row.metric == "share" else metric_name(str(row.metric))
        if math.isnan(float(row.value)):  # type: ignore[arg-type]
            table.add_row(name, "unknown", "")
        else:
            table.add_row(name, f"{row.value:.3f}", f"{row.low:.3f} – {row.high:.3f}")
    return table


def write_suggestion(
    run: Run, data: Path, number: int, csv: Path | None, *, force: bool, **options: Any
) -> None:
    """Write the images to label first as CSV, and say what to do with them.

    Options are those of `Run.suggest_labels`.
    """
    from featx.errors import InputError
    from featx_cli.console import TerminalProgress

    if csv is None:
        raise InputError("the suggested images need a file", "Give --csv labels.csv.")
    require_output(csv, "--csv", force=force, inputs=[run.path, data])
    found = run.suggest_labels(data, number, progress=TerminalProgress(), **options)
    write_text(csv, to_csv(found), force=force)
    if to_standard_output(csv):
        return
    negative, positive = run.record.classes
    console = output()
    console.print(
        f"{len(found)} images to label, one of a patient: half of them around the threshold, the "
        f"others at all scores. Write {negative} or {positive} into the column label of each, and "
        "keep the column sampling_weight.",
    )
    console.print(f"Images: {csv}", soft_wrap=True)
    say(
        f"Then: featx evaluate {run.path} {data} --labels {csv}, or featx calibrate {run.path} "
        f"{csv} --root {data} --run NEW_RUN"
    )
