"""A run and all that can be done with it: what users hold in their hands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec

import pandas as pd

from featx._arguments import wrong_type
from featx._progress import Progress
from featx.backbones import Backbone
from featx.data import ReadingOptions
from featx.errors import InputError
from featx.evaluation._prevalence import require_share
from featx.explain import Explanations, explain_images
from featx.exporting import Export, export_onnx
from featx.populations import (
    PerformanceEstimate,
    ProtocolReport,
    StressReport,
    calibrate,
    calibrate_unlabelled,
    estimate_performance,
    score_unlabelled,
    shift_protocol,
    stress_protocol,
    suggest_labels,
)
from featx.populations._label_shift import refuse_with_unlabelled
from featx.populations._stress_protocol import IMAGES
from featx.runs import FittedRun
from featx.scoring import (
    Evaluation,
    Predictions,
    ScoringOptions,
    predict_runs,
    score_data,
)
from featx.scoring._comparison import compare_scored
from featx.scoring._evaluation import evaluate_scored
from featx.scoring._find_images import Images, list_images
from featx.scoring._labelled_data import Data
from featx.scoring._run_names import names_of
from featx_cache import Cache

P = ParamSpec("P")


class Run(FittedRun):
    """A run directory. `featx.fit` and `featx.tune` make one, `featx.load_run` opens it.

    Examples
    --------
    >>> run = featx.load_run("runs/logreg")  # doctest: +SKIP
    >>> run  # doctest: +SKIP
    Run(runs/logreg: logreg, threshold 0.412, out of fold recall 0.968, accuracy 0.951)
    >>> run.evaluate()  # doctest: +SKIP
    Evaluation(logreg on test: recall 0.960, accuracy 0.910, ROC AUC 0.970, 62 images)
    >>> run.predict("new_patients/").to_frame()  # doctest: +SKIP
    >>> run.explain(["a.png"])  # doctest: +SKIP
    >>> run.calibrate("our_hospital/", "runs/ours", accuracy_floor=0.9)  # doctest: +SKIP
    """

    def evaluate(  # noqa: PLR0913
        self,
        data: Data | None = None,
        *,
        split: str | None = None,
        by: str | Sequence[str] = (),
        prevalence: float | None = None,
        compare: FittedRun | Sequence[FittedRun] = (),
        keep_known_patients: bool = False,
        cache: str | Path | None = None,
        weights: str | None = None,
        reading: ReadingOptions | None = None,
        progress: Progress | bool = True,
    ) -> Evaluation:
        """Measure the run at its own threshold on images that it wasn't fitted on.

        Images that it was fitted on, other images of the same patients and near duplicates are left
        out and counted. The images are compared with those that it was fitted on.

        Parameters
        ----------
        data
            Labelled images: a cache, a manifest, a DataFrame, or a path to a cache or to anything
            that `featx.load_manifest` reads. Images are embedded as the run's own were. None takes
            the cache that the run was fitted on.
        split
            Split to take. ``"all"`` takes every image. None takes ``"test"``, or all images if
            there is no such split.
        by
            Column or columns of the manifest to divide the images by, or ``"size"``.
        prevalence
            Share of the sick among the people for whom the run will be used: predictive values are
            given for there, too.
        compare
            Other runs, which are tested against this one on the same images.
        keep_known_patients
            Whether images of patients that the run was fitted on are measured, too: for data in
            which other people have the same names.
        cache
            Folder that keeps the embeddings of images. None makes a temporary one.
        weights
            Place of the backbone's weights, if they were moved since the fit.
        reading
            Way to read the images. `ReadingOptions(classes=("healthy", "ill"))` says what the data
            call the negative and the positive class.
        progress
            Bars by default. False is silent.

        Returns
        -------
        Evaluation
            Metrics with 95 % intervals by patients, the scores, the images left out, subgroups, the
            shift from the training images, and the comparison with other runs.

        Raises
        ------
        InputError
            If the split is empty, nothing is left of it, there is no such column, or the data have
            no labels or other classes.
        SpecMismatchError
            If a cache has embeddings by another backbone.

        Examples
        --------
        >>> run.evaluate()  # doctest: +SKIP
        >>> run.evaluate("other_hospital/", by=["size"], prevalence=0.05)  # doctest: +SKIP
        """
        if prevalence is not None:
            require_share(prevalence)
        runs = [self, *([compare] if isinstance(compare, FittedRun) else compare)]
        if strangers := [run for run in runs if not isinstance(run, FittedRun)]:
            raise wrong_type("compare", strangers[0], "runs that `featx.load_run` opened")
        by = [by] if isinstance(by, str) else by
        names_of(runs)  # which refuses a run that is there twice
        options = _options(split, keep_known_patients, cache, weights, reading)
        scored = score_data(runs, data, options, by=by, progress=progress)
        comparison = compare_scored(list(zip(runs, scored, strict=True))) if compare else None
        return evaluate_scored(self, scored[0], by=by, prevalence=prevalence, comparison=comparison)

    def estimate(
        self,
        images: Cache | str | Path,
        *,
        labels: pd.DataFrame | str | Path | None = None,
        keep_known_patients: bool = False,
        weights: str | None = None,
        reading: ReadingOptions | None = None,
        progress: Progress | bool = True,
    ) -> PerformanceEstimate:
        """Estimate accuracy, recall and specificity on images without labels, or with a few.

        Parameters
        ----------
        images
            Image file, folder of images, or cache of them. Labels in it aren't looked at.
        labels
            Labels of 20 images or more: a CSV file or table with the columns path and label, such
            as that of `suggest_labels` with its labels filled in.
        keep_known_patients
            Whether images in a cache are kept if the run knows their patients. The files that it
            was fitted on are always left out.
        weights, progress
            See `evaluate`.
        reading
            Way to tell the patient, `ReadingOptions(group_regex=...)`.

        Returns
        -------
        PerformanceEstimate
            Metrics with 95 % intervals, and what they rest on.

        Raises
        ------
        InputError
            If there are too few images or labels, or a label can't be used.
        EstimateError
            If the images are too unlike the training images for an estimate without labels.

        Examples
        --------
        >>> run.estimate("our_hospital/")  # doctest: +SKIP
        >>> run.estimate("our_hospital/", labels="labels.csv").to_frame()  # doctest: +SKIP
        """
        options = _options("all", keep_known_patients, None, weights, reading)
        return estimate_performance(self, images, labels=labels, options=options, progress=progress)

    def suggest_labels(
        self,
        images: Cache | str | Path,
        number: int = 50,
        *,
        keep_known_patients: bool = False,
        weights: str | None = None,
        reading: ReadingOptions | None = None,
        progress: Progress | bool = True,
    ) -> pd.DataFrame:
        """Choose the images of a new site to label first, one image of a patient.

        Half of them lie around the threshold, the others at all scores. `estimate` takes the table
        with its labels filled in, and so does `calibrate`.

        Parameters
        ----------
        images, keep_known_patients, weights, reading, progress
            See `estimate`.
        number
            Number of images.

        Returns
        -------
        DataFrame
            One row an image: path (below the folder), score, verdict, label (empty), and
            sampling_weight, the number of images that it stands for.

        Raises
        ------
        InputError
            If there are fewer patients than images were asked for.

        Examples
        --------
        >>> table = run.suggest_labels("our_hospital/", 50)  # doctest: +SKIP
        >>> table.to_csv("labels.csv", index=False)  # doctest: +SKIP
        """
        options = _options("all", keep_known_patients, None, weights, reading)
        found = score_unlabelled(self, images, options, progress=progress)
        return suggest_labels(self, found, number, seed=self.record.seed)

    def predict(
        self,
        images: Images,
        *,
        backbone: Backbone | None = None,
        weights: str | None = None,
        progress: Progress | bool = True,
    ) -> Predictions:
        """Decode, embed and score image files with the run's own settings.

        Parameters
        ----------
        images
            Image file, folder with images anywhere below it, or several of these.
        backbone
            The run's backbone, if it is loaded already.
        weights
            Place of the backbone's weights, if they were moved since the fit.
        progress
            Bars by default. False is silent.

        Returns
        -------
        Predictions
            One row an image, in the order of `images`. A file that can't be read has an error and
            no score.

        Raises
        ------
        InputError
            If a path doesn't exist, a folder has no images, or a file of the run is damaged.
        SpecMismatchError, WeightsError
            See `FittedRun.backbone`.

        Notes
        -----
        `featx.scoring.predict_runs` predicts with several runs, and embeds once for those that
        embed alike. `featx.scoring.predict_images` takes any number of files, and yields
        predictions one after another.

        Examples
        --------
        >>> found = run.predict("new_patients/")  # doctest: +SKIP
        >>> found.to_frame()[["path", "score", "prediction"]]  # doctest: +SKIP
        """
        backbones = None if backbone is None else [backbone]
        (found,) = predict_runs(
            [self], images, backbones=backbones, weights=weights, progress=progress
        ).values()
        return found

    def explain(
        self,
        images: Images,
        out: str | Path | None = None,
        *,
        backbone: Backbone | None = None,
        weights: str | None = None,
        force: bool = False,
        progress: Progress | bool = True,
    ) -> Explanations:
        """Draw what each verdict came from: a heat map over the image.

        Parameters
        ----------
        images, backbone, weights, progress
            See `predict`.
        out
            Folder for a figure of each image and tables of all. None writes nothing: a notebook
            shows the figures.
        force
            Whether explanations that are in `out` already are replaced.

        Returns
        -------
        Explanations
            One row an image, in the order of `images`.

        Raises
        ------
        InputError
            See `predict` and `featx.explain.explain_images`.

        Examples
        --------
        >>> run.explain(["a.png"])  # doctest: +SKIP
        >>> run.explain("new_patients/", "explained")  # doctest: +SKIP
        """
        return explain_images(
            self,
            list_images(images),
            out,
            backbone=backbone or self.backbone(weights),
            force=force,
            progress=progress,
        )

    def calibrate(  # noqa: PLR0913
        self,
        data: Data,
        run: str | Path,
        *,
        accuracy_floor: float | None = None,
        recall_floor: float | None = None,
        specificity_floor: float | None = None,
        cost: tuple[float, float] | None = None,
        youden: bool = False,
        recalibrate: Literal["sigmoid", "temperature"] | None = None,
        guarantee: float | None = None,
        unlabelled: bool = False,
        split: str = "all",
        keep_known_patients: bool = False,
        cache: str | Path | None = None,
        weights: str | None = None,
        reading: ReadingOptions | None = None,
        force: bool = False,
        progress: Progress | bool = True,
    ) -> Run:
        """Choose the threshold anew on images of another population. The head stays as it is.

        Parameters
        ----------
        data
            Images of that population. See `evaluate`.
        run
            Directory of the new run. This run stays as it is.
        accuracy_floor, recall_floor, specificity_floor, cost, youden
            Criterion of the threshold there; see `featx.choose_threshold`. If none of them is
            given, it is the run's own.
        recalibrate
            Method that makes scores probabilities there, too. None leaves the scores as they are.
        guarantee
            Confidence with which the floors are promised for new patients, such as 0.9. None
            promises nothing.
        unlabelled
            Whether labels aren't known: then the run is corrected for another share of the sick
            only, under the assumption that nothing else differs. `data` is a path or a cache.
        split
            Split to choose on. ``"all"`` takes every image.
        keep_known_patients, cache, weights, reading, progress
            See `evaluate`.
        force
            Whether a run that is there already is replaced.

        Returns
        -------
        Run
            The new run. ``run.record.calibrated`` has the old and the new operating point.
            `featx.populations.calibrate` returns them as a report.

        Raises
        ------
        InputError
            If the new run exists, a floor is out of range, or a class has too few patients.
        NoFeasibleThresholdError
            If no threshold reaches the floors on these images, or nothing can be promised.

        Examples
        --------
        >>> run.calibrate("our_hospital/", "runs/ours", accuracy_floor=0.9)  # doctest: +SKIP
        """
        options = _options(split, keep_known_patients, cache, weights, reading)
        criterion: dict[str, Any] = {
            "accuracy_floor": accuracy_floor,
            "recall_floor": recall_floor,
            "specificity_floor": specificity_floor,
            "cost": cost,
            "youden": youden,
        }
        if unlabelled:
            refuse_with_unlabelled(recalibrate=recalibrate, guarantee=guarantee, cache=cache)
            if not isinstance(data, Cache | str | Path):
                raise InputError(
                    "images without labels are a path or a cache",
                    "Give one, or leave out `unlabelled=True`.",
                    parameter="data",
                )
            calibrate_unlabelled(
                self,
                data,
                run,
                **criterion,
                options=options,
                force=force,
                progress=progress,
            )
        else:
            calibrate(
                self,
                data,
                run,
                **criterion,
                recalibrate=recalibrate,
                guarantee=guarantee,
                options=options,
                force=force,
                progress=progress,
            )
        return Run(run, self.trusted, self.runtime)

    def shift_protocol(
        self,
        columns: Sequence[str] = (),
        *,
        cache: Cache | str | Path | None = None,
        progress: Progress | bool = True,
    ) -> ProtocolReport:
        """Train the run's head anew on one side of a seam of its data, and use it on the other.

        Parameters
        ----------
        columns
            Columns of the manifest to divide the images by, such as the hospital.
        cache
            Cache to train on. None takes the one that the run was fitted on.
        progress
            Bars by default. False is silent.

        Raises
        ------
        InputError
            If there is no seam, or too few patients on a side.

        Examples
        --------
        >>> run.shift_protocol(["hospital"]).to_frame()  # doctest: +SKIP
        """
        return shift_protocol(self, cache, columns=columns, progress=progress)

    def stress_protocol(
        self,
        data: Cache | str | Path | None = None,
        *,
        images: int | None = IMAGES,
        disturbances: Sequence[str] = (),
        seed: int = 0,
        weights: str | None = None,
        progress: Progress | bool = True,
    ) -> StressReport:
        """Score disturbed images of held-out patients, and images in which a shortcut misleads.

        See `featx.populations.stress_protocol`, which has the parameters.

        Examples
        --------
        >>> run.stress_protocol(disturbances=["blur", "noise"]).to_frame()  # doctest: +SKIP
        """
        return stress_protocol(
            self,
            data,
            images=images,
            disturbances=disturbances,
            seed=seed,
            weights=weights,
            progress=progress,
        )

    def export_onnx(
        self, path: str | Path, *, weights: str | None = None, force: bool = False
    ) -> Export:
        """Write backbone, head and recalibration as one ONNX graph, for programs without featx.

        Parameters
        ----------
        path
            File to write.
        weights
            Place of the backbone's weights, if they were moved since the fit.
        force
            Whether a file that is there already is replaced.

        Raises
        ------
        InputError
            If a file is there already, a package of ``featx[onnx]`` is missing, or the run can't be
            written so.

        Examples
        --------
        >>> run.export_onnx("model.onnx").metadata["threshold"]  # doctest: +SKIP
        """
        return export_onnx(self, path, weights=weights, force=force)


def load_run(
    path: str | Path,
    trusted: Iterable[str] = (),
    *,
    runtime: Literal["tensorflow", "ncnn"] | None = None,
) -> Run:
    """Open a run directory that `featx.fit` wrote.

    Parameters
    ----------
    path
        Directory of the run.
    trusted
        Types that the head may hold besides those that featx knows. See `featx.heads.load_head`.
        Name only types whose code you know.
    runtime
        Library that computes the backbone for `Run.predict`, `Run.evaluate`, `Run.calibrate` and
        `Run.explain`. None is the one that made the run's embeddings. In float32 the embeddings of
        two runtimes differ by less than 0.0005 of the largest value.

    Raises
    ------
    InputError
        If it isn't a run, or a file of it is missing or damaged.

    Examples
    --------
    >>> run = featx.load_run("runs/logreg")  # doctest: +SKIP
    >>> run.record.threshold  # doctest: +SKIP
    """
    return Run(path, trusted, runtime)


def as_run(verb: Callable[P, FittedRun]) -> Callable[P, Run]:
    """Return a verb that gives a `Run`, with all that can be done with it, for a fitted run."""

    @functools.wraps(verb)
    def run(*args: P.args, **options: P.kwargs) -> Run:
        made = verb(*args, **options)
        return Run(made.path, made.trusted, made.runtime)

    run.__doc__ = (verb.__doc__ or "").replace("FittedRun", "Run")
    return run


def _options(
    split: str | None,
    keep_known_patients: bool,
    cache: str | Path | None,
    weights: str | None,
    reading: ReadingOptions | None,
) -> ScoringOptions:
    return ScoringOptions(
        split=split,
        keep_known_patients=keep_known_patients,
        cache=None if cache is None else Path(cache),
        weights=weights,
        reading=reading or ReadingOptions(),
    )
