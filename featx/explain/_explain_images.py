"""Explaining the verdicts of a run on image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx._progress import Progress, progress_of
from featx.backbones import Backbone
from featx.errors import InputError
from featx.explain._contributions import contributions
from featx.explain._explanations import SIDE, Explanation, Explanations
from featx.explain._figure import Verdict
from featx.explain._folder import (
    CSV_NAME,
    JSON_NAME,
    as_csv,
    as_json,
    figure_names,
    require_free,
    write_text,
)
from featx.explain._maps import heat_maps, method_of
from featx.explain._training_neighbors import TrainingNeighbors
from featx.images import UnreadableImageError, decode_for_display
from featx.runs import FittedRun
from featx.scoring import ImageScorer, ScoredImage
from featx_cache.files import LOCK_WAIT_SECONDS, atomic_path, lock

BATCH_SIZE = 8


def explain_images(
    run: FittedRun,
    paths: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    *,
    backbone: Backbone | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> Explanations:
    """Make a heat map of each image, with its score and the training images that are most like it.

    Parameters
    ----------
    run
        Run whose verdicts are explained.
    paths
        Image file, or several. A file that can't be read doesn't stop the others.
    out
        Folder for ``NAME-explained.png`` of each image, ``explanations.csv`` and
        ``explanations.json``. None writes nothing: the images stay in memory, up to 400 KB each.
    backbone
        The run's backbone, if it is loaded already.
    force
        Whether explanations that are in `out` already are replaced.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Explanations
        One row for each file, in the order of `paths`. A notebook shows their figures.

    Raises
    ------
    InputError
        If a file is in the way, the embeddings have no grid, or another process is explaining into
        this folder.
    StorageError
        If the folder can't be written.

    Examples
    --------
    >>> found = explain_images(run, ["a.png", "b.dcm"])  # doctest: +SKIP
    >>> found[0].figure().savefig("why.svg")  # doctest: +SKIP
    >>> explain_images(run, ["a.png"], "explained")  # doctest: +SKIP
    Explanations(1 image)
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    shown = progress_of(progress)
    if out is None:
        explainer = ImageExplainer(run, backbone)
        with shown.task("Explaining", len(files), "image") as advance:
            rows = []
            for explanation in explainer.explain(files):
                rows.append(explanation)
                advance(1)
        return Explanations(rows)
    folder, names = Path(out), figure_names(files)
    require_free(folder, names, force=force)
    explainer = ImageExplainer(run, backbone)
    with lock(folder / JSON_NAME, wait=LOCK_WAIT_SECONDS):
        require_free(folder, names, force=force)
        with shown.task("Explaining", len(files), "image") as advance:
            rows = []
            for explanation, name in zip(explainer.explain(files), names, strict=True):
                rows.append(_written(explanation, folder / name))
                advance(1)
        about = {
            "run": str(run.path),
            "head": run.record.head.name,
            "classes": list(run.record.classes),
            "meaning": explainer.method.meaning,
            "apart_from_mean": explainer.training.mean is not None,
        }
        write_text(folder / CSV_NAME, as_csv(rows))
        write_text(folder / JSON_NAME, as_json(rows, about))
    return Explanations(rows)


def _written(explanation: Explanation, file: Path) -> Explanation:
    """Write the figure of an explanation, and let go of its image."""
    if explanation.error:
        return explanation
    with atomic_path(file) as temporary:
        temporary.write_bytes(explanation.png())
    return replace(explanation, file=file, pixels=None)


class ImageExplainer:
    """Explains images of one run. Everything that it needs is loaded and checked first."""

    def __init__(self, run: FittedRun, backbone: Backbone | None) -> None:
        self.run, self.scorer = run, ImageScorer(run, backbone, views=False)
        self.method = method_of(run.head)
        self.training = TrainingNeighbors(run)
        parts = run.record.extraction.backbone.parts
        self.no_shares: dict[str, float | None] = {part.name: None for part in parts}
        shape = self.scorer.backbone.main_shape
        if len(shape) != 3:
            raise InputError(
                f"the embeddings of the run {run.path} have no grid (their shape is {shape}), "
                "so there is no map of them",
                "Extract with a layer whose output has rows and columns, and fit again.",
            )

    def explain(self, files: Sequence[Path]) -> Iterator[Explanation]:
        """Yield an explanation for each file, in their order."""
        scored = self.scorer.score(files)
        while batch := list(islice(scored, BATCH_SIZE)):
            embeddings = [image.embedding for image in batch if image.embedding is not None]
            maps = iter(())
            shares: Iterator[dict[str, float | None]] = iter(())
            if embeddings:
                stacked = np.stack(embeddings)
                maps = iter(heat_maps(self.run.head, stacked, mean=self.training.mean))
                shares = iter(self._contributions(stacked))
            for image in batch:
                known = image.embedding is not None
                yield self._explanation(
                    image, next(maps) if known else None, next(shares) if known else self.no_shares
                )

    def _contributions(self, embeddings: NDArray[np.floating]) -> list[dict[str, float | None]]:
        """Say how far each layer moved each image's score. Nothing, if there is one layer."""
        found = contributions(self.run.head, embeddings) if self.no_shares else None
        if found is None:
            return [self.no_shares] * len(embeddings)
        return [dict(zip(self.no_shares, row, strict=True)) for row in found.tolist()]

    def _explanation(
        self,
        image: ScoredImage,
        heat: NDArray[np.float32] | None,
        layers: dict[str, float | None],
    ) -> Explanation:
        failed = Explanation(image.path, self.method, layers=self.no_shares, error=image.error)
        if image.score is None or image.vector is None or heat is None:
            return failed
        try:
            pixels = decode_for_display(Path(image.path), SIDE)
        except UnreadableImageError as error:  # the file vanished after it was scored
            return replace(failed, error=error.reason)
        record = self.run.record
        verdict = Verdict(image.score, record.threshold, record.band, record.classes)
        return Explanation(
            image.path,
            self.method,
            verdict,
            heat,
            tuple(self.training.nearest(image.vector, verdict.called)),
            _notes(self.run, heat, layers, self.method.unit),
            layers=layers,
            pixels=np.rint(pixels).astype(np.uint8),
            training=self.training,
        )


def _notes(
    run: FittedRun, heat: NDArray[np.float32], layers: dict[str, float | None], unit: str
) -> tuple[str, ...]:
    notes = []
    if layers:
        main, *_ = layers
        shares = [f"{name} {value:+.2f}" for name, value in layers.items() if value is not None]
        spoke = f" Layers: {', '.join(shares)} ({unit}, from the training average)."
        notes.append(f"The map shows {main}.{spoke if shares else ''}")
    if run.record.extraction.backbone.weights == "random":
        notes.append("The embeddings are untrained (random weights): this means nothing.")
    if heat.size == 1:
        notes.append("The map has one place, so it can't tell places apart.")
    if heat.max() <= 0:
        notes.append(f"No place spoke for {run.record.classes[1]}, so there is no contour.")
    return tuple(notes)
