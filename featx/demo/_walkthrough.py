"""The whole main job on drawn X-rays: data, embeddings, three heads, evaluation, report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from featx._progress import Progress, progress_of
from featx._run import Run, load_run
from featx.backbones import load_backbone
from featx.backbones._weights import has_imagenet_weights
from featx.data import load_manifest
from featx.demo._phantoms import write_phantoms
from featx.errors import InputError, NoFeasibleThresholdError
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx.reports import report
from featx.scoring import Evaluation
from featx_cache import Cache, open_cache
from featx_cache.files import atomic_folder, atomic_path, make_folder

MARKER_NAME = "featx-demo.txt"
DEMO_HEADS = ("keras", "svm", "logreg")
ACCURACY_FLOOR = 0.9
_NEW_FOLDER = "Give `out` a new folder."


@dataclass(frozen=True, slots=True)
class DemoSize:
    """Amount of work of a demo.

    Attributes
    ----------
    patients
        Number of drawn patients, each with one to three images.
    input_size
        Side of VGG19's input in pixels.
    copies
        Number of augmented copies of each training image.
    epochs
        Number of epochs of the Keras head.

    Examples
    --------
    >>> DemoSize.tiny().patients, DemoSize().patients
    (40, 120)
    """

    patients: int = 120
    input_size: int = 96
    copies: int = 2
    epochs: int = 4

    @classmethod
    def tiny(cls) -> DemoSize:
        """Return the size of a demo that only shows that everything works."""
        return cls(patients=40, input_size=64, copies=1, epochs=2)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Results of the demo.

    Attributes
    ----------
    weights
        Weights of VGG19: ``imagenet`` or ``random``.
    results
        Run of each head, and its evaluation on the test split.
    data, cache, report
        Places of the images, of the embeddings and of the report.

    Examples
    --------
    >>> run, evaluation = run_demo("demo-output").results[0]  # doctest: +SKIP
    >>> evaluation.metrics.recall  # doctest: +SKIP
    """

    weights: str
    results: list[tuple[Run, Evaluation]]
    data: Path
    cache: Path
    report: Path


def run_demo(
    out: str | Path,
    size: DemoSize | None = None,
    *,
    seed: int = 0,
    progress: Progress | bool = True,
) -> DemoResult:
    """Draw phantoms, extract embeddings, fit three heads, evaluate on the test split, report.

    Parameters
    ----------
    out
        Folder for everything. A demo that is there already is continued.
    size
        Amount of work.
    seed
        Seed of the drawings, the copies and the heads.
    progress
        Bars by default. False is silent.

    Raises
    ------
    InputError
        If `out` has something else in it, or a demo of another size or seed.

    Examples
    --------
    >>> run_demo("demo-output", DemoSize.tiny()).report  # doctest: +SKIP
    PosixPath('demo-output/report.html')
    """
    out, size, shown = Path(out), size or DemoSize(), progress_of(progress)
    _claim(out, f"{size} seed={seed}\n")
    data = out / "phantoms" / "images"
    if not data.is_dir():
        shown.note(f"Drawing chest phantoms of {size.patients} patients")
        with atomic_folder(out / "phantoms", replace=False) as drawing:
            masks = drawing / "lesion_masks"
            write_phantoms(drawing / "images", patients=size.patients, seed=seed, masks=masks)
    weights = "imagenet" if has_imagenet_weights("vgg19") else "random"
    if weights == "random":
        shown.note(
            "Keras has no ImageNet weights of VGG19 on this machine: the demo uses seeded random "
            "ones, so its embeddings are untrained."
        )
    backbone = load_backbone("vgg19", weights=weights, input_size=size.input_size, seed=seed)
    augmentation = AugmentationSpec(copies=size.copies, seed=seed)
    manifest = load_manifest(data, progress=shown)
    extract(manifest, out / "cache", backbone, augmentation=augmentation, progress=shown)
    cache, results = open_cache(out / "cache"), []
    for name in DEMO_HEADS:
        settings = {"epochs": size.epochs} if name == "keras" else {}
        spec = HeadSpec.choose(name, seed=seed, settings=settings)
        run = _fit(cache, spec, out / "runs" / name, shown)
        results.append((run, run.evaluate(progress=shown)))
    runs = [run for run, _ in results]
    page = report(runs, title="featx demo on drawn chest X-rays", progress=shown)
    written = page.save(out / "report.html", force=True)
    return DemoResult(weights, results, data, cache.path, written.html)


def _claim(out: Path, settings: str) -> None:
    """Make the folder of a demo, or refuse one that has something else in it."""
    marker = out / MARKER_NAME
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, not a folder", _NEW_FOLDER, parameter="out")
    if marker.is_file():
        if marker.read_text() != settings:
            raise InputError(
                f"{out} holds a demo of another size or seed",
                "Delete it, or give `out` a new folder.",
                parameter="out",
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and not a demo", _NEW_FOLDER, parameter="out")
    make_folder(out)
    with atomic_path(marker) as temporary:
        temporary.write_text(settings)


def _fit(cache: Cache, spec: HeadSpec, run: Path, progress: Progress) -> Run:
    """Fit a head at the usual accuracy floor, or at one that untrained embeddings can keep."""
    try:
        fit(cache, spec, run, accuracy_floor=ACCURACY_FLOOR, force=True, progress=progress)
    except NoFeasibleThresholdError as error:
        floor = math.floor(error.best_accuracy * 20) / 20
        progress.note(
            f"{spec.name}: no threshold reaches accuracy {ACCURACY_FLOOR:g} out of fold, "
            f"the best is {error.best_accuracy:.3f}; taking the floor {floor:g}"
        )
        fit(cache, spec, run, accuracy_floor=floor, resume=True, force=True, progress=progress)
    return load_run(run)
