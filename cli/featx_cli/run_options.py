"""Options and arguments that several commands share, about runs and the images they are used on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Directory that `featx fit` wrote.")
]
ReplaceRunOption = Annotated[
    bool, typer.Option("--force", help="Replace a run that is there already.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="Place of the backbone's weights, if they were moved since the fit."),
]
RuntimeOption = Annotated[
    Literal["tensorflow", "ncnn"] | None,
    typer.Option(
        help="Library that computes the backbone. Default: the one that made the run's embeddings. "
        "In float32 the embeddings of the two differ by less than 0.0005 of the largest value.",
        show_default=False,
    ),
]
EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Folder that keeps the embeddings of images. Default: a temporary folder.",
    ),
]
KeepKnownPatientsOption = Annotated[
    bool,
    typer.Option(
        "--keep-known-patients",
        help="Measure images of patients that the run was fitted on, too, if other people merely "
        "have the same names. Default: they are left out and counted.",
    ),
]
