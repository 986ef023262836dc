"""What a heat map costs beside the forward pass that it needs anyway.

Prints, for each run, milliseconds an image of the forward pass (decoding not counted), of the heat
map, their ratio, and of drawing the figure, which is not part of the ratio. Medians of rounds, side
by side on one machine. Usage::

    python benchmarks/explain.py RUN... --images FOLDER [--weights FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from featx._run import load_run
from featx.explain import Verdict, heat_maps
from featx.explain._figure import explanation_figure
from featx.explain._maps import method_of
from featx.extraction._pipeline import stack, to_storage
from featx.images import decode, decode_for_display
from featx.scoring import find_images

BATCH = 8


def milliseconds(work: Callable[[], object], rounds: int, images: int) -> float:
    """Return the median of rounds, an image, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times) / images


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    paths = list(find_images([given.images]))[:BATCH]
    print("| run | method | forward pass (ms) | heat map (ms) | ratio | figure (ms) |")
    print("|---|---|---|---|---|---|")
    for path in given.runs:
        run = load_run(path)
        backbone = run.backbone(given.weights)
        spec = run.record.extraction
        size = spec.backbone.input_size
        pixels = stack([decode(file, size, spec=spec.decoding) for file in paths])
        embeddings = to_storage(backbone.embed(pixels), spec.storage_dtype)
        mean = run.reference.mean
        heat = heat_maps(run.head, embeddings, mean=mean)[0]
        method = method_of(run.head)
        verdict = Verdict(0.5, run.record.threshold, run.record.band, run.record.classes)

        def draw() -> None:
            shown = decode_for_display(paths[0], 640)
            figure = explanation_figure("image", shown, heat, method, verdict)  # noqa: B023
            figure.savefig("/dev/null", format="png", dpi=110)

        forward = milliseconds(lambda: backbone.embed(pixels), given.rounds, len(paths))  # noqa: B023
        mapped = milliseconds(
            lambda: heat_maps(run.head, embeddings, mean=mean),  # noqa: B023
            given.rounds,
            len(paths),
        )
        drawn = milliseconds(draw, given.rounds, 1)
        print(
            f"| {path.name} | {method.name} | {forward:.0f} | {mapped:.1f} "
            f"| {mapped / forward:.3f} | {drawn:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
