"""Centering, scaling and whitening of a network's input, as Keras's generator does it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from featx._archives import require_modest
from featx._specs import Spec
from featx.errors import InputError
from featx_cache.files import atomic_path

STANDARDIZATION_NAME = "standardization.npz"
_EPSILON = 1e-6
_MAX_MEMORY_SHARE = 0.5
_COPIES_OF_IMAGES = 4


class StandardizationSpec(Spec):
    """Standardization of a network's input, after its own preprocessing.

    The words, order and constants are those of Keras's ``ImageDataGenerator.standardize``.

    Attributes
    ----------
    samplewise_center, samplewise_std
        Whether to subtract each image's mean, and whether to divide by its standard deviation.
    featurewise_center, featurewise_std
        The same with the training images' mean and standard deviation of each channel.
    zca_whitening
        Whether to remove the correlations between the training images' pixels after their mean,
        instead of dividing by the standard deviation. This is for tiny inputs only.
    zca_epsilon
        Small number that whitening adds before it divides.
    statistics_sha256
        SHA-256 of what was measured on the training images. None if nothing was measured.

    Examples
    --------
    >>> from featx.backbones import StandardizationSpec
    >>> spec = StandardizationSpec(featurewise_std=True)
    >>> spec.featurewise_center, spec.needs_statistics
    (True, True)
    """

    samplewise_center: bool = False
    samplewise_std: bool = False
    featurewise_center: bool = False
    featurewise_std: bool = False
    zca_whitening: bool = False
    zca_epsilon: float = Field(1e-6, gt=0.0)
    statistics_sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _centred(cls, values: Any) -> Any:
        """Center before dividing and whitening. Whitening divides by itself, as in Keras."""
        if not isinstance(values, dict):
            return values
        implied = {
            "samplewise_center": ("samplewise_std",),
            "featurewise_center": ("featurewise_std", "zca_whitening"),
        }
        asked = {name for name, by in implied.items() if any(values.get(each) for each in by)}
        scaled = {"featurewise_std": False} if values.get("zca_whitening") else {}
        return values | dict.fromkeys(asked, True) | scaled

    @property
    def does_something(self) -> bool:
        """Whether anything is done at all."""
        return self.samplewise_center or self.samplewise_std or self.needs_statistics

    @property
    def needs_statistics(self) -> bool:
        """Whether training images have to be measured first."""
        return self.featurewise_center or self.featurewise_std or self.zca_whitening

    def asks_for_the_same(self, other: StandardizationSpec) -> bool:
        """Say whether two specs differ only in what was measured."""
        return self.without_statistics() == other.without_statistics()

    def without_statistics(self) -> StandardizationSpec:
        """Return the spec as it was before anything was measured."""
        return self.model_copy(update={"statistics_sha256": None})


@dataclass(frozen=True)
class Standardization:
    """A spec and what was measured for it.

    Attributes
    ----------
    spec
        Steps to take.
    statistics
        Those of ``mean`` and ``std``, of shape (channels,), and ``zca``, of shape (pixels, pixels)
        with height x width x channels pixels, that are needed. All are float32.
    """

    spec: StandardizationSpec
    statistics: dict[str, NDArray[np.float32]]

    def apply(self, images: Any) -> Any:
        """Standardize a batch of preprocessed images (rows, height, width, channels), float32."""
        import tensorflow as tf

        spec, found = self.spec, self.statistics
        images = tf.convert_to_tensor(images)
        if spec.samplewise_center:
            images -= tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        if spec.samplewise_std:
            images /= tf.math.reduce_std(images, axis=(1, 2, 3), keepdims=True) + _EPSILON
        if spec.featurewise_center:
            images -= found["mean"]
        if spec.featurewise_std:
            images /= found["std"] + np.float32(_EPSILON)
        if spec.zca_whitening:
            shape = tf.shape(images)
            flat = tf.reshape(images, (shape[0], found["zca"].shape[0]))
            images = tf.reshape(flat @ tf.constant(found["zca"]), shape)
        return images

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        text = np.frombuffer(self.spec.canonical_json().encode(), np.uint8)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, spec=text, **self.statistics)


def load_standardization(path: Path) -> Standardization:
    """Read what `Standardization.save` wrote."""
    try:
        require_modest(path)
        with np.load(path, allow_pickle=False) as archive:
            spec = StandardizationSpec.model_validate_json(archive["spec"].tobytes())
            statistics = {name: archive[name] for name in archive.files if name != "spec"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ValidationError) as error:
        raise InputError(
            f"{path}, how the network's input was standardized, is missing or damaged",
            "Extract, and fit, again into new folders.",
        ) from error
    if _sha256(statistics) != spec.statistics_sha256:
        raise InputError(
            f"{path} is damaged: its numbers don't have the hash that it says",
            "Extract, and fit, again into new folders.",
        )
    return Standardization(spec, statistics)


def fit_standardization(
    spec: StandardizationSpec,
    batches: Iterable[NDArray[np.float32]],
    shape: tuple[int, int, int],
    count: int,
) -> Standardization:
    """Measure the training images for a standardization.

    Parameters
    ----------
    spec
        Standardization that is asked for.
    batches
        Preprocessed training images, each batch of the shape (rows, height, width, channels),
        float32. They are not read if nothing has to be measured.
    shape, count
        Height, width and channels of the images, and their number.
    """
    spec = spec.without_statistics()
    if not spec.needs_statistics:
        return Standardization(spec, {})
    if spec.zca_whitening:
        _require_memory(shape, count)
    flat: list[NDArray[np.float32]] = []
    total, squares = np.zeros(shape[-1]), np.zeros(shape[-1])
    pixels = 0
    for batch in batches:
        images = batch.astype(np.float64)
        if spec.samplewise_center:
            images -= images.mean(axis=(1, 2, 3), keepdims=True)
        if spec.samplewise_std:
            images /= images.std(axis=(1, 2, 3), keepdims=True) + _EPSILON
        total += images.sum(axis=(0, 1, 2))
        squares += (images**2).sum(axis=(0, 1, 2))
        pixels += images[..., 0].size
        if spec.zca_whitening:
            flat.append(images.reshape(len(images), -1).astype(np.float32))
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
    statistics = {}
    if spec.featurewise_center:
        statistics["mean"] = mean.astype(np.float32)
    if spec.featurewise_std:
        statistics["std"] = std.astype(np.float32)
    if spec.zca_whitening:
        images = np.concatenate(flat).reshape(-1, *shape).astype(np.float64) - mean
        statistics["zca"] = _whitening(images.reshape(len(images), -1), spec.zca_epsilon)
    known = spec.model_copy(update={"statistics_sha256": _sha256(statistics)})
    return Standardization(known, statistics)


def _whitening(flat: NDArray[np.float64], epsilon: float) -> NDArray[np.float32]:
    """Return the matrix that whitens images of shape (images, pixels)."""
    u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
    return np.asarray((u * (np.sqrt(len(flat)) / (s + epsilon))) @ u.T, np.float32)


def _require_memory(shape: tuple[int, int, int], count: int) -> None:
    pixels = int(np.prod(shape))
    needed = 8 * (pixels * pixels + _COPIES_OF_IMAGES * pixels * count)
    free = psutil.virtual_memory().available
    if needed > _MAX_MEMORY_SHARE * free:
        raise InputError(
            f"`zca_whitening` of {shape[0]}x{shape[1]}x{shape[2]} images needs a matrix of "
            f"{pixels:,} x {pixels:,} and {needed / 1e9:,.0f} GB of memory; "
            f"{free / 1e9:,.0f} GB are free",
            "Leave it out, or take a much smaller `input_size`.",
        )


def _sha256(statistics: dict[str, NDArray[np.float32]]) -> str | None:
    if not statistics:
        return None
    digest = hashlib.sha256()
    for name in sorted(statistics):
        digest.update(name.encode() + np.ascontiguousarray(statistics[name]).tobytes())
    return digest.hexdigest()
