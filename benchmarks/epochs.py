"""How long an epoch of the study's head takes on a cache, against Keras's own `fit` in memory.

Side by side, in turns: the bare Keras `fit` on a float32 array that is in memory already, featx on
the cache's float16 in memory, and featx reading the cache from disk in every epoch. Then the same
in bfloat16. The first epoch of each, in which TensorFlow traces the network, is left out. Usage::

    python benchmarks/epochs.py CACHE [--rounds 2] [--epochs 2]
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import featx
from featx.backbones._precision import resolve_precision
from featx.heads import KerasHead, KerasSettings
from featx.heads._keras_network import build_network
from featx_cache import LazyEmbeddings

BATCH, LEARNING_RATE = 32, 5e-4
BARS = (
    ("featx, in memory", "bare Keras, float32 in memory", 1.15, "most"),
    ("featx, from disk", "bare Keras, float32 in memory", 1.15, "most"),
    ("featx, from disk", "featx, in memory", 1.5, "most"),
    ("featx, in memory", "featx, in memory, bfloat16", 1.5, "least"),
)


def bare(X: NDArray[np.float32], y: NDArray[Any], epochs: int) -> list[float]:
    """Train as people do without featx. Return seconds of each epoch but the first."""
    import keras

    network = build_network(X.shape[1:], KerasSettings(), 0)
    metrics = ["accuracy", keras.metrics.Recall(name="recall")]
    network.compile(keras.optimizers.Adam(LEARNING_RATE), "binary_crossentropy", metrics=metrics)
    seconds: list[float] = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: seconds.append(-time.perf_counter()),
        on_epoch_end=lambda *_: seconds.append(seconds.pop() + time.perf_counter()),
    )
    labels = y.astype(np.float32)
    network.fit(X, labels, batch_size=BATCH, epochs=epochs + 1, verbose=0, callbacks=[watch])
    return seconds[1:]


def cached(
    X: NDArray[Any] | LazyEmbeddings, y: NDArray[Any], epochs: int, precision: str = "float32"
) -> list[float]:
    """Train the Keras head. Return seconds of each epoch but the first."""
    head = KerasHead(epochs=epochs + 1, batch_size=BATCH, precision=precision).fit(X, y)
    return [epoch["seconds"] for epoch in head.history_][1:]


def main() -> None:
    """Print seconds an epoch of every way, then the ratios and their bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    lazy, y, _ = featx.load_cache(arguments.cache).as_arrays(("train", "val"))
    seconds: dict[str, list[float]] = {}
    fast = resolve_precision("auto")[0] == "bfloat16"
    for _ in range(arguments.rounds):
        X = np.asarray(lazy, np.float32)
        seconds.setdefault("bare Keras, float32 in memory", []).extend(bare(X, y, arguments.epochs))
        X = np.asarray(lazy)
        for precision in ("float32", *(["bfloat16"] if fast else [])):
            kind = "" if precision == "float32" else f", {precision}"
            ways: dict[str, NDArray[Any] | LazyEmbeddings] = {"in memory": X, "from disk": lazy}
            for way, data in ways.items():
                took = cached(data, y, arguments.epochs, precision)
                seconds.setdefault(f"featx, {way}{kind}", []).extend(took)
    print(f"{len(y)} images, batches of {BATCH}, seconds an epoch\n\n| way | seconds | median |")
    print("|---|---|---|")
    for name, took in seconds.items():
        print(f"| {name} | {', '.join(f'{s:.2f}' for s in took)} | {median(took):.2f} |")
    print("\n| | to | ratio | bar | holds |\n|---|---|---|---|---|")
    for one, other, bar, kind in BARS:
        if one in seconds and other in seconds:
            ratio = median(seconds[one]) / median(seconds[other])
            holds = ratio <= bar if kind == "most" else ratio >= bar
            print(f"| {one} | {other} | {ratio:.2f} | at {kind} {bar} | {holds} |")


if __name__ == "__main__":
    main()
