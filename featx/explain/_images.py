"""Explaining the verdicts of a run: a figure an image, and a table of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx._progress import SILENT, Progress
from featx.backbones import Backbone
from featx.errors import InputError
from featx.evaluation import average
from featx.explain._explanations import (
    LIST,
    MADE_BY,
    TABLE,
    Explanation,
    as_csv,
    as_json,
    figure_names,
    require_replaceable,
    write,
)
from featx.explain._figure import Verdict, explanation_figure
from featx.explain._maps import heat_maps, method_of
from featx.explain._nearest import Neighbourhood
from featx.extraction._pipeline import embed_filled, to_storage
from featx.images import UnreadableImageError, decode, make_copy, picture
from featx.runs._fitted import FittedRun
from featx_cache.files import LOCK_WAIT_SECONDS, atomic_path, lock, open_regular

BATCH = 8
SIDE = 640
"""Longest side of the image in a figure, in pixels."""


def explain_images(
    run: FittedRun,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    backbone: Backbone | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> list[Explanation]:
    """Draw a heat map of each image, and list what was found.

    Parameters
    ----------
    run
        Whose verdicts are explained.
    paths
        Image files. One that can't be read doesn't stop the others.
    out
        Folder for ``NAME-explained.png`` of each image, ``explanations.csv`` and
        ``explanations.json``. Explanations that are there already are replaced.
    backbone
        None loads the run's own.
    force
        Replace explanations that are there already.
    progress
        Shows how far it got.

    Returns
    -------
    list of Explanation
        In the order of `paths`.

    Raises
    ------
    InputError
        When a file is in the way, embeddings have no grid, or another process is explaining into
        this folder.
    StorageError
        When the folder can't be written.
    """
    files = [Path(path) for path in paths]
    out = Path(out)
    names = figure_names(files)
    require_replaceable([out / name for name in (*names, TABLE, LIST)], force)
    explainer = _Explainer(run, backbone or run.backbone())
    explainer.require_grid()
    with lock(out / LIST, wait=LOCK_WAIT_SECONDS):
        require_replaceable([out / name for name in (*names, TABLE, LIST)], force)
        found: list[Explanation] = []
        with progress.task("Explaining", len(files), "image") as advance:
            for start in range(0, len(files), BATCH):
                part = slice(start, start + BATCH)
                for explanation in explainer.explain(files[part], names[part], out):
                    found.append(explanation)
                    advance(1)
        about = {
            "run": str(run.path),
            "head": run.record.head.name,
            "classes": list(run.record.classes),
            "meaning": explainer.method.meaning,
            "apart_from_mean": explainer.neighbourhood.mean is not None,
        }
        write(out / TABLE, as_csv(found))
        write(out / LIST, as_json(found, about))
        return found


class _Explainer:
    """Explains images of one run."""

    def __init__(self, run: FittedRun, backbone: Backbone) -> None:
        self.run, self.backbone = run, backbone
        self.method = method_of(run.head)
        self.neighbourhood = Neighbourhood(run)

    def require_grid(self) -> None:
        shape = self.backbone.embedding_shape
        if len(shape) != 3:
            raise InputError(
                f"the embeddings of the run {self.run.path} have no grid (their shape is {shape}), "
                "so there is no map of them",
                "Extract with a layer whose output has rows and columns, and fit again.",
            )

    def explain(
        self, files: Sequence[Path], names: Sequence[str], out: Path
    ) -> Iterator[Explanation]:
        """Explain a batch: one forward pass, then a figure each."""
        decoded: dict[int, list[NDArray[np.float32]]] = {}
        failed: dict[int, str] = {}
        for number, path in enumerate(files):
            try:
                decoded[number] = self._views(path)
            except UnreadableImageError as error:
                failed[number] = error.reason
        embeddings = self._embed(decoded)
        for number, views in embeddings.items():
            if not np.isfinite(views).all():
                failed[number] = "its embedding is not finite, so there is no verdict on it"
        results = self._score({n: e for n, e in embeddings.items() if n not in failed})
        for number, (path, name) in enumerate(zip(files, names, strict=True)):
            if number not in failed:
                try:
                    yield self._draw(path, name, out, *results[number])
                    continue
                except UnreadableImageError as unreadable:  # taken away in between
                    failed[number] = unreadable.reason
            yield Explanation(str(path), "", None, self.method, None, error=failed[number])

    def _views(self, path: Path) -> list[NDArray[np.float32]]:
        """Decode an image, and make the copies that the run averages over."""
        spec = self.run.record.extraction
        pixels = decode(path, spec.backbone.input_size, spec=spec.decoding)
        if not self.run.record.tta:
            return [pixels]
        with open_regular(path) as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
        copies = range(self.run.record.tta + 1)
        return [make_copy(pixels, spec.augmentation, sha256, copy) for copy in copies]

    def _embed(
        self, decoded: dict[int, list[NDArray[np.float32]]]
    ) -> dict[int, NDArray[np.floating]]:
        """Return the embeddings of each image and its copies."""
        views = [view for images in decoded.values() for view in images]
        parts = [
            to_storage(
                embed_filled(self.backbone, views[start : start + BATCH], BATCH),
                self.run.record.extraction.storage_dtype,
            )
            for start in range(0, len(views), BATCH)
        ]
        if not parts:
            return {}
        ends = np.cumsum([len(images) for images in decoded.values()])[:-1]
        return dict(zip(decoded, np.split(np.concatenate(parts), ends), strict=True))

    def _score(
        self, embeddings: dict[int, NDArray[np.floating]]
    ) -> dict[int, tuple[float, NDArray[np.float32], NDArray[np.float32]]]:
        """Return score, map and averaged embedding of each image; maps are of the untouched one."""
        if not embeddings:
            return {}
        untouched = np.stack([views[0] for views in embeddings.values()])
        maps = heat_maps(self.run.head, untouched, mean=self.neighbourhood.mean)
        scores = [
            float(self.run.recalibrated(self.run.head_scores(views).mean(keepdims=True))[0])
            for views in embeddings.values()
        ]
        return dict(
            zip(embeddings, zip(scores, maps, average(untouched), strict=True), strict=True)
        )

    def _draw(
        self,
        path: Path,
        name: str,
        out: Path,
        score: float,
        heat: NDArray[np.float32],
        vector: NDArray[np.float32],
    ) -> Explanation:
        record = self.run.record
        verdict = Verdict(score, record.threshold, record.band, record.classes)
        neighbours = self.neighbourhood.of(vector, verdict.called)
        figure = explanation_figure(
            path.name,
            picture(path, SIDE),
            heat,
            self.method,
            verdict,
            [(neighbour, self.neighbourhood.thumbnail(neighbour)) for neighbour in neighbours],
            _notes(self.run, heat),
        )
        with atomic_path(out / name) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata={"Software": MADE_BY})
        return Explanation(str(path), name, verdict, self.method, heat, tuple(neighbours))


def _notes(run: FittedRun, heat: NDArray[np.float32]) -> list[str]:
    notes = []
    if run.record.extraction.backbone.weights == "random":
        notes.append("The embeddings are untrained (random weights): this means nothing.")
    if heat.size == 1:
        notes.append("The embedding has one cell, so the map can't tell places apart.")
    if heat.max() <= 0:
        notes.append(f"No place spoke for {run.record.classes[1]}, so there is no contour.")
    return notes
