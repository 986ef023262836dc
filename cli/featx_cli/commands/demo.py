"""``featx demo``: the whole main job on drawn X-rays."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from featx_cli.console import TerminalProgress, output, say
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx demo --out demo-output"


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for everything.")
    ] = Path("demo-output"),
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Draw a few images only, to see that everything works.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the drawings, the copies and the heads.")] = 0,
) -> None:
    """Run the whole main job on drawn chest X-rays, offline.

    Draws phantoms, extracts embeddings with VGG19 and augmented copies, fits all three heads,
    evaluates them on the test split and writes a report. Uses ImageNet weights where Keras has
    them already, else seeded random ones, and says which.
    """
    from featx.demo import DemoSize, run_demo

    started = time.monotonic()
    import_quietly()
    size = DemoSize.tiny() if tiny else DemoSize()
    result = run_demo(out, size, seed=seed, progress=TerminalProgress())
    table = plain_table(
        f"Test split, {result.weights} weights",
        ("head", "accuracy", "recall", "specificity", "ROC AUC", "floor", "threshold"),
    )
    for run, evaluation in result.results:
        m = evaluation.metrics
        numbers = (m.accuracy, m.recall, m.specificity, m.roc_auc)
        table.add_row(
            run.record.head.name,
            *(f"{number:.3f}" for number in numbers),
            f"{run.record.accuracy_floor:g}",
            f"{run.record.threshold:.3g}",
        )
    console = output()
    console.print(table)
    if result.weights == "random":
        console.print("Random weights: the embeddings are untrained. The machinery is what counts.")
    console.print(f"Images: {result.data}", soft_wrap=True)
    console.print(f"Cache:  {result.cache}", soft_wrap=True)
    for run, _ in result.results:
        console.print(f"Run:    {run.path}", soft_wrap=True)
    console.print(f"Report: {result.report}", soft_wrap=True)
    say(f"Done in {time.monotonic() - started:.0f} s.")
