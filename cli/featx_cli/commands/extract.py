"""``featx extract``: run the frozen backbone once and cache its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from featx_cli import completion
from featx_cli.augmentation_options import with_augmentation_options
from featx_cli.console import TerminalProgress, output, say, warn
from featx_cli.data_options import (
    DataArgument,
    load_data,
    tell_positive,
    warn_of_positive,
    with_reading_options,
)
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.backbones import Backbone
    from featx.data import Manifest, ReadingOptions
    from featx.extraction import ExtractionReport
    from featx.extraction._engines import Engine

EPILOG = "\b\nExample:  featx extract chest_xray --cache embeddings --backbone vgg16"


@with_reading_options()
@with_augmentation_options
def extract(
    data: DataArgument,
    cache: Annotated[
        Path, typer.Option("--cache", metavar="CACHE", help="Folder to fill with embeddings.")
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="Network by its name (`featx backbones` lists them), or the path of a saved "
            "model: a .keras file, an .onnx file, or a folder with model.onnx and "
            "preprocessor_config.json. featx-mini comes with featx and is fast: to try things. "
            "vgg19: to publish.",
            autocompletion=completion.backbones,
        ),
    ] = "vgg19",
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER[,LAYER]",
            help="Layer whose output is the embedding, or several with commas between them: "
            "block4_pool,block5_pool, which lose less at other hospitals than the last alone. "
            "Default: the last before the top. Of an ONNX network: an output, or any tensor in it.",
        ),
    ] = None,
    tokens: Annotated[
        Literal["patches", "cls", "both"] | None,
        typer.Option(
            help="Part of an ONNX transformer's tokens: the grid of the patches, the vector of the "
            "class (cls), or both. Default: patches."
        ),
    ] = None,
    pool_extra: Annotated[
        Literal["none", "pyramid"],
        typer.Option(
            help="Pooling of all layers but the deepest: none keeps their grids, pyramid ten "
            "vectors of each (the average, and those of 3x3 regions)."
        ),
    ] = "none",
    weights: Annotated[
        str,
        typer.Option(
            help="Weights: imagenet (Keras's download, or a file in $FEATX_WEIGHTS_DIR; those of "
            "featx-mini come with featx), random (untrained), or the path of a weights file."
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
            help="Preprocessing: the network's own (imagenet), the study's division by 255 "
            "(rescale), or none. Default: imagenet, and none for a saved model. An .onnx file "
            "without a configuration needs one: imagenet is torchvision's there."
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision of the forward pass. auto takes the fastest of the hardware."),
    ] = "auto",
    runtime: Annotated[
        Literal["auto", "tensorflow", "ncnn"],
        typer.Option(
            help="Library that computes the backbone. auto takes ncnn on a CPU without bfloat16 "
            "arithmetic, TensorFlow on others, on a GPU, and for networks that ncnn doesn't know. "
            "A cache that was begun goes on with its own."
        ),
    ] = "auto",
    jpeg_reduction: Annotated[
        int,
        typer.Option(
            help="Decode JPEGs at 1/2, 1/4 or 1/8 of their size if that is still so many times the "
            "input size. 0 is never."
        ),
    ] = 2,
    device: Annotated[
        str, typer.Option(help="Device: auto (a GPU if there is one), cpu, or gpu:N.")
    ] = "auto",
    storage_dtype: Annotated[
        Literal["float16", "float32"], typer.Option(help="Type of the embeddings on disk.")
    ] = "float16",
    copies: Annotated[
        int | None,
        typer.Option(
            help="Augmented copies of each training image. 0 is none. Default: that of the preset."
        ),
    ] = None,
    copies_of: Annotated[
        Literal["train", "all"],
        typer.Option(help="Images that get copies. `featx fit --tta` needs copies of all."),
    ] = "train",
    seed: Annotated[int, typer.Option(help="Seed of the augmentation and of random weights.")] = 0,
    contrast: Annotated[
        Literal["none", "equalize", "clahe"],
        typer.Option(help="Equalize the histogram of every image, whole or tile by tile (CLAHE)."),
    ] = "none",
    samplewise_center: Annotated[
        bool,
        typer.Option(
            "--samplewise-center", help="Subtract each image's mean, after preprocessing."
        ),
    ] = False,
    samplewise_std: Annotated[
        bool, typer.Option("--samplewise-std", help="Divide by each image's standard deviation.")
    ] = False,
    featurewise_center: Annotated[
        bool,
        typer.Option("--featurewise-center", help="Subtract the mean of the training images."),
    ] = False,
    featurewise_std: Annotated[
        bool,
        typer.Option(
            "--featurewise-std", help="Divide by the standard deviation of the training images."
        ),
    ] = False,
    zca_whitening: Annotated[
        bool,
        typer.Option(
            "--zca-whitening",
            help="Whiten with the training images' correlations, for tiny inputs only.",
        ),
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
    rows_per_shard: Annotated[
        int,
        typer.Option(
            "--shard-rows", help="Most embeddings in one shard. A crash loses one shard at most."
        ),
    ] = 240,
    engine: Annotated[
        Literal["local", "dask"],
        typer.Option(help="Place of the work: this process, or the workers of a Dask cluster."),
    ] = "local",
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Scheduler of the cluster, for --engine dask. Its workers need featx, and DATA "
            "and CACHE under the same paths. Default: a cluster on this machine, for this command.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes of that cluster on this machine. Default: one a GPU, or two."
        ),
    ] = None,
    *,
    augment: str | None,
    changes: dict[str, Any],
    reading: ReadingOptions,
) -> None:
    """Run a frozen backbone once over every image and cache the embeddings.

    Only training images get augmented copies, unless you say --copies-of all. Finished shards are
    never computed again: after an interruption, after damage that `featx cache verify` found, or
    when images were added, changed or removed, run the same command again. Several commands may
    fill one cache at once.
    """
    from featx._specs import spec_errors
    from featx.backbones import StandardizationSpec, load_backbone
    from featx.extraction import ExtractionOptions, extract_images
    from featx.extraction._cache_folder import augmentation_of, runtime_of
    from featx.extraction._standardization import standardize
    from featx.images import DecodingSpec, preset_augmentation

    options = ExtractionOptions(
        engine=_engine(engine, scheduler, workers, device),
        batch_size=batch_size,
        on_error=on_error,
        rows_per_shard=rows_per_shard,
        compression=None if compression == "none" else compression,
    )
    with spec_errors():
        decoding = DecodingSpec(jpeg_reduction=jpeg_reduction, contrast=contrast)
        chosen = changes | {"copies": copies, "seed": seed}
        if augment is None:
            augmentation = augmentation_of(cache, **chosen)
        else:
            augmentation = preset_augmentation(augment, **chosen)
        standardization = StandardizationSpec(
            samplewise_center=samplewise_center,
            samplewise_std=samplewise_std,
            featurewise_center=featurewise_center,
            featurewise_std=featurewise_std,
            zca_whitening=zca_whitening,
        )
    progress = TerminalProgress()
    manifest = _read(data, reading, cache)
    import_quietly()
    network = load_backbone(
        backbone,
        weights=weights,
        input_size=input_size,
        preprocess=preprocess,
        precision=precision,
        seed=seed,
        layer=layer,
        pool_extra=pool_extra,
        device=device,
        runtime=runtime_of(cache, precision) if runtime == "auto" else runtime,
        tokens=tokens,
    )
    network = standardize(
        network, standardization, manifest, cache, decoding=decoding, progress=progress
    )
    _introduce_backbone(network, one_gpu=engine == "local" and device == "auto")
    report = extract_images(
        manifest,
        cache,
        network,
        augmentation=augmentation,
        decoding=decoding,
        copies_of=copies_of,
        storage_dtype=storage_dtype,
        options=options,
        progress=progress,
    )
    tell_positive(manifest.classes)
    _print_report(report, untrained=network.spec.weights == "random")


def _engine(engine: str, scheduler: str | None, workers: int | None, device: str) -> Engine:
    from featx.errors import InputError
    from featx.extraction import DaskEngine, LocalEngine

    if engine == "dask":
        if device.startswith("gpu"):
            raise InputError(
                f"--device {device} is for --engine local",
                "Dask's workers take a GPU each: leave it out.",
            )
        return DaskEngine(scheduler, workers)
    if scheduler is not None or workers is not None:
        raise InputError("--scheduler and --workers need --engine dask", "Add --engine dask.")
    return LocalEngine()


def _read(data: Path, reading: ReadingOptions, cache: Path) -> Manifest:
    """Read the images, and say what there is to know of them."""
    from featx.data import unknown_patients
    from featx.extraction._extract import keep_positive_class

    manifest = load_data(data, reading)
    chosen = reading.chooses_positive
    if not chosen:
        kept = keep_positive_class(manifest, cache)
        manifest, chosen = kept, kept.classes != manifest.classes
    warn_of_positive(manifest.classes, chosen=chosen)
    if unknown := unknown_patients(manifest.table):
        warn(unknown)
    for split, row in manifest.counts().iterrows():
        say(f"{split}: " + ", ".join(f"{row[label]} {label}" for label in manifest.classes))
    return manifest


def _introduce_backbone(backbone: Backbone, *, one_gpu: bool) -> None:
    from featx.backbones._device import gpu_count
    from featx.backbones._spec import RUNTIME_NAMES

    spec = backbone.spec
    say(
        f"Backbone {spec.name} at {spec.input_size}x{spec.input_size}, embedding "
        f"{spec.embedding_in_words(backbone.embedding_shape)}, {spec.precision} by "
        f"{RUNTIME_NAMES[spec.runtime]} on {backbone.device} ({backbone.reason})"
    )
    if spec.weights == "random":
        say("These weights are random: the embeddings are untrained.")
    say(f"Weights SHA-256 {spec.weights_sha256}", detail=True)
    if one_gpu and gpu_count() > 1:
        say(f"This uses one of {gpu_count()} GPUs. --engine dask uses them all.")


def _print_report(report: ExtractionReport, *, untrained: bool) -> None:
    note = " (untrained embeddings)" if untrained else ""
    table = plain_table(f"Cache {report.cache}{note}", ("", "count"))
    counts = {
        "images": report.images,
        "embeddings": report.rows,
        "  computed now": report.new_rows,
        "  computed by others meanwhile": report.rows_by_others or None,
        "images added": report.added or None,
        "images changed": report.changed or None,
        "images removed": report.removed or None,
        "damaged shards repaired": report.repaired,
        "unreadable images skipped": len(report.skipped),
        "seconds": f"{report.seconds:.1f}" if report.new_rows else None,
        "images/s": f"{report.rows_per_second:.2f}" if report.new_rows else None,
    }
    for name, count in counts.items():
        if count is not None:
            table.add_row(name, str(count))
    output().print(table)
    for path, reason in report.skipped.items():
        say(f"Skipped {path}: {reason}")
