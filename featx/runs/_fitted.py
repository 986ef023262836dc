"""A run that was fitted before: its files, its head, its scores, and the backbone behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._arguments import names_of_types
from featx._scores import Scores
from featx._specs import require_equal
from featx.backbones import Backbone, load_backbone
from featx.backbones._mini import MINI
from featx.backbones._onnx_network import is_onnx
from featx.backbones._saved import SUFFIX
from featx.backbones._spec import Precision
from featx.backbones._standardization import STANDARDIZATION_NAME, load_standardization
from featx.errors import FeatxError, InputError, NotACacheError
from featx.evaluation import Reference, counts_in_words
from featx.evaluation._metrics import metrics_frame, metrics_html
from featx.extraction import ExtractionSpec
from featx.extraction._spec import embedding_fields
from featx.heads import Head, load_head
from featx.runs._files import RunFiles
from featx.runs._record import (
    OOF_COPIES_NAME,
    OOF_NAME,
    REFERENCE_NAME,
    TRAINING_NAME,
    read_record,
)
from featx.thresholds import Recalibration, learn_platt
from featx.training._data import ChooseOn
from featx.training._scoring import scores_of
from featx_cache import Cache, LazyEmbeddings, open_cache
from featx_cache._spreadsheets import as_path, as_text
from featx_cache._text import first_line, printable
from featx_cache.files import is_there

T = TypeVar("T")


class FittedRun:
    """A run directory: its record, its head, its scores, and what they were made of.

    Parameters
    ----------
    path
        Directory of the run.
    trusted
        Types that the head may hold besides those that featx knows. See `featx.heads.load_head`.
    runtime
        Library that computes the backbone. None is the one that made the run's embeddings. Another
        one's differ a little.

    Examples
    --------
    >>> run = FittedRun("runs/logreg")  # doctest: +SKIP
    >>> run.record.threshold, run.head.classes_  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path,
        trusted: Iterable[str] = (),
        runtime: Literal["tensorflow", "ncnn"] | None = None,
    ) -> None:
        self.path, self.trusted, self.runtime = Path(path), names_of_types(trusted), runtime
        self.record = read_record(self.path)
        self._files = RunFiles(self.path.absolute(), self.record)

    @cached_property
    def head(self) -> Head:
        """The fitted classifier, which works wherever scikit-learn takes one.

        It takes embeddings of shape (images, rows, columns, channels) as a cache holds them
        (`Cache.as_arrays`), of untouched images, and its `classes_` are 0 and 1 for the positive
        class. Its probabilities are the head's own: `score` recalibrates them where the run does,
        and the threshold is `record.threshold`.

        Examples
        --------
        >>> X, y, groups = cache.as_arrays(("test",), copies=0)  # doctest: +SKIP
        >>> run.head.predict_proba(X)[:, 1] >= run.record.threshold  # doctest: +SKIP
        """
        return self.read(self.record.head_file, partial(load_head, trusted=self.trusted))

    @cached_property
    def extraction(self) -> ExtractionSpec:
        """Spec of the embeddings that it scores, which are of the `runtime` that was asked for."""
        spec = self.record.extraction
        if self.runtime is None or self.runtime == spec.backbone.runtime:
            return spec
        # Both ways, float32 is what the two have in common.
        other = {"runtime": self.runtime, "precision": "float32"}
        return spec.model_copy(update={"backbone": spec.backbone.model_copy(update=other)})

    def file(self, name: str) -> Path:
        """Return the path of a file of the run. See `RunFiles.path`."""
        return self._files.path(name)

    def read(self, name: str, reader: Callable[[Path], T]) -> T:
        """Read a file of the run. See `RunFiles.read`."""
        return self._files.read(name, reader)

    @cached_property
    def out_of_fold(self) -> pd.DataFrame:
        """Scores of the images that it was fitted on, by heads that hadn't seen their patients.

        Returns
        -------
        DataFrame
            One row an image: path, label, group (text), fold, score.

        Raises
        ------
        InputError
            If the file is missing or damaged.
        """
        table = self.head_out_of_fold
        return table.assign(score=self.recalibrated(table["score"].to_numpy(np.float64)))

    @property
    def has_out_of_fold(self) -> bool:
        """Whether the run has out-of-fold scores. Earlier versions wrote none.

        A new run that lacks the file is damaged, and `out_of_fold` says so.
        """
        return bool(self.record.files) or (self.path / OOF_NAME).exists()

    @cached_property
    def scores(self) -> Scores:
        """Out-of-fold scores with labels and patients. See `out_of_fold`."""
        return Scores.from_table(self.out_of_fold, self.record.classes, "out of fold")

    @cached_property
    def out_of_fold_copies(self) -> pd.DataFrame:
        """Scores of augmented copies, by heads that hadn't seen their patients.

        Returns
        -------
        DataFrame
            One row a copy: path, label, group (text), fold, copy, score. Empty if the run has none.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        table = self.head_copies
        return table.assign(score=self.recalibrated(table["score"].to_numpy(np.float64)))

    @cached_property
    def chosen_scores(self) -> Scores:
        """Out-of-fold scores that the threshold was chosen on. See `RunRecord.choose_on`."""
        return self._scores_of(self.record.choose_on)

    @cached_property
    def copies_scores(self) -> Scores:
        """Out-of-fold scores of copies. See `out_of_fold_copies`."""
        return self._scores_of("copies")

    def _scores_of(self, which: ChooseOn) -> Scores:
        classes = self.record.classes
        return scores_of(self.out_of_fold, self.out_of_fold_copies, which, classes)

    @cached_property
    def head_out_of_fold(self) -> pd.DataFrame:
        """The head's own out-of-fold scores, before any recalibration. See `out_of_fold`."""
        return self.read(OOF_NAME, lambda path: _scores_in(path, self.record.classes))

    @cached_property
    def head_copies(self) -> pd.DataFrame:
        """The head's own scores of copies, before any recalibration. See `out_of_fold_copies`."""
        if OOF_COPIES_NAME not in self.record.files:
            return self.head_out_of_fold.iloc[:0].assign(copy=0)
        # Of a class that is in val alone there are no copies.
        return self.read(OOF_COPIES_NAME, lambda path: _scores_in(path, self.record.classes, 1))

    @cached_property
    def reference(self) -> Reference:
        """The images that it was fitted on, as far as other images are compared with them.

        Raises
        ------
        InputError
            If an earlier version of featx fitted the run, or the file is damaged.
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
        """Whether the run knows what its training images look like. See `reference`."""
        return (self.path / REFERENCE_NAME).exists() or REFERENCE_NAME in self.record.files

    @cached_property
    def calibration(self) -> Recalibration | None:
        """Map from scores to probabilities. None if scores are probabilities already.

        They are if the head was calibrated on held-out patients when it was fitted, or if the run
        was recalibrated. Otherwise it is Platt's map, learnt on the out-of-fold scores.

        Raises
        ------
        InputError
            If the out-of-fold scores are missing or damaged.
        """
        if self.record.recalibration is not None or self.record.head.calibration is not None:
            return None
        return learn_platt(self.scores)

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of the positive class.

        They are those of a population with the training images' share of positives.

        Parameters
        ----------
        scores : ndarray of shape (images,)
            Scores of this run. See `score`.

        Returns
        -------
        ndarray of shape (images,), dtype float64
        """
        return scores if self.calibration is None else self.calibration.apply(scores)

    def recalibrated(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the head's scores into the run's: recalibrated where the run is.

        Parameters
        ----------
        scores : ndarray of shape (images,)
            Scores of the head, averaged over copies where the run does that.
        """
        recalibration = self.record.recalibration
        return scores if recalibration is None else recalibration.apply(scores)

    def score(self, embeddings: NDArray[np.floating] | LazyEmbeddings) -> NDArray[np.float64]:
        """Return the probability of the positive class, recalibrated where the run is.

        Parameters
        ----------
        embeddings : ndarray of shape (images, *embedding_shape)
            Embeddings, one for each image.

        Returns
        -------
        ndarray of shape (images,), dtype float64

        Raises
        ------
        InputError
            If the head refuses the embeddings.
        """
        return self.recalibrated(self.head_scores(embeddings))

    def head_scores(self, embeddings: NDArray[np.floating] | LazyEmbeddings) -> NDArray[np.float64]:
        """Return the head's own scores, before any recalibration. See `score`."""
        try:
            return np.asarray(self.head.predict_proba(embeddings)[:, 1], np.float64)
        except FeatxError:  # of a shard that is read here
            raise
        except Exception as error:  # a head of somebody else's may hold anything
            raise InputError(
                f"the head of {self.path} can't score these embeddings: {first_line(error)[:200]}"
            ) from error

    def own_cache(self) -> Cache:
        """Open the cache that the run was fitted on.

        Raises
        ------
        NotACacheError
            If it isn't where it was, or is damaged.
        """
        path = Path(self.record.cache)
        try:
            return open_cache(path)
        except NotACacheError as error:
            if is_there(path):
                raise
            raise NotACacheError(
                f"there is no cache at {path}, where {self.path} was fitted",
                "If it was moved, give `run.evaluate` or `featx.report` its new folder.",
            ) from error

    def require_match(self, cache: Cache) -> None:
        """Refuse a cache whose embeddings were made by another backbone.

        The number of augmented copies doesn't matter here: untouched images are scored.

        Raises
        ------
        SpecMismatchError
            If the backbone differs. It names each field that does.
        InputError
            If the classes differ.
        """
        mine, copies = self.extraction.model_dump(mode="json"), bool(self.record.tta)
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
                "Extract the images again with `classes=NEGATIVE,POSITIVE` as in the run.",
            )

    def backbone(
        self, weights: str | None = None, *, precision: Precision | None = None
    ) -> Backbone:
        """Load the backbone that made the run's embeddings.

        Parameters
        ----------
        weights
            Place of its weights. None looks where they were.
        precision
            Precision of its arithmetic in TensorFlow. None is what the embeddings were made with.
            Others differ a little.

        Raises
        ------
        SpecMismatchError
            If the weights aren't the ones that the run was fitted with.
        InputError, WeightsError
            If they aren't there, or can't be loaded.
        """
        spec = self.extraction.backbone
        if precision is not None:
            spec = spec.model_copy(update={"precision": precision, "runtime": "tensorflow"})
        location = weights or self.record.weights
        saved = spec.architecture_sha256 is not None
        onnx = self.record.extraction.backbone.runtime == "onnxruntime"
        if saved and weights is None and not Path(location).exists():
            raise InputError(
                f"the backbone of the run {self.path} isn't at {location}",
                "Give its place: `weights=FILE`.",
            )
        if saved and not (is_onnx(location) if onnx else location.endswith(SUFFIX)):
            kind = "an ONNX network" if onnx else "a saved model"
            files = ".onnx file or folder" if onnx else f"{SUFFIX} file"
            raise InputError(
                f"the backbone of the run {self.path} is {kind}, which {location} is not",
                f"Give its {files}: `weights=FILE`.",
            )
        backbone = load_backbone(
            location if saved else spec.name,
            weights="imagenet" if saved else location,
            input_size=spec.input_size,
            preprocess=None if spec.preprocess == "config" else spec.preprocess,
            precision=spec.precision,
            seed=spec.weights_seed or 0,
            layer=spec.layer,
            pool_extra=spec.pool_extra,
            runtime="auto" if spec.runtime == "onnxruntime" else spec.runtime,
            tokens=spec.tokens,
        )
        if spec.standardization is not None:
            file = self.file(STANDARDIZATION_NAME)
            backbone = backbone.with_standardization(load_standardization(file), file)
        require_equal(
            f"{location} is not the backbone that the run {self.path} was fitted with",
            spec.model_dump(mode="json"),
            backbone.spec.model_dump(mode="json"),
            "Install the version of featx that made the run, or extract and fit again."
            if (spec.name, location) == (MINI, "imagenet")
            else "Give the run's own weights: `weights=FILE`.",
        )
        return backbone

    @cached_property
    def fitted_images(self) -> set[str]:
        """SHA-256 of the images that the run was fitted on."""
        return set(self.read(TRAINING_NAME, Path.read_text).split())

    def to_frame(self) -> pd.DataFrame:
        """Return the metrics out of fold, one row each, with the ends of their 95 % intervals."""
        return metrics_frame(self.record.metrics["out_of_fold"])

    def __repr__(self) -> str:
        record, found = self.record, self.record.metrics["out_of_fold"]
        return printable(
            f"{type(self).__name__}({self.path}: {record.head.name}, threshold "
            f"{record.threshold:.6g}, out of fold recall {found['recall']:.3f}, "
            f"accuracy {found['accuracy']:.3f})"
        )

    def _repr_html_(self) -> str:
        record, found = self.record, self.record.metrics["out_of_fold"]
        table = self.to_frame()
        shown = table[table["metric"].isin(("recall", "accuracy", "specificity", "roc_auc"))]
        notes = [
            f"Threshold {record.threshold:.6g}: the {record.criterion.in_words} out of fold.",
            *filter(None, [record.search.note]),
            counts_in_words(found["confusion"], record.classes),
        ]
        if record.calibrated:
            notes = [
                f"Threshold {record.threshold:.6g}, calibrated on "
                f"{record.calibrated['images']:,} images of another population. The metrics are "
                "those of the training images, out of fold.",
                *filter(None, [record.calibrated.get("advice"), record.calibrated.get("shift")]),
            ]
        return metrics_html(shown, notes, title=f"{record.head.name}, out of fold ({self.path})")


_TEXT = ("path", "label", "group")


def _scores_in(path: Path, classes: tuple[str, str], least: int = 2) -> pd.DataFrame:
    """Read out-of-fold scores. See `FittedRun.out_of_fold`."""
    try:
        table = pd.read_csv(
            path,
            dtype={**dict.fromkeys(_TEXT, object), "fold": int, "copy": int, "score": object},
            keep_default_na=False,
            encoding_errors="surrogateescape",
        )
        # As text first: not every parser of pandas gives the very float that was written.
        scores = table[["path", "label", "group", "fold", "score"]]["score"].astype(float)
        for name, read in (("path", as_path), ("label", as_text), ("group", as_text)):
            kind = table[name].dtype
            table[name] = pd.Series([*map(read, table[name])], table.index, dtype=kind)
        labels = set(table["label"])
        if not np.isfinite(scores).all() or not labels <= set(classes) or len(labels) < least:
            raise ValueError("it needs scores of images of both classes")
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged: {first_line(error)}", "Fit the run again.") from error
    return table.assign(score=scores)
