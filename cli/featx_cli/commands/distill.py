"""``featx distill``: train a small backbone to make the embeddings of a large one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cli import completion
from featx_cli.augmentation_options import with_augmentation_options
from featx_cli.console import TerminalProgress, output, warn
from featx_cli.files import ForceOption
from featx_cli.tables import plain_table

if TYPE_CHECKING:
    from featx.distilling import Distillation

EPILOG = "\b\nExample:  featx distill our_images --backbone vgg16 --out mini.keras"


@with_augmentation_options
def distill(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of JPEG, PNG, TIFF, BMP, WebP and DICOM files, however they lie in it. "
            "Labels aren't needed. Or a .csv, .parquet or .npz file that `featx extract` reads.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="File to write: NAME.keras, or NAME.weights.h5 for the weights alone as float16. "
            "NAME.json beside it says what it was made from, and how well it agrees.",
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="Teacher: a network of keras.applications (`featx backbones` lists them), or a "
            "saved model, as for `featx extract`.",
            autocompletion=completion.backbones,
        ),
    ] = "vgg16",
    student: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Network to train, a .keras file. It takes an image of one or three channels with "
            "values 0 to 255, and makes a grid of the teacher's shape. Default: that of "
            "featx-mini, a million weights.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="FOLDER",
            help="Folder of the teacher's embeddings. What is there already isn't computed again. "
            "Default: NAME-embeddings beside FILE.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Times that the student sees every image and every copy.")
    ] = 8,
    learning_rate: Annotated[
        float,
        typer.Option(
            help="Peak of the learning rate. If the training diverges, give a smaller one."
        ),
    ] = 2e-3,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER[,LAYER]",
            help="Layer of the teacher whose grid the student learns. Of several, it is the "
            "deepest. Default: the last before the top.",
            show_default=False,
        ),
    ] = None,
    pool_extra: Annotated[
        Literal["none", "pyramid"],
        typer.Option(help="Pooling of the other layers, if a cache was made with it."),
    ] = "none",
    weights: Annotated[
        str,
        typer.Option(
            help="Weights of the teacher: imagenet (Keras's download, or a file in "
            "$FEATX_WEIGHTS_DIR), random, or the path of a weights file."
        ),
    ] = "imagenet",
    input_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the square input in pixels, for both. Default: 300, or what a saved "
            "model takes.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision of the arithmetic. auto takes the fastest of the hardware."),
    ] = "auto",
    runtime: Annotated[
        Literal["auto", "tensorflow", "ncnn"],
        typer.Option(help="Library that computes the teacher, as for `featx extract`."),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="Device: auto (a GPU if there is one), cpu, or gpu:N.")
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Images in one forward pass of the teacher. Default: found by a short probe.",
            show_default=False,
        ),
    ] = None,
    copies: Annotated[
        int | None,
        typer.Option(
            help="Augmented copies of each image. 0 is none. Default: that of the preset, 2.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Seed of the copies, the held-out images, the order of training, and all weights "
            "at the start."
        ),
    ] = 0,
    force: ForceOption = False,
    *,
    augment: str | None,
    changes: dict[str, Any],
) -> None:
    """Train a small backbone to make the embeddings of a large one, without labels.

    The teacher embeds all images and disturbed copies of them once. The student then learns to
    make the same embeddings. A tenth of the images, 500 at most, is held out, and the table says
    how well the student agrees with the teacher on them. The file is a backbone like any other:
    `featx extract DATA --backbone mini.keras`.

    After an interruption, run the same command again: it goes on where it was. Meanwhile a folder
    FILE.unfinished holds the images and embeddings, 170 kB for each image and copy at 300 pixels.
    """
    from featx._specs import spec_errors
    from featx.distilling import distill
    from featx.distilling._distill import cache_beside
    from featx.extraction import ExtractionOptions
    from featx.extraction._cache_folder import augmentation_of
    from featx.images import preset_augmentation

    chosen = changes | {"copies": copies, "seed": seed}
    embeddings = cache_beside(out) if cache is None else cache
    with spec_errors():
        if augment is None:
            augmentation = augmentation_of(embeddings, **chosen)
        else:
            augmentation = preset_augmentation(augment, **chosen)
    found = distill(
        data,
        out,
        backbone,
        cache=cache,
        student=student,
        epochs=epochs,
        learning_rate=learning_rate,
        weights=weights,
        input_size=input_size,
        layer=layer,
        pool_extra=pool_extra,
        precision=precision,
        device=device,
        runtime=runtime,
        augmentation=augmentation,
        seed=seed,
        options=ExtractionOptions(batch_size=batch_size),
        force=force,
        progress=TerminalProgress(),
    )
    _print(found)


def _print(found: Distillation) -> None:
    table = plain_table(f"{found.path}", ("", "untouched", "copies"))
    names = {
        "rows": "Held-out rows",
        "correlation": "Correlation of all values",
        "channel_mean": "Correlation of a channel's average: mean of all channels",
        "channel_median": "Correlation of a channel's average: median",
        "explained": "Variance explained",
    }
    for name, said in names.items():
        numbers = [
            getattr(found.agreement.get(kind), name, None) for kind in ("untouched", "copies")
        ]
        table.add_row(
            said, *("" if n is None else f"{n:.4f}" if name != "rows" else str(n) for n in numbers)
        )
    output().print(table)
    output().print(
        f"Made from {found.images:,} images, {found.rows:,} rows with copies, "
        f"{found.facts['bytes'] / 1e6:.1f} MB. {found.facts_path} has the details.",
        soft_wrap=True,
    )
    if any(one.explained < 0 for one in found.agreement.values()):
        warn(
            "A variance explained below 0 is worse than constant embeddings. The network isn't "
            "ready for use: take more images or --epochs."
        )
    elif found.path.suffix == ".keras":
        output().print(
            f"Next: featx extract DATA --backbone {found.path} --cache CACHE", soft_wrap=True
        )
