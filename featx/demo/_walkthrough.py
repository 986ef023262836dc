"""The whole main job on drawn X-rays: data, embeddings, three heads, evaluation, report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from featx._progress import SILENT, Progress
from featx._run import Run, load_run
from featx.backbones import load_backbone
from featx.backbones._weights import has_imagenet_weights
from featx.data import scan_folder
from featx.demo._phantoms import write_phantoms
from featx.errors import InputError, NoFeasibleThresholdError
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx.reports import write_report
from featx.scoring import Evaluation
from featx_cache import open_cache
from featx_cache.files import atomic_folder, atomic_path, make_folder

MARKER = "featx-demo.txt"
DEMO_HEADS = ("keras", "svm", "logreg")


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much the demo does.

    Attributes
    ----------
    patients
        Drawn patients, each with one to three images.
    input_size
        Of VGG19, in pixels.
    copies
        Augmented copies of each training image.
    epochs
        Of the Keras head.
    """

    patients: int
    input_size: int
    copies: int
    epochs: int


DEFAULT_SIZE = DemoSize(patients=120, input_size=96, copies=2, epochs=4)
TINY_SIZE = DemoSize(patients=40, input_size=64, copies=1, epochs=2)
ACCURACY_FLOOR = 0.9


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    weights
        ``imagenet`` or ``random``.
    results
        A run and its evaluation on the test split for each head.
    data, cache, report
        Where things are.
    """

    weights: str
    results: list[tuple[Run, Evaluation]]
    data: Path
    cache: Path
    report: Path


def run_demo(
    out: Path, size: DemoSize = DEFAULT_SIZE, *, seed: int = 0, progress: Progress = SILENT
) -> DemoResult:
    """Draw phantoms, extract embeddings, fit every head, evaluate on the test split, report.

    Parameters
    ----------
    out
        Folder for everything; a demo that is there already is gone on with.
    size
        How much to do.
    seed
        Of everything.

    Raises
    ------
    InputError
        When `out` has something else in it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, not a folder", "Give `out` a new folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise InputError(f"{out} is not empty and not a demo", "Give `out` a new folder.")
    make_folder(out)
    settings = f"{size} seed={seed}\n"
    if (out / MARKER).is_file() and (out / MARKER).read_text() != settings:
        raise InputError(
            f"{out} holds a demo of another size or seed", "Delete it, or give `out` a new folder."
        )
    if not (out / MARKER).exists():
        with atomic_path(out / MARKER) as temporary:
            temporary.write_text(settings)
    data = out / "phantoms" / "images"
    if not data.is_dir():
        progress.note(f"Drawing chest phantoms of {size.patients} patients")
        with atomic_folder(out / "phantoms", replace=False) as drawing:
            write_phantoms(
                drawing / "images",
                patients=size.patients,
                seed=seed,
                masks=drawing / "lesion_masks",
            )
    weights = "imagenet" if has_imagenet_weights("vgg19") else "random"
    if weights == "random":
        progress.note(
            "Keras has no ImageNet weights of VGG19 on this machine: the demo uses seeded random "
            "ones, so its embeddings are untrained."
        )
    backbone = load_backbone("vgg19", weights=weights, input_size=size.input_size, seed=seed)
    augmentation = AugmentationSpec(copies=size.copies, seed=seed)
    manifest = scan_folder(data, progress=progress)
    extract(manifest, out / "cache", backbone, augmentation=augmentation, progress=progress)
    results = []
    for name in DEMO_HEADS:
        chosen = {"epochs": size.epochs} if name == "keras" else {}
        spec = HeadSpec.choose(name, seed=seed, settings=chosen)
        run = _fit(out / "cache", spec, out / "runs" / name, progress)
        results.append((run, run.evaluate(progress=progress)))
    report = write_report(
        [run for run, _ in results],
        out / "report.html",
        title="featx demo on drawn chest X-rays",
        force=True,
        progress=progress,
    )
    return DemoResult(weights, results, data, out / "cache", report.html)


def _fit(cache: Path, spec: HeadSpec, run: Path, progress: Progress) -> Run:
    """Fit a head at the usual accuracy floor, or at one that untrained embeddings can keep."""

    def at(floor: float, *, resume: bool = False) -> Run:
        fit(
            open_cache(cache),
            spec,
            run,
            accuracy_floor=floor,
            resume=resume,
            force=True,
            progress=progress,
        )
        return load_run(run)

    try:
        return at(ACCURACY_FLOOR)
    except NoFeasibleThresholdError as error:
        floor = math.floor(error.best_accuracy * 20) / 20
        progress.note(
            f"{spec.name}: no threshold reaches accuracy {ACCURACY_FLOOR:g} out of fold, "
            f"the best is {error.best_accuracy:.3f}; taking the floor {floor:g}"
        )
        return at(floor, resume=True)
