"""From labelled images to a cache of embeddings, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featx._progress import Progress, progress_of
from featx._silence import import_tensorflow
from featx._specs import spec_errors
from featx.backbones import Backbone, StandardizationSpec, load_backbone
from featx.backbones._precision import PrecisionChoice
from featx.backbones._runtime import RuntimeChoice
from featx.backbones._spec import PoolExtra, Preprocess, Tokens
from featx.data import Manifest, load_manifest
from featx.errors import InputError, NotACacheError
from featx.extraction._cache_folder import augmentation_of, runtime_of
from featx.extraction._extract_images import ExtractionOptions, extract_images
from featx.extraction._plan import CopiesOf
from featx.extraction._spec import StorageDtype
from featx.extraction._standardization import standardize
from featx.images import AugmentationSpec, DecodingSpec, preset_augmentation
from featx_cache import Cache, open_cache
from featx_cache._text import plural

if TYPE_CHECKING:
    import pandas as pd


def extract(  # noqa: PLR0913
    data: Manifest | str | Path | pd.DataFrame,
    cache: str | Path,
    backbone: Backbone | str | Path = "vgg19",
    *,
    weights: str = "imagenet",
    input_size: int | None = None,
    layer: str | Sequence[str] | None = None,
    pool_extra: PoolExtra = "none",
    preprocess: Preprocess | None = None,
    precision: PrecisionChoice = "auto",
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
    tokens: Tokens | None = None,
    augmentation: AugmentationSpec | str | None = None,
    copies: int | None = None,
    copies_of: CopiesOf = "train",
    seed: int = 0,
    decoding: DecodingSpec | None = None,
    standardization: StandardizationSpec | None = None,
    storage_dtype: StorageDtype = "float16",
    options: ExtractionOptions | None = None,
    progress: Progress | bool = True,
) -> Cache:
    """Run a frozen backbone once over every image and its copies, and cache the embeddings.

    Finished shards are never computed again. Call it again with the same settings after an
    interruption, after damage, or after images were added, changed or removed. Several calls, on
    one machine or many, may fill one cache together.

    Parameters
    ----------
    data
        Labelled images: a `Manifest`, or whatever `load_manifest` reads.
    cache
        Folder to fill. It is created if it is missing.
    backbone
        Name of a network, such as ``featx-mini`` or ``vgg19``, path of a ``.keras`` or ``.onnx``
        file or of a folder with ``model.onnx``, or a network that `load_backbone` made, which has
        the next nine parameters already.
    weights, input_size, layer, pool_extra, preprocess, precision, device, runtime, tokens
        See `load_backbone`. The `runtime` of a cache that was begun goes on.
    augmentation
        Kind of the augmented copies: an `AugmentationSpec`, or the name of a preset: ``shift``
        (disturbances as at another hospital), ``study``, ``chest`` (gentle, without mirroring) or
        ``none``. None is that of a cache that was begun, or ``shift``.
    copies
        Number of augmented copies of an image. None takes those of `augmentation`.
    copies_of
        Images that have copies: those of the split ``train``, or ``all``.
    seed
        Seed of a preset's augmentation and of random weights.
    decoding
        Settings with which files become pixels. None takes the defaults.
    standardization
        Centering, scaling or whitening of the network's input. None does nothing.
    storage_dtype
        ``float16`` (half the disk; relative error below 0.1 %) or ``float32``.
    options
        Batch size, compression, what to do about unreadable images, and the like.
    progress
        Whether to show a bar in a terminal or notebook.

    Returns
    -------
    Cache
        Finished cache. Its attribute `skipped` lists the unreadable images. `extract_images`
        reports more.

    Raises
    ------
    SpecMismatchError
        If the cache was made with other settings.
    InputError
        If `data` can't be read, the folder is no cache, a class has no readable image, or an image
        can't be read and `on_error` is ``fail``.
    WeightsError
        If the weights can't be had or don't fit.
    StorageError
        If the disk is full or the folder can't be written. Finished shards stay.

    Examples
    --------
    >>> import featx
    >>> data = featx.load_manifest("chest_xray")  # doctest: +SKIP
    >>> featx.extract(data, "embeddings", backbone="vgg19", copies=4)  # doctest: +SKIP
    Cache(vgg19, 5,856 images, 26,720 embeddings of 9x9x512 float16)
    """
    import_tensorflow()
    progress = progress_of(progress)
    if isinstance(data, Manifest):
        manifest = data
    else:
        manifest = keep_positive_class(load_manifest(data, progress=progress), cache)
    with spec_errors():
        if augmentation is None:
            augmentation = augmentation_of(cache, copies=copies, seed=seed)
        elif isinstance(augmentation, str):
            augmentation = preset_augmentation(augmentation, copies=copies, seed=seed)
        elif copies is not None:
            values = augmentation.model_dump() | {"copies": copies}
            augmentation = AugmentationSpec.model_validate(values)
    if not isinstance(backbone, Backbone):
        backbone = load_backbone(
            str(backbone),
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
    elif (
        *(weights, input_size, layer, pool_extra, preprocess, precision, device, runtime),
        tokens,
    ) != _DEFAULT_CHOICES:
        raise InputError(
            "a loaded backbone has its own weights, input size, layers, preprocessing, precision, "
            "device, runtime and tokens",
            "Leave them out, or give `backbone` a name.",
            parameter="backbone",
        )
    if standardization is not None:
        backbone = standardize(
            backbone, standardization, manifest, cache, decoding=decoding, progress=progress
        )
    report = extract_images(
        manifest,
        cache,
        backbone,
        augmentation=augmentation,
        decoding=decoding,
        copies_of=copies_of,
        storage_dtype=storage_dtype,
        options=options,
        progress=progress,
    )
    if report.skipped:
        skipped = plural(len(report.skipped), "unreadable image")
        progress.note(f"Skipped {skipped}: see `cache.skipped`.")
    return open_cache(cache)


_DEFAULT_CHOICES = ("imagenet", None, None, "none", None, "auto", "auto", "auto", None)
"""Parameters of a backbone that nobody has chosen."""


def keep_positive_class(manifest: Manifest, cache: str | Path) -> Manifest:
    """Return the images with the positive class of the cache, if it has the same two classes.

    Extracting into a cache again must not swap its classes, only because nobody named them.
    """
    try:
        classes = open_cache(cache).classes
    except NotACacheError:  # a new cache, or one that is repaired now
        return manifest
    return replace(manifest, classes=classes) if set(classes) == set(manifest.classes) else manifest
