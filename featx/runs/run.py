"""A run that was fitted before: scoring embeddings, caches and image files with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.backbones import (
    STANDARDIZATION_NAME,
    SUFFIX,
    Backbone,
    load_backbone,
    load_standardization,
)
from featx.data import images_below
from featx.errors import InputError
from featx.evaluation import Metrics, Reference, evaluate_scores
from featx.extraction import stack, to_storage
from featx.heads import load_head
from featx.images import UnreadableImageError, decode, make_copy
from featx.progress import SILENT, Progress
from featx.runs.final_fit import OOF_NAME, REFERENCE_NAME, TRAINING_NAME
from featx.runs.record import read_record
from featx.specs import require_equal
from featx.training.data import require_copies
from featx.training.scoring import mean_by_image
from featx_cache import Cache, open_cache

PREDICT_BATCH = 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one image file.

    Attributes
    ----------
    path
        As it was given.
    score
        Probability of the positive class; None when the file could not be read.
    threshold
        The run's operating point.
    prediction
        A class name; empty when the file could not be read.
    error
        Why it could not be read; empty when it could.
    """

    path: str
    score: float | None
    threshold: float
    prediction: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run's metrics on one split of a cache.

    Attributes
    ----------
    split
        Name of the split, or ``all``.
    metrics
        See `featx.evaluation.Metrics`.
    scores
        One line an image: path, label, group, score.
    excluded
        Images left out because the run was trained on a byte-identical one.
    """

    split: str
    metrics: Metrics
    scores: pd.DataFrame
    excluded: int


class _Decoded(NamedTuple):
    """An image file's pixels, with its copies where scores are averaged; or why it has none."""

    path: Path
    views: list[NDArray[np.float32]]
    error: str = ""


class Run:
    """A run directory; open one with `load_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = read_record(path)

    @cached_property
    def head(self) -> Any:
        """The fitted classifier."""
        return load_head(self.file(self.record.head_file))

    def file(self, name: str) -> Path:
        """Return the path of a file of the run, which is as it was written.

        Raises
        ------
        InputError
            When it is missing or was changed.
        """
        path = self.path / name
        if not path.is_file():
            raise InputError(f"the run has no {name} ({path})", "Fit it again.")
        wanted = self.record.files.get(name)
        if wanted is not None and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise InputError(
                f"{path} is damaged: it isn't what `featx` wrote",
                "Copy the run again from where it is whole, or fit it again.",
            )
        return path

    @cached_property
    def out_of_fold(self) -> pd.DataFrame:
        """Scores of the images that it was fitted on, by heads that hadn't seen their patients.

        Returns
        -------
        DataFrame
            One line an image: path, label, group (text), fold, score.

        Raises
        ------
        InputError
            When the file is missing or damaged.
        """
        path = self.file(OOF_NAME)
        try:
            table = pd.read_csv(
                path,
                dtype={"path": str, "label": str, "group": str, "fold": int, "score": str},
                keep_default_na=False,
                encoding_errors="surrogateescape",
            )
            # As text first: not every parser of pandas gives the very float that was written.
            scores = table[["path", "label", "group", "fold", "score"]]["score"].astype(float)
        except (ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} is damaged: {reason}", "Fit the run again.") from error
        return table.assign(score=self._recalibrated(np.asarray(scores, np.float64)))

    @cached_property
    def reference(self) -> Reference:
        """The images that it was fitted on, as far as other images are compared with them.

        Raises
        ------
        InputError
            When an earlier version of featx fitted the run, or the file is damaged.
        """
        if not (self.path / REFERENCE_NAME).exists() and REFERENCE_NAME not in self.record.files:
            raise InputError(
                f"the run {self.path} doesn't say what its training images look like: an earlier "
                "version of featx fitted it",
                "Fit it again.",
            )
        return Reference.read(self.file(REFERENCE_NAME), self.out_of_fold)

    def _recalibrated(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        recalibration = self.record.recalibration
        return scores if recalibration is None else recalibration.apply(scores)

    def score(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of the positive class, recalibrated where the run is.

        Parameters
        ----------
        embeddings : ndarray of shape (images, *embedding_shape)

        Returns
        -------
        ndarray of shape (images,), dtype float64

        Raises
        ------
        InputError
            When the head refuses the embeddings.
        """
        return self._recalibrated(self._head_scores(embeddings))

    def _head_scores(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        try:
            return np.asarray(self.head.predict_proba(embeddings)[:, 1], np.float64)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"the head of {self.path} can't score these embeddings: {reason}"
            ) from error

    def require_match(self, cache: Cache) -> None:
        """Refuse a cache whose embeddings were made by another backbone.

        How many augmented copies a cache has doesn't matter here: untouched images are scored.

        Raises
        ------
        SpecMismatchError
            Naming each field that differs.
        InputError
            When the classes differ.
        """
        mine = self.record.extraction.model_dump(mode="json")
        fields = ["backbone", "decoding", "storage_dtype"]
        if self.record.tta:
            # How many copies there are doesn't matter, as long as there are enough.
            fields.append("augmentation")
            mine["augmentation"] |= {"copies": cache.spec["augmentation"]["copies"]}
        require_equal(
            f"the run {self.path} doesn't fit the cache {cache.path}",
            {name: mine[name] for name in fields},
            {name: cache.spec.get(name) for name in fields},
            "Extract the images again with the run's settings.",
        )
        if cache.classes != self.record.classes:
            raise InputError(
                f"the run {self.path} tells {' from '.join(self.record.classes)}, and the cache "
                f"{cache.path} has {' and '.join(cache.classes)}",
                "Extract the images again with --classes NEGATIVE,POSITIVE as in the run.",
            )

    def evaluate(
        self,
        cache: Cache | None = None,
        *,
        split: str = "test",
        prevalence: float | None = None,
        progress: Progress = SILENT,
    ) -> Evaluation:
        """Measure the run on images that it wasn't fitted on.

        Parameters
        ----------
        cache
            None takes the cache that the run was fitted on.
        split
            Of the cache; ``all`` takes every image.
        prevalence
            See `featx.evaluation.evaluate_scores`.

        Raises
        ------
        InputError
            When the split is empty, or all its images were used for fitting.
        SpecMismatchError
            See `require_match`.
        """
        cache = cache if cache is not None else open_cache(self.record.cache)
        self.require_match(cache)
        splits = None if split == "all" else (split,)
        rows = cache.row_numbers(splits=splits, copies=False)
        table = cache.table(rows)
        fresh = ~table["sha256"].isin(self._trained_on()).to_numpy()
        if not fresh.any():
            raise InputError(
                f"the run {self.path} was fitted on these very images (split {split!r})",
                "Its out-of-fold metrics are in run.json; evaluate on the test split.",
            )
        rows, table = rows[fresh], table[fresh].reset_index(drop=True)
        scores = self._scores(cache, rows, progress)
        truth = table["label"] == self.record.classes[1]
        metrics = evaluate_scores(
            truth,
            scores,
            self.record.threshold,
            table["group"],
            seed=self.record.seed,
            prevalence=prevalence,
        )
        scored = table[["path", "label", "group"]].assign(score=scores)
        return Evaluation(split, metrics, scored, int((~fresh).sum()))

    def _scores(
        self, cache: Cache, rows: NDArray[np.intp], progress: Progress
    ) -> NDArray[np.float64]:
        """Score untouched images, averaged over their copies where the run does that."""
        image = cache.rows["image"].to_numpy()
        if self.record.tta:
            wanted = np.isin(image, image[rows])
            scored = np.flatnonzero(wanted & (cache.rows["copy"].to_numpy() <= self.record.tta))
            if require_copies(cache, scored) != self.record.tta:
                raise InputError(
                    f"the run {self.path} averages over {self.record.tta} copies of each image, "
                    f"and {cache.path} has fewer",
                    f"Extract again with --copies {self.record.tta} --copies-of all.",
                )
        else:
            scored = rows
        scores = np.empty(len(scored))
        with progress.task("Scoring", len(scored), "row") as advance:
            for positions, embeddings in cache.blocks(scored):
                scores[positions] = self._head_scores(embeddings)
                advance(len(positions))
        return self._recalibrated(mean_by_image(scores, image[scored], image[rows]))

    def backbone(self, weights: str | None = None) -> Backbone:
        """Load the backbone that made the run's embeddings.

        Parameters
        ----------
        weights
            Where its weights are now; None looks where they were.

        Raises
        ------
        SpecMismatchError
            When the weights aren't the ones that the run was fitted with.
        InputError, WeightsError
            When they aren't there, or can't be loaded.
        """
        spec = self.record.extraction.backbone
        location = weights or self.record.weights
        saved = spec.architecture_sha256 is not None
        if saved and not location.endswith(SUFFIX):
            raise InputError(
                f"the backbone of the run {self.path} is a saved model, which {location} is not",
                f"Give its {SUFFIX} file with --weights FILE.",
            )
        backbone = load_backbone(
            location if saved else spec.name,
            weights="imagenet" if saved else location,
            input_size=spec.input_size,
            preprocess=spec.preprocess,
            precision=spec.precision,
            seed=spec.weights_seed or 0,
            layer=spec.layer,
        )
        if spec.standardization is not None:
            file = self.file(STANDARDIZATION_NAME)
            backbone = backbone.with_standardization(load_standardization(file), file)
        require_equal(
            f"{location} is not the backbone that the run {self.path} was fitted with",
            spec.model_dump(mode="json"),
            backbone.spec.model_dump(mode="json"),
            "Give the run's own weights with --weights FILE.",
        )
        return backbone

    def predict(
        self, paths: Iterable[str | Path], *, backbone: Backbone | None = None
    ) -> Iterator[Prediction]:
        """Decode, embed and score image files, a batch at a time.

        Parameters
        ----------
        paths
            Image files.
        backbone
            None loads the run's own.

        Yields
        ------
        Prediction
            In the order of `paths`; a file that can't be read has an error and no score.
        """
        backbone = backbone or self.backbone()
        decoding = self.record.extraction.decoding
        batch: list[_Decoded] = []
        for path in map(Path, paths):
            try:
                pixels = decode(path, backbone.spec.input_size, spec=decoding)
                batch.append(_Decoded(path, self._with_copies(path, pixels)))
            except UnreadableImageError as error:
                batch.append(_Decoded(path, [], error.reason))
            if sum(len(image.views) for image in batch) >= PREDICT_BATCH:
                yield from self._verdicts(batch, backbone)
                batch = []
        yield from self._verdicts(batch, backbone)

    def _with_copies(self, path: Path, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Make the copies that a run with test-time augmentation averages over."""
        if not self.record.tta:
            return [pixels]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        spec = self.record.extraction.augmentation
        return [make_copy(pixels, spec, sha256, copy) for copy in range(self.record.tta + 1)]

    def _verdicts(self, batch: list[_Decoded], backbone: Backbone) -> Iterator[Prediction]:
        views = [view for image in batch for view in image.views]
        scores: list[float] = []
        for start in range(0, len(views), PREDICT_BATCH):
            embeddings = backbone.embed(stack(views[start : start + PREDICT_BATCH]))
            stored = to_storage(embeddings, self.record.extraction.storage_dtype)
            scores += self._head_scores(stored).tolist()
        threshold, classes = self.record.threshold, self.record.classes
        remaining = iter(scores)
        for image in batch:
            if image.error:
                yield Prediction(str(image.path), None, threshold, "", image.error)
            else:
                mean = np.mean([next(remaining) for _ in image.views], keepdims=True)
                score = float(self._recalibrated(mean)[0])
                verdict = classes[int(score >= threshold)]
                yield Prediction(str(image.path), score, threshold, verdict)

    def _trained_on(self) -> set[str]:
        """SHA-256 of the images that the run was fitted on."""
        return set(self.file(TRAINING_NAME).read_text().split())


def load_run(path: str | Path) -> Run:
    """Open a run directory that `featx.runs.fit` wrote.

    Raises
    ------
    InputError
        When it isn't a run, or a file of it is missing or damaged.
    """
    return Run(Path(path))


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """List image files: files as given, folders with everything below them.

    Raises
    ------
    InputError
        When a path doesn't exist or a folder has no images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            images = images_below(path)
            if not images:
                raise InputError(
                    f"no JPEG, PNG or DICOM images in {path}",
                    "Give image files, or folders that have some.",
                )
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no image or folder {path}", "Check the path.")
    return found
