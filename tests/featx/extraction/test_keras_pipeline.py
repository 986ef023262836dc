"""Embeddings equal a plain Keras pipeline: load_img, preprocess_input, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import load_backbone
from featx.backbones._registry import architecture
from featx.backbones._weights import build_network
from featx.extraction import extract
from featx.images import DecodingSpec


def plain_keras(paths: list[Path], network: Any, size: int) -> NDArray[np.float32]:
    """Embed images as the Keras documentation shows."""
    import keras

    images = [
        keras.utils.img_to_array(
            keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
        )
        for path in paths
    ]
    batch = keras.applications.vgg16.preprocess_input(np.stack(images))
    embeddings: NDArray[np.float32] = network.predict(batch, batch_size=4, verbose=0)
    return embeddings


RUNTIMES: list[tuple[Literal["tensorflow", "ncnn"], float]] = [("tensorflow", 1e-3), ("ncnn", 4e-3)]


def assert_close(
    cached: NDArray[np.floating], plain: NDArray[np.float32], tolerance: float
) -> None:
    """Assert a relative error. Below a thousandth of the largest value, relative to that."""
    assert cached.shape == plain.shape
    error = np.abs(cached.astype(np.float32) - plain)
    assert (error / np.maximum(np.abs(plain), 1e-3 * plain.max())).max() < tolerance


@pytest.mark.parametrize(("runtime", "tolerance"), RUNTIMES)
def test_with_random_weights_at_64_pixels(
    phantom_data: Path, tmp_path: Path, runtime: Literal["tensorflow", "ncnn"], tolerance: float
) -> None:
    import keras

    backbone = load_backbone(
        "vgg16", weights="random", input_size=64, precision="float32", runtime=runtime
    )
    cache = extract(phantom_data, tmp_path / "cache", backbone, copies=0)
    assert cache.embedding_shape == (2, 2, 512)
    rows = np.arange(0, len(cache.rows), 4)
    paths = [phantom_data / path for path in cache.table(rows)["path"]]
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3))
    network.set_weights(build_network(architecture("vgg16"), "random", 64, 0).get_weights())
    assert_close(cache.read(rows), plain_keras(paths, network, 64), tolerance)


@pytest.mark.long
@pytest.mark.parametrize(("runtime", "tolerance"), RUNTIMES)
def test_with_real_weights_on_real_x_rays_at_300_pixels(
    shared_data: Path,
    shared_weights: Path,
    tmp_path: Path,
    runtime: Literal["tensorflow", "ncnn"],
    tolerance: float,
) -> None:
    import keras

    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for path in sorted((shared_data / "originals").rglob(f"{label}/*.jpeg"))[::8]:
            (tmp_path / "data" / label / path.name).symlink_to(path)
    weights = shared_weights / "vgg16_imagenet_notop.weights.h5"
    backbone = load_backbone(
        "vgg16", weights=str(weights), input_size=300, precision="float32", runtime=runtime
    )
    full = DecodingSpec(jpeg_reduction=0)  # Keras always decodes at full size
    cache = extract(tmp_path / "data", tmp_path / "cache", backbone, copies=0, decoding=full)
    assert cache.shape == (8, 9, 9, 512)
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(300, 300, 3))
    network.load_weights(weights)
    paths = [tmp_path / "data" / path for path in cache.images["path"]]
    assert_close(cache.read(np.arange(8)), plain_keras(paths, network, 300), tolerance)
