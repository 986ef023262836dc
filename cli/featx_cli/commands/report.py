"""``featx report``: one page about some runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx_cli import completion
from featx_cli.console import TerminalProgress, output, say
from featx_cli.files import require_output
from featx_cli.run_options import KeepKnownPatientsOption
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx report runs/logreg runs/keras --out report.html"


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Directories that `featx fit` wrote."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Page. Beside it: the same as Markdown (.md) with its figures (_files/), and "
            "model_card.md (with FILE's name before it if that isn't report.html).",
        ),
    ] = Path("report.html"),
    caches: Annotated[
        list[Path] | None,
        typer.Option(
            "--cache",
            "--data",
            metavar="CACHE",
            help="Cache to measure the runs on. It can be given many times. Default: the cache "
            "that each was fitted on.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split: train, val, test or all. Default: test, or all of a CACHE without it.",
            show_default=False,
            autocompletion=completion.one_of(*completion.SPLITS),
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the manifest to divide the images by, or size (the shorter side). It "
            "can be given many times. Default: cause, size, mode, sex and view, if they are known.",
            show_default=False,
        ),
    ] = None,
    out_of_fold: Annotated[
        bool,
        typer.Option(
            "--out-of-fold",
            help="Leave evaluation images alone: report the out-of-fold scores only.",
        ),
    ] = False,
    keep_known_patients: KeepKnownPatientsOption = False,
    stress: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Result of the stress test, which `featx evaluate RUN --protocol stress --json "
            "FILE` wrote. It can be given many times.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "featx report",
    names: Annotated[
        bool,
        typer.Option(
            "--names/--anonymous",
            help="Show the names of files and folders, which may be those of people. Images are "
            "shown either way.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a report that is there already.")
    ] = False,
) -> None:
    """Write a report on some runs: one HTML page that needs no network and no other file.

    The page shows what they were trained on and how, curves with 95 % bands, the operating point,
    calibration, the images with the largest errors, and limits of use. Out-of-fold numbers and
    numbers on other images are kept apart. The page lists what can't be shown, because files were
    moved.
    """
    from featx.reports import Written, report

    require_output(out, "--out", force=force, inputs=[*runs, *(caches or ()), *(stress or ())])
    Written.beside(out).require_free(force=force)
    import_quietly()
    page = report(
        runs,
        caches=caches or (),
        split=split,
        evaluate=not out_of_fold,
        by=by or (),
        keep_known_patients=keep_known_patients,
        stress=stress or (),
        title=title,
        anonymous=not names,
        progress=TerminalProgress(),
    )
    written = page.save(out, force=force)
    for item in page.missing:
        say(f"Couldn't be shown: {item.what}: {item.why}")
    console = output()
    console.print(f"Report:     {written.html}", soft_wrap=True)
    console.print(f"Markdown:   {written.markdown}", soft_wrap=True)
    console.print(f"Model card: {written.model_card}", soft_wrap=True)
