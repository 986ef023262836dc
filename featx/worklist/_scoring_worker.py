"""What the scoring process does: it loads the runs, decodes, scores, explains and shows images.

It is the only process that decodes what strangers sent, and the only one that has a network. It
reads requests from its standard input and writes answers to its standard output (see `_messages`):
they are pipes to the process that started it. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError, InputError
from featx.worklist._messages import (
    PNG,
    REQUEST,
    SCORED,
    SETTINGS,
    SHOWN,
    Failed,
    NearestImage,
    Request,
    RunSettings,
    ScoredFiles,
    Shown,
    read,
    write,
)

NICENESS = 5
"""Steps by which this process yields to the one that answers people."""

PARENT_SECONDS = 0.5
"""Time between two looks whether the process that started this one is still there."""

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from featx.explain import Explanation


class Worker:
    """Runs that are loaded, and loaded again if they are replaced."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.notice = ""
        self._stamps: list[Stamp] = []
        self._load([_stamp(path) for path in settings.paths])

    def _load(self, stamps: list[Stamp]) -> None:
        from featx.extraction._pipeline import embed_filled
        from featx.runs import FittedRun
        from featx.scoring import RunsScorer, predict_images_by_run
        from featx.scoring._image_scorer import BATCH_SIZE, load_backbones
        from featx.worklist._run_facts import facts_of

        settings = self.settings
        runs = [FittedRun(path, runtime=settings.runtime) for path in settings.paths]
        facts = facts_of(runs)
        scorer = RunsScorer(runs, load_backbones(runs, settings.weights), try_alone=True)
        list(predict_images_by_run(scorer, ()))  # reads what is left to read of the runs
        for backbone in scorer.backbones:
            # The first pass of a network takes seconds. Nobody's image has to wait for it.
            side = backbone.spec.input_size
            for rows in (1, BATCH_SIZE):
                embed_filled(backbone, [np.zeros((side, side, 1), np.float32)], rows)
        self.runs, self.facts, self.scorer, self._stamps = runs, facts, scorer, stamps
        self._explainer: Any = None

    def _refresh(self) -> None:
        """Load the runs again if one was replaced. Keep those that are loaded if that fails."""
        stamps = [_stamp(path) for path in self.settings.paths]
        if stamps == self._stamps:
            return
        try:
            self._load(stamps)
            self.notice = ""
        except (FeatxError, OSError) as error:
            self._stamps = stamps  # once is enough, until another file changes
            what = error.what if isinstance(error, FeatxError) else "a run is being replaced"
            self.notice = f"{what}. The run that was loaded before is used."

    def answer(self, request: Request) -> Any:
        """Answer a request that needs the runs."""
        if request.kind == "score":
            return self.score(request.paths)
        if request.kind == "explain":
            return self.explain(request.paths[0])
        if request.kind == "figure":
            return self.figure(request.paths[0], request.name)
        self._refresh()
        return ScoredFiles(self.facts, notice=self.notice)

    def score(self, paths: Sequence[str]) -> ScoredFiles:
        """Score files with all runs."""
        from featx.scoring import predict_images_by_run

        self._refresh()
        found = tuple(predict_images_by_run(self.scorer, paths))
        return ScoredFiles(self.facts, found, self.notice)

    def explain(self, path: str) -> Shown:
        """Explain the first run's verdict on a file."""
        explanation = self._explain(path)
        assert explanation.heat is not None
        assert explanation.pixels is not None
        assert explanation.training is not None
        method, training = explanation.method, explanation.training
        nearest = []
        for neighbor in explanation.neighbors:
            pixels = training.thumbnail(neighbor)
            shown = None if pixels is None else _png(pixels)
            nearest.append(NearestImage(neighbor.label, neighbor.distance, shown))
        return Shown(
            method.name,
            method.unit,
            method.meaning,
            _overlay(explanation.heat, *explanation.pixels.shape[:2]),
            tuple(nearest),
            explanation.notes,
            self.facts[0].id,
        )

    def figure(self, path: str, name: str) -> bytes:
        """Return the figure that `featx explain` writes of a file of that name."""
        return replace(self._explain(path), path=name).png()

    def _explain(self, path: str) -> Explanation:
        from featx.explain._explain_images import ImageExplainer

        self._refresh()
        if self._explainer is None:
            self._explainer = ImageExplainer(self.runs[0], self.scorer.backbones[0])
        explanation: Explanation
        (explanation,) = self._explainer.explain([Path(path)])
        if explanation.error or explanation.heat is None or explanation.pixels is None:
            raise InputError(f"the image can't be explained: {explanation.error}")
        return explanation


def picture(path: str, side: int) -> bytes:
    """Return a PNG file of an image, `side` pixels at its longer side at most."""
    from featx.images import UnreadableImageError, decode_for_display

    try:
        return _png(decode_for_display(Path(path), side))
    except UnreadableImageError as error:
        raise InputError(f"the image can't be decoded: {error.reason}") from error


def _png(pixels: NDArray[np.floating]) -> bytes:
    from PIL import Image

    grey = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return _encoded(Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8)))


def _encoded(image: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=3)
    return content.getvalue()


def _overlay(heat: NDArray[np.float32], height: int, width: int) -> bytes:
    """Draw a heat map as `featx.plots.heat_map_overlay` does, without the X-ray below it."""
    from PIL import Image

    from featx.plots._heat_map import heat_scale, upsample

    scale = heat_scale(heat)
    large = upsample(heat, height, width)
    colors = scale.to_rgba(large)
    colors[..., 3] = np.clip(np.abs(large) / scale.norm.vmax, 0, 1)
    return _encoded(Image.fromarray(np.rint(colors * 255).astype(np.uint8)))


Stamp: TypeAlias = tuple[tuple[str | int, ...], ...]


def _stamp(path: str) -> Stamp:
    """Tell a run from one that takes its place, also while that is being copied there."""
    found: list[tuple[str | int, ...]] = []
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_file():
                stat = entry.stat()
                found.append((entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print mustn't get among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    requests = sys.stdin.buffer
    forms: dict[str, TypeAdapter[Any]] = {"explain": SHOWN, "figure": PNG, "picture": PNG}
    worker: Worker | None = None
    settings = read(requests, SETTINGS)
    while True:
        try:
            request = read(requests, REQUEST)
        except EOFError:
            return
        try:
            if request.kind == "picture":
                found: Any = picture(request.paths[0], request.side)
            else:
                worker = worker or Worker(settings)
                found = worker.answer(request)
        except FeatxError as error:
            found = Failed(error.what, error.hint)
        except Exception as error:  # noqa: BLE001 - the process that asked says so
            found = Failed(_place_of(error), expected=False)
        write(answers, found, forms.get(request.kind, SCORED))


def _place_of(error: Exception) -> str:
    """Say what failed and where, without the error's text, which may quote a header."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"an unexpected {type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def _end_with_parent(parent: int) -> None:
    """End also in the middle of an image if nobody waits for it any more."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
