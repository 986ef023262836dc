"""``featx export``: a run as one ONNX graph."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from featx_cli.console import output, say
from featx_cli.files import ForceOption, require_output, to_standard_output
from featx_cli.run_options import RunArgument, WeightsOption
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx export runs/logreg --onnx logreg.onnx"


def export(
    run: RunArgument,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="File to write.")],
    force: ForceOption = False,
    weights: WeightsOption = None,
) -> None:
    """Write backbone, head and recalibration as one ONNX graph, for programs without featx.

    The graph takes pixels, float32 of shape (images, size, size, 3), RGB values 0..255, and gives
    score, float32 of shape (images,). It computes in float32. Before it is written, its scores are
    compared with featx's on drawn images: they agree to 0.001, or no file is written.

    The command needs the packages of `pip install 'featx[onnx]'`.
    """
    from featx._run import load_run

    require_output(onnx, "--onnx", force=force, inputs=[run])
    opened = load_run(run)
    import_quietly()
    written = opened.export_onnx(onnx, weights=weights, force=force)
    tell = say if to_standard_output(onnx) else partial(output().print, soft_wrap=True)
    size = written.metadata["input_size"]
    tell(
        f"{written.path}: {written.bytes / 1e6:.1f} MB, pixels (images, {size}, {size}, 3) -> "
        f"score (images,), threshold {opened.record.threshold:.6g}"
    )
    tell(f"Largest difference from featx on drawn images: {written.difference:.1e}")
    precision = opened.record.extraction.backbone.precision
    if precision != "float32":
        say(
            f"The run's embeddings were made in {precision}. The graph computes in float32, so its "
            "scores differ a little from those of `featx predict`."
        )
