"""A run that was fitted before: its files, its head, its scores, and the backbone behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._specs import require_equal
from featx.backbones import Backbone, load_backbone
from featx.backbones._saved import SUFFIX
from featx.backbones._spec import Precision
from featx.backbones._standardization import STANDARDIZATION_NAME, load_standardization
from featx.errors import FeatxError, InputError, NotACacheError
from featx.evaluation import Reference
from featx.extraction._spec import embedding_fields
from featx.heads import load_head
from featx.runs._files import RunFiles
from featx.runs._record import OOF_NAME, REFERENCE_NAME, TRAINING_NAME, read_record
from featx.thresholds import Recalibration, learn_platt
from featx_cache import Cache, open_cache
from featx_cache._spreadsheets import as_path, as_text
from featx_cache.files import is_there

T = TypeVar("T")


class FittedRun:
    """A run directory: its record, its head, its scores, and what they were made of."""

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        self.record = read_record(path)
        self._files = RunFiles(path.absolute(), self.record)

    @cached_property
    def head(self) -> Any:
        """The fitted classifier."""
        return self.read(self.record.head_file, load_head)

    def file(self, name: str) -> Path:
        """Return the path of a file of the run; see `RunFiles.path`."""
        return self._files.path(name)

    def read(self, name: str, reader: Callable[[Path], T]) -> T:
        """Read a file of the run; see `RunFiles.read`."""
        return self._files.read(name, reader)

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
        table = self.head_out_of_fold
        return table.assign(score=self.recalibrated(table["score"].to_numpy(np.float64)))

    @cached_property
    def head_out_of_fold(self) -> pd.DataFrame:
        """The head's own out-of-fold scores, before any recalibration; see `out_of_fold`."""
        return self.read(OOF_NAME, lambda path: _scores_in(path, self.record.classes))

    @cached_property
    def reference(self) -> Reference:
        """The images that it was fitted on, as far as other images are compared with them.

        Raises
        ------
        InputError
            When an earlier version of featx fitted the run, or the file is damaged.
        """
        if not self.has_reference:
            raise InputError(
                f"the run {self.path} doesn't say what its training images look like: an earlier "
                "version of featx fitted it",
                "Fit it again.",
            )
        known = self.out_of_fold
        return self.read(REFERENCE_NAME, lambda path: Reference.read(path, known))

    @property
    def has_reference(self) -> bool:
        """Whether the run knows what its training images look like; see `reference`."""
        return (self.path / REFERENCE_NAME).exists() or REFERENCE_NAME in self.record.files

    @cached_property
    def calibration(self) -> Recalibration | None:
        """How scores become probabilities; None where they are probabilities already.

        They are where the head was calibrated on held-out patients when it was fitted, and where
        the run was recalibrated. Else Platt's map, learnt on the out-of-fold scores.

        Raises
        ------
        InputError
            When the out-of-fold scores are missing or damaged.
        """
        if self.record.recalibration is not None or self.record.head.calibration is not None:
            return None
        table = self.out_of_fold
        sick = table["label"] == self.record.classes[1]
        return learn_platt(sick, table["score"], table["group"])

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of the positive class.

        They are those of a population with the training images' share of positives.

        Parameters
        ----------
        scores : ndarray of shape (images,)
            See `score`.

        Returns
        -------
        ndarray of shape (images,), dtype float64
        """
        return scores if self.calibration is None else self.calibration.apply(scores)

    def recalibrated(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the head's scores, averaged over copies where the run does that, into the run's.

        Parameters
        ----------
        scores : ndarray of shape (images,)
        """
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
        return self.recalibrated(self.head_scores(embeddings))

    def head_scores(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the head's own scores, before any recalibration; see `score`."""
        try:
            return np.asarray(self.head.predict_proba(embeddings)[:, 1], np.float64)
        except FeatxError:  # of a shard that is read here
            raise
        except Exception as error:  # a head of somebody else's may hold anything
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise InputError(
                f"the head of {self.path} can't score these embeddings: {reason}"
            ) from error

    def own_cache(self) -> Cache:
        """Open the cache that the run was fitted on.

        Raises
        ------
        NotACacheError
            When it isn't where it was, or is damaged.
        """
        place = Path(self.record.cache)
        try:
            return open_cache(place)
        except NotACacheError as error:
            if is_there(place):
                raise
            raise NotACacheError(
                f"there is no cache at {place}, where {self.path} was fitted",
                f"If it was moved, say where it is: `featx evaluate {self.path} CACHE`, "
                f"`featx report {self.path} --cache CACHE`.",
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
        mine, copies = self.record.extraction.model_dump(mode="json"), bool(self.record.tta)
        require_equal(
            f"the run {self.path} doesn't fit the cache {cache.path}",
            embedding_fields(mine, copies=copies),
            embedding_fields(cache.spec, copies=copies),
            "Extract the images again with the run's settings.",
        )
        if cache.classes != self.record.classes:
            raise InputError(
                f"the run {self.path} tells {' from '.join(self.record.classes)}, and the cache "
                f"{cache.path} has {' and '.join(cache.classes)}",
                "Extract the images again with `classes` NEGATIVE,POSITIVE as in the run.",
            )

    def backbone(
        self, weights: str | None = None, *, precision: Precision | None = None
    ) -> Backbone:
        """Load the backbone that made the run's embeddings.

        Parameters
        ----------
        weights
            Where its weights are now; None looks where they were.
        precision
            Of its arithmetic; None is what the embeddings were made with. Others differ a little.

        Raises
        ------
        SpecMismatchError
            When the weights aren't the ones that the run was fitted with.
        InputError, WeightsError
            When they aren't there, or can't be loaded.
        """
        spec = self.record.extraction.backbone
        if precision is not None:
            spec = spec.model_copy(update={"precision": precision})
        location = weights or self.record.weights
        saved = spec.architecture_sha256 is not None
        if saved and not location.endswith(SUFFIX):
            raise InputError(
                f"the backbone of the run {self.path} is a saved model, which {location} is not",
                f"Give its {SUFFIX} file with `weights` FILE.",
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
            "Give the run's own weights with `weights` FILE.",
        )
        return backbone

    @cached_property
    def fitted_images(self) -> set[str]:
        """SHA-256 of the images that the run was fitted on."""
        return set(self.read(TRAINING_NAME, Path.read_text).split())


def _scores_in(path: Path, classes: tuple[str, str]) -> pd.DataFrame:
    """Read out-of-fold scores; see `Run.out_of_fold`."""
    try:
        table = pd.read_csv(
            path,
            dtype={"path": object, "label": object, "group": object, "fold": int, "score": object},
            keep_default_na=False,
            encoding_errors="surrogateescape",
        )
        # As text first: not every parser of pandas gives the very float that was written.
        scores = table[["path", "label", "group", "fold", "score"]]["score"].astype(float)
        for name, read in (("path", as_path), ("label", as_text), ("group", as_text)):
            kind = table[name].dtype
            table[name] = pd.Series([*map(read, table[name])], table.index, dtype=kind)
        if not np.isfinite(scores).all() or set(table["label"]) != set(classes):
            raise ValueError("it needs scores of images of both classes")
    except (ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged: {reason}", "Fit the run again.") from error
    return table.assign(score=scores)
