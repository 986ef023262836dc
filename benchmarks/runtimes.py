"""Which networks ncnn computes, how near to TensorFlow, and how much faster.

Each network of `featx backbones` gets drawn weights, and statistics of its normalizations that
aren't trivial. Both runtimes embed the same drawn images in float32, in turns. Usage::

    python benchmarks/runtimes.py [NAME ...] [--input-size 300] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 8


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--input-size", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = str(arguments.threads)
    from featx._silence import import_tensorflow
    from featx.backbones import list_backbones

    import_tensorflow()
    print("| network | largest difference, of the peak | correlation | TensorFlow | ncnn | gain |")
    print("|---|---|---|---|---|---|")
    for name in arguments.names or list_backbones():
        print(_row(name, arguments.input_size, arguments.rounds), flush=True)


def _row(name: str, size: int, rounds: int) -> str:
    import keras
    import tensorflow as tf

    from featx.backbones._embedding_layer import cut_at
    from featx.backbones._ncnn import NcnnNetwork
    from featx.backbones._ncnn_layers import NotConvertibleError
    from featx.backbones._registry import architecture
    from featx.backbones._weights import build_network
    from featx.errors import InputError

    found = architecture(name)
    try:
        model = build_network(found, "random", size, 0)
    except InputError as error:
        return f"| {name} | {error} | | | | |"
    _draw_statistics(model)
    network = cut_at(model, None, size)[0]
    shape = (size, size, int(network.inputs[0].shape[-1]))
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, *shape)).astype(np.float32)
    images = np.asarray(found.preprocess_input(images), np.float32)
    signature = [tf.TensorSpec((None, *shape))]
    trace = tf.function(lambda batch: network(batch, training=False), input_signature=signature)
    forward = trace.get_concrete_function()
    try:
        ncnn = NcnnNetwork(network, size)
    except NotConvertibleError as error:
        return f"| {name} | {error} | | | | |"
    one, other = forward(tf.constant(images)).numpy(), ncnn(images)
    passes: list[Callable[[], Any]] = [lambda: forward(tf.constant(images)), lambda: ncnn(images)]
    seconds = [[_timed(each) for each in passes] for _ in range(rounds)]
    tensorflow, fast = (min(round_[place] for round_ in seconds) for place in (0, 1))
    keras.backend.clear_session()
    return (
        f"| {name} | {_difference(one, other):.1e} | "
        f"{np.corrcoef(one.ravel(), other.ravel())[0, 1]:.7f} | {BATCH / tensorflow:.2f} | "
        f"{BATCH / fast:.2f} | {tensorflow / fast:.2f} |"
    )


def _draw_statistics(model: Any) -> None:
    random = np.random.default_rng(0)
    for weights in model.weights:
        if "moving_mean" in weights.path:
            weights.assign(random.normal(0, 0.1, weights.shape))
        elif "moving_variance" in weights.path or "gamma" in weights.path:
            weights.assign(random.uniform(0.5, 1.5, weights.shape))


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
