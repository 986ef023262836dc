"""``featx demo``: the whole main job on drawn X-rays."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx_cli import completion
from featx_cli.console import output, say
from featx_cli.stages import StageProgress
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from rich.table import Table

    from featx.demo import DemoResult

EPILOG = "\b\nExample:  featx demo --out demo-output"
MINI = "featx-mini"


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for everything.")
    ] = Path("demo-output"),
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Draw a few films only, to see that everything works.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the drawings, the copies and the heads.")] = 0,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Network of the embeddings. Default: vgg19 (or vgg16) if its ImageNet weights are "
            "on this machine or can be fetched in seconds, else featx-mini.",
            autocompletion=completion.backbones,
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Nothing is fetched: take what is on this machine.")
    ] = False,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser at the end.")
    ] = False,
) -> None:
    """Run the whole main job on drawn chest X-rays of two hospitals.

    Draws phantoms, embeds them with augmented copies, fits three heads under an accuracy floor, and
    measures them on the test split and on disturbed images. Then uses them at a hospital whose
    films look different: the floor is broken there, and calibrating on 60 labelled films repairs
    it. Writes a report that shows all of this.
    """
    started = time.monotonic()
    progress = StageProgress()
    with progress.stage("Starting TensorFlow"):
        import_quietly()
        from featx.demo import DemoSize, run_demo

    result = run_demo(
        out,
        DemoSize.tiny() if tiny else DemoSize(),
        seed=seed,
        backbone=backbone,
        offline=offline,
        progress=progress,
    )
    console = output()
    console.print(_table(result))
    for head in result.heads:
        if head.worst:
            console.print(f"Worst disturbance of {head.name}: {head.worst}", soft_wrap=True)
    if tiny:
        console.print("So few films show that everything works. Their numbers mean little.")
    console.print(f"\nFilms:  {result.data}", soft_wrap=True)
    console.print(f"Cache:  {result.cache}", soft_wrap=True)
    console.print(f"Runs:   {result.heads[0].run.path.parent}", soft_wrap=True)
    console.print(f"Report: {result.report}", soft_wrap=True)
    console.print(_next_commands(result.backbone), soft_wrap=True)
    say(f"Done in {time.monotonic() - started:.0f} s.")
    if open_report:
        webbrowser.open(result.report.resolve().as_uri())


def _table(result: DemoResult) -> Table:
    """List what each head found in each place, in counts."""
    columns = ("head", "films", "sick found", "healthy called back", "accuracy", "floor", "")
    table = plain_table(f"Three heads on embeddings by {result.backbone}", columns, words=(0, 1, 6))
    for head in result.heads:
        floor = head.floor
        for number, counts in enumerate(head.counts):
            tn, fp, fn, tp = (counts.confusion[name] for name in ("tn", "fp", "fn", "tp"))
            table.add_row(
                "" if number else head.name,
                counts.where,
                f"{tp:,} of {fn + tp:,}",
                f"{fp:,} of {fp + tn:,}",
                f"{counts.accuracy:.3f}",
                f"{floor:g}",
                "kept" if counts.accuracy >= floor else "broken",
            )
        table.add_section()
    return table


def _next_commands(backbone: str) -> str:
    """Return the commands that do the same with the user's own images."""
    chosen = f" --backbone {backbone}" if backbone == MINI else ""
    lines = [
        "\nNow with your own images, in a folder for each class (my-images/NORMAL/a.png):",
        f"  featx extract my-images --cache my-cache --augment shift{chosen}",
        "  featx fit my-cache --run my-run --head logreg --accuracy-floor 0.9",
        "  featx report my-run --out my-report.html",
    ]
    if chosen:
        lines.append(
            f"{MINI} is for trying things out. To publish, leave{chosen} out: VGG19 is larger."
        )
    return "\n".join(lines)
