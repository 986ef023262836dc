"""``featx extract``: run the frozen backbone once and cache its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from featx_cli.console import TerminalProgress, output, say, warn
from featx_cli.loading import (
    AllowOutsideOption,
    ClassesOption,
    DataArgument,
    GroupColumnOption,
    GroupRegexOption,
    KeepIdentifiersOption,
    KeepOption,
    PositiveOption,
    RootOption,
    read_manifest,
    tell_positive,
    warn_of_positive,
)
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.backbones import Backbone
    from featx.data import Manifest
    from featx.extraction import ExtractionReport

EPILOG = "\b\nExample:  featx extract chest_xray --cache embeddings --backbone vgg16 --copies 0"


def extract(
    data: DataArgument,
    cache: Annotated[
        Path, typer.Option("--cache", metavar="CACHE", help="Folder to fill with embeddings.")
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="A network of keras.applications (`featx backbones` lists them), or the path of a "
            "saved model, a .keras file."
        ),
    ] = "vgg19",
    layer: Annotated[
        str | None,
        typer.Option(
            help="The layer whose output is the embedding. Default: the last before the top."
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet (Keras's download, or a file in $FEATX_WEIGHTS_DIR), random (untrained, "
            "for trying things out), or the path of a weights file."
        ),
    ] = "imagenet",
    input_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the square input in pixels. Default: 300, or what a saved model takes."
        ),
    ] = None,
    preprocess: Annotated[
        Literal["imagenet", "rescale", "none"] | None,
        typer.Option(
            help="The network's own preprocessing, the study's division by 255, or none. Default: "
            "imagenet, and none for a saved model."
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision of the forward pass; auto takes the fastest of the hardware."),
    ] = "auto",
    jpeg_reduction: Annotated[
        int,
        typer.Option(
            help="Decode JPEGs at 1/2, 1/4 or 1/8 of their size where that is still so many times "
            "the input size; 0 for never."
        ),
    ] = 2,
    device: Annotated[
        str, typer.Option(help="auto (a GPU if there is one), cpu, or gpu:N.")
    ] = "auto",
    storage_dtype: Annotated[
        Literal["float16", "float32"], typer.Option(help="Type of the embeddings on disk.")
    ] = "float16",
    augment: Annotated[
        str,
        typer.Option(
            help="Augmentation: study (the defaults below), chest (gentle, no mirroring) or none. "
            "The options below change single values of it."
        ),
    ] = "study",
    copies: Annotated[
        int | None,
        typer.Option(help="Augmented copies of each training image; 0 for none. Default: 4."),
    ] = None,
    copies_of: Annotated[
        Literal["train", "all"],
        typer.Option(help="Which images get copies: `featx fit --tta` needs them of all."),
    ] = "train",
    seed: Annotated[int, typer.Option(help="Seed of the augmentation and of random weights.")] = 0,
    rotation: Annotated[
        float | None, typer.Option(help="Largest rotation, degrees. Default: 30; chest: 10.")
    ] = None,
    zoom: Annotated[
        float | None, typer.Option(help="Largest zoom, a fraction. Default: 0.2; chest: 0.1.")
    ] = None,
    width_shift: Annotated[
        float | None,
        typer.Option(help="Largest sideways shift, of the width. Default: 0.1; chest: 0.05."),
    ] = None,
    height_shift: Annotated[
        float | None,
        typer.Option(help="Largest vertical shift, of the height. Default: 0.1; chest: 0.05."),
    ] = None,
    shear: Annotated[
        float | None, typer.Option(help="Largest shear angle, degrees. Default: 0.")
    ] = None,
    brightness: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Grey values are multiplied by a factor in this range. Default: 1,1; chest: "
            "0.9,1.1.",
        ),
    ] = None,
    horizontal_flip: Annotated[
        bool | None, typer.Option(help="Mirror half of the copies. Default: yes; chest: no.")
    ] = None,
    vertical_flip: Annotated[
        bool | None, typer.Option(help="Turn half of the copies upside down. Default: no.")
    ] = None,
    fill_mode: Annotated[
        Literal["nearest", "constant", "reflect", "wrap"] | None,
        typer.Option(help="What is outside a moved image. Default: nearest, its nearest pixel."),
    ] = None,
    contrast: Annotated[
        Literal["none", "equalize", "clahe"],
        typer.Option(help="Equalise the histogram of every image, whole or tile by tile (CLAHE)."),
    ] = "none",
    samplewise_center: Annotated[
        bool,
        typer.Option("--samplewise-center", help="Take each image's mean away, preprocessed."),
    ] = False,
    samplewise_std: Annotated[
        bool, typer.Option("--samplewise-std", help="Divide by each image's standard deviation.")
    ] = False,
    featurewise_center: Annotated[
        bool,
        typer.Option("--featurewise-center", help="Take the training images' mean away."),
    ] = False,
    featurewise_std: Annotated[
        bool,
        typer.Option("--featurewise-std", help="Divide by their standard deviation."),
    ] = False,
    zca_whitening: Annotated[
        bool,
        typer.Option("--zca-whitening", help="Whiten with their correlations; tiny inputs only."),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images in one forward pass. Default: found by a short probe."),
    ] = None,
    on_error: Annotated[
        Literal["skip", "fail"],
        typer.Option(help="Leave unreadable images out and list them, or stop at the first."),
    ] = "skip",
    compression: Annotated[
        Literal["none", "lzf", "gzip"],
        typer.Option(
            help="Compression of the shards: gzip needs a fifth of the disk, none reads fastest."
        ),
    ] = "gzip",
    shard_rows: Annotated[
        int, typer.Option(help="Embeddings in one shard: what a crash can lose at most.")
    ] = 240,
    engine: Annotated[
        Literal["local", "dask"],
        typer.Option(help="This process, or the workers of a Dask cluster."),
    ] = "local",
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="The cluster's scheduler, for --engine dask. Its workers need featx, and DATA and "
            "CACHE under the same paths. Default: a cluster on this machine, for this one command.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes of that cluster on this machine. Default: one a GPU, or two."
        ),
    ] = None,
    root: RootOption = None,
    allow_outside: AllowOutsideOption = False,
    classes: ClassesOption = None,
    positive: PositiveOption = None,
    group_regex: GroupRegexOption = None,
    group_column: GroupColumnOption = None,
    keep: KeepOption = None,
    keep_identifiers: KeepIdentifiersOption = False,
) -> None:
    """Run a frozen backbone once over every image and cache the embeddings.

    Only training images get augmented copies, unless you say --copies-of all. Finished shards are
    never computed again: after an interruption, after damage that `featx cache verify` found, or
    when images were added, changed or removed, run the same command again. Several commands may
    fill one cache at once.
    """
    from pydantic import ValidationError

    from featx._specs import spec_error
    from featx.backbones import StandardizationSpec, load_backbone
    from featx.backbones._device import gpu_count
    from featx.errors import InputError
    from featx.extraction import DaskEngine, ExtractionOptions, LocalEngine
    from featx.extraction import extract as run_extraction
    from featx.extraction._standardization import standardize
    from featx.images import DecodingSpec, preset_augmentation

    counts = (("batch-size", batch_size), ("shard-rows", shard_rows), ("workers", workers))
    for name, number in counts:
        if number is not None and number < 1:
            raise InputError(f"--{name} must be at least 1, not {number}")
    if engine == "local" and (scheduler is not None or workers is not None):
        raise InputError("--scheduler and --workers need --engine dask", "Add --engine dask.")
    if engine == "dask" and device.startswith("gpu"):
        raise InputError(
            f"--device {device} is for --engine local",
            "Dask's workers take a GPU each: leave it out.",
        )
    if scheduler is not None and workers is not None:
        raise InputError(
            "--workers can't be had with --scheduler",
            "Start the workers of your own cluster with `dask worker ADDRESS`.",
        )
    try:
        decoding = DecodingSpec(jpeg_reduction=jpeg_reduction, contrast=contrast)
        augmentation = preset_augmentation(
            augment,
            copies=copies,
            seed=seed,
            rotation=rotation,
            zoom=zoom,
            width_shift=width_shift,
            height_shift=height_shift,
            shear=shear,
            brightness=brightness.split(",") if brightness is not None else None,
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
            fill_mode=fill_mode,
        )
        standardization = StandardizationSpec(
            samplewise_center=samplewise_center,
            samplewise_std=samplewise_std,
            featurewise_center=featurewise_center,
            featurewise_std=featurewise_std,
            zca_whitening=zca_whitening,
        )
    except ValidationError as error:
        raise spec_error(error) from error
    progress = TerminalProgress()
    manifest = read_manifest(
        data,
        root,
        allow_outside,
        classes,
        positive,
        group_regex,
        keep_identifiers,
        group_column=group_column,
        keep=keep or (),
    )
    chosen = classes is not None or positive is not None
    if not chosen:
        manifest, chosen = _in_order_of(cache, manifest)
    _introduce(manifest, chosen)
    import_quietly()
    network = load_backbone(
        backbone,
        weights=weights,
        input_size=input_size,
        preprocess=preprocess,
        precision=precision,
        seed=seed,
        layer=layer,
        device=device,
    )
    network = standardize(
        network, standardization, manifest, cache, decoding=decoding, progress=progress
    )
    _introduce_backbone(network)
    if engine == "local" and device == "auto" and gpu_count() > 1:
        say(f"This uses one of {gpu_count()} GPUs; --engine dask uses them all.")
    report = run_extraction(
        manifest,
        cache,
        network,
        augmentation=augmentation,
        decoding=decoding,
        storage_dtype=storage_dtype,
        options=ExtractionOptions(
            copies_of=copies_of,
            engine=DaskEngine(scheduler, workers) if engine == "dask" else LocalEngine(),
            batch_size=batch_size,
            on_error=on_error,
            rows_per_shard=shard_rows,
            compression=None if compression == "none" else compression,
        ),
        progress=progress,
    )
    tell_positive(manifest.classes)
    _print_report(report, network)


def _in_order_of(cache: Path, manifest: Manifest) -> tuple[Manifest, bool]:
    """Keep the positive class of a cache that is there already; say whether it has one."""
    from dataclasses import replace

    from featx.errors import NotACacheError
    from featx_cache import open_cache

    try:
        known = open_cache(cache).classes
    except NotACacheError:  # a new one, or one that is repaired now
        return manifest, False
    if known == manifest.classes or set(known) != set(manifest.classes):
        return manifest, False
    return replace(manifest, classes=known), True


def _introduce(manifest: Manifest, chosen: bool) -> None:
    from featx.data import unknown_patients

    warn_of_positive(manifest.classes, chosen=chosen)
    if unknown := unknown_patients(manifest.table):
        warn(unknown)
    counts = manifest.counts()
    for split, row in counts.iterrows():
        say(f"{split}: " + ", ".join(f"{row[label]} {label}" for label in manifest.classes))


def _introduce_backbone(backbone: Backbone) -> None:
    spec = backbone.spec
    say(
        f"Backbone {spec.name} at {spec.input_size}x{spec.input_size}, embedding "
        f"{'x'.join(map(str, backbone.embedding_shape))} from {spec.layer}, "
        f"{spec.precision} on {backbone.device} ({backbone.reason})"
    )
    if spec.weights == "random":
        say("These weights are random: the embeddings are untrained.")
    say(f"Weights SHA-256 {spec.weights_sha256}", detail=True)


def _print_report(report: ExtractionReport, backbone: Backbone) -> None:
    untrained = " (untrained embeddings)" if backbone.spec.weights == "random" else ""
    table = plain_table(f"Cache {report.cache}{untrained}", ("", "count"))
    table.add_row("images", str(report.images))
    table.add_row("embeddings", str(report.rows))
    table.add_row("  computed now", str(report.new_rows))
    if report.rows_by_others:
        table.add_row("  computed by others meanwhile", str(report.rows_by_others))
    for change in ("added", "changed", "removed"):
        if number := getattr(report, change):
            table.add_row(f"images {change}", str(number))
    table.add_row("damaged shards repaired", str(report.repaired))
    table.add_row("unreadable images skipped", str(len(report.skipped)))
    if report.new_rows:
        table.add_row("seconds", f"{report.seconds:.1f}")
        table.add_row("images/s", f"{report.new_rows / report.seconds:.2f}")
    output().print(table)
    for path, reason in report.skipped.items():
        say(f"Skipped {path}: {reason}")
