"""The study's way of training against featx's: VGG19 in every epoch, or once.

Both train the same head for the same number of epochs on the same images with freshly drawn
copies. The study's way runs the frozen VGG19 over newly augmented images in every epoch; featx
extracts the copies once and trains on the cache. A few epochs are timed and extrapolated plainly:
total = what is done once + epochs x seconds an epoch. Usage::

    python benchmarks/study.py DATA [--images 200] [--epochs 2] [--extrapolate 74]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from extract import _subset

import featx
from featx.backbones import load_backbone
from featx.data import Manifest, load_manifest
from featx.extraction import extract
from featx.heads import HeadSpec, KerasSettings, build
from featx.heads._keras_network import build_network
from featx.images import AugmentationSpec

INPUT, BATCH, LEARNING_RATE = 300, 32, 5e-4


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2, help="Epochs of the study's way to time.")
    parser.add_argument("--extrapolate", type=int, default=74, help="Epochs of the whole study.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = _subset(arguments.data, Path(folder) / "data", arguments.images)
        manifest = load_manifest(data)
        once, cached = _featx(manifest, Path(folder) / "cache", 10 * arguments.epochs)
        study = _study(data / "train", arguments.epochs)
    epochs = arguments.extrapolate
    slow, fast = median(study), median(cached)
    print(f"\n{len(manifest)} images, VGG19 at {INPUT}x{INPUT}, batches of {BATCH}\n")
    print(
        "| | done once, s | an epoch, s (median) | epochs timed | "
        f"{epochs} epochs, extrapolated, s |"
    )
    print("|---|---|---|---|---|")
    print(f"| VGG19 in every epoch | 0 | {slow:.1f} | {len(study)} | {epochs * slow:.0f} |")
    print(f"| featx | {once:.1f} | {fast:.3f} | {len(cached)} | {once + epochs * fast:.0f} |")
    print(
        f"\nAn epoch is {slow / fast:.0f} times faster (bar: 200), the whole study "
        f"{epochs * slow / (once + epochs * fast):.1f} times; featx is ahead from epoch "
        f"{int(once / (slow - fast)) + 1} on."
    )


def _featx(manifest: Manifest, folder: Path, epochs: int) -> tuple[float, list[float]]:
    """Return the seconds of extracting and reading, and of each epoch."""
    started = time.perf_counter()
    backbone = load_backbone("vgg19", weights="random", input_size=INPUT)
    extract(manifest, folder, backbone, augmentation=AugmentationSpec(copies=4))
    cache = featx.load_cache(folder)
    rows = cache.row_numbers(splits=None, copies=True)
    X, table = cache.read(rows), cache.table(rows)
    once = time.perf_counter() - started
    y = (table["label"] == cache.classes[1]).to_numpy().astype(int)
    clock = _Clock()
    # As `featx fit --head keras` makes it: with the number format that this machine is fast in.
    head = build(HeadSpec.choose("keras", settings={"epochs": epochs}))
    head.fit(X, y, images=cache.rows["image"].to_numpy()[rows], on_epoch=lambda _: clock.tick())
    return once, clock.laps[1:]  # the first epoch also traces the training step


def _study(folder: Path, epochs: int) -> list[float]:
    """Return the seconds of each epoch after the first, as the study's notebook trained."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=30,
        zoom_range=0.2,
        width_shift_range=0.1,
        height_shift_range=0.1,
        horizontal_flip=True,
        preprocessing_function=keras.applications.vgg19.preprocess_input,
    )
    batches = generator.flow_from_directory(
        str(folder), target_size=(INPUT, INPUT), batch_size=BATCH, class_mode="binary"
    )
    network = keras.applications.VGG19(
        include_top=False, weights=None, input_shape=(INPUT, INPUT, 3)
    )
    network.trainable = False
    steps = len(batches)
    head = build_network(network.output_shape[1:], KerasSettings(), 0, steps=(epochs + 1) * steps)
    model = keras.Sequential([network, head])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        "binary_crossentropy",
        metrics=["accuracy", keras.metrics.Recall(name="recall")],
    )
    # One step traces everything, so that no epoch pays for it.
    model.fit(batches, steps_per_epoch=1, epochs=1, verbose=0)
    clock = _Clock()
    ticking = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: clock.tick())
    model.fit(
        batches,
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=0,
        callbacks=[ticking],
        class_weight={0: 1.0, 1: 1.0},
    )
    return clock.laps


class _Clock:
    """Seconds between ticks."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self._last = time.perf_counter()

    def tick(self) -> None:
        now = time.perf_counter()
        self.laps.append(now - self._last)
        self._last = now


if __name__ == "__main__":
    main()
