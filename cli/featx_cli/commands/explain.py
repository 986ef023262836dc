"""``featx explain``: heat maps over images, with score, verdict and similar training images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from featx_cache._text import plural
from featx_cli.commands.predict import SOME_FAILED
from featx_cli.console import TerminalProgress, output, say
from featx_cli.data_options import tell_unused_files
from featx_cli.run_options import RunArgument, RuntimeOption, WeightsOption
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx explain runs/logreg new_patients/ --out explained"


def explain(
    run: RunArgument,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Images, and folders of images."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the figures and the tables.")
    ],
    weights: WeightsOption = None,
    runtime: RuntimeOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace explanations that are in DIR already.")
    ] = False,
) -> None:
    """Draw a heat map over each image: which places the verdict came from.

    Each image gets a figure: the X-ray, the places that spoke for and against the positive class,
    score and threshold, and the training images that are most like it, two of the class that it was
    called and two of the other. explanations.csv and explanations.json list them.

    Linear heads (logreg, lda, a linear svm) are divided among the places exactly. Keras heads are
    explained by gradients, the others by hiding one place after another. A map shows the places
    that a score came from. It doesn't prove why: docs/explain.md.

    A file that can't be read doesn't stop the others, and the exit code is 3.
    """
    from featx._run import load_run
    from featx.explain import explain_images
    from featx.scoring import find_images

    opened = load_run(run, runtime=runtime)
    left_out: Counter[str] = Counter()
    paths = list(find_images(images, left_out))
    import_quietly()
    explanations = explain_images(
        opened,
        paths,
        out,
        backbone=opened.backbone(weights),
        force=force,
        progress=TerminalProgress(),
    )
    tell_unused_files(left_out.elements())
    failed = [explanation for explanation in explanations if explanation.error]
    drawn = len(explanations) - len(failed)
    figures = plural(drawn, "figure")
    output().print(f"Written to {out}: {figures}, explanations.csv and .json", soft_wrap=True)
    if opened.record.extraction.backbone.weights == "random":
        say("The run's embeddings are untrained (random weights): these maps mean nothing.")
    for explanation in failed[:10]:
        say(f"{explanation.path}: {explanation.error}")
    if failed:
        say(f"{len(failed)} of {len(explanations)} files could not be read.")
        raise typer.Exit(SOME_FAILED)
