"""The whole main job on drawn X-rays: two hospitals, three heads, a stress test, a report."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featx._progress import Advance, Progress, progress_of
from featx._run import Run, load_run
from featx._specs import spec_errors
from featx.backbones import Backbone, load_backbone
from featx.backbones._registry import architecture
from featx.data import load_manifest
from featx.demo._chapter import next_door_section
from featx.demo._hospitals import HOME, NEXT_DOOR
from featx.demo._network import DemoNetwork, choose_network
from featx.demo._phantoms import write_phantoms
from featx.demo._results import DemoHead, DemoResult
from featx.errors import InputError, NoFeasibleThresholdError
from featx.extraction import extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec, preset_augmentation
from featx.populations import DISTURBANCES
from featx.populations._stress_protocol import stress_runs
from featx.reports import report
from featx.reports._report import with_section
from featx_cache import Cache, open_cache
from featx_cache._text import plural
from featx_cache.files import atomic_folder, atomic_path, make_folder

MARKER_NAME = "featx-demo.txt"
DEMO_HEADS = ("keras", "svm", "logreg")
CHOSEN_FLOOR = 0.95
"""Accuracy floor at which thresholds are chosen. It has a margin above the one that is to be kept,
because a threshold of highest recall lies at its floor, and other films are a little different."""

STAGE = "stage"
"""Unit of the tasks that are the demo's stages. Other tasks run within them."""

LABELLED_SPLIT = "val"
"""Split of the next hospital's films on which the heads are calibrated there."""

_NEW_FOLDER = "Give `out` a new folder."
KERAS_SETTINGS: dict[str, Any] = {
    "architecture": "gap",
    "dense_units": (256,),
    "learning_rate": 0.002,
    "batch_size": 128,
    "copies_per_epoch": "all",
}
"""Settings of the Keras head: the study's network takes minutes instead of seconds."""


@dataclass(frozen=True, slots=True)
class DemoSize:
    """Amount of work of a demo.

    Attributes
    ----------
    patients
        Number of drawn patients at home, each with one to three films.
    next_door
        Number of drawn patients of the next hospital, each with one film.
    labelled
        Number of these whose labels are used to calibrate there.
    input_size
        Side of the network's input in pixels. None takes the one that suits the network.
    copies
        Number of augmented copies of each training image.
    epochs
        Number of epochs of the Keras head.
    disturbed
        Number of images in the stress test, at least 20. 0 leaves the test out.

    Examples
    --------
    >>> DemoSize.tiny().patients, DemoSize().patients
    (40, 200)
    """

    patients: int = 200
    next_door: int = 180
    labelled: int = 60
    input_size: int | None = None
    copies: int = 2
    epochs: int = 24
    disturbed: int = 20

    @classmethod
    def tiny(cls) -> DemoSize:
        """Return the size of a demo that only shows that everything works."""
        return cls(patients=40, next_door=40, labelled=20, copies=1, epochs=8, disturbed=0)


def run_demo(
    out: str | Path,
    size: DemoSize | None = None,
    *,
    seed: int = 0,
    backbone: str | None = None,
    offline: bool = False,
    progress: Progress | bool = True,
) -> DemoResult:
    """Draw phantoms of two hospitals, fit three heads at home, and use them at both.

    Films at home are embedded, with augmented copies, and three heads are fitted on them. They are
    measured on the test split, on disturbed images and at the next hospital, whose films look
    different: there each head is calibrated on a few labelled films. A report shows it all.

    Parameters
    ----------
    out
        Folder for everything. A demo that is there already is continued, with its network.
    size
        Amount of work.
    seed
        Seed of the drawings, the copies and the heads.
    backbone
        Name of the network. None takes VGG19, or VGG16, if its ImageNet weights are on this
        machine or can be fetched soon, else featx-mini.
    offline
        Whether nothing is fetched.
    progress
        Bars by default. False is silent.

    Raises
    ------
    InputError
        If `out` has something else in it, or a demo of another size, seed or network, or the seed
        is out of range.

    Examples
    --------
    >>> run_demo("demo-output", DemoSize.tiny()).report  # doctest: +SKIP
    PosixPath('demo-output/report.html')
    """
    out, size, stages = Path(out), size or DemoSize(), _Stages(progress_of(progress))
    with spec_errors():
        augmentation = preset_augmentation("shift", copies=size.copies, seed=seed)
    network = _claim(out, {**asdict(size), "seed": seed}, backbone, offline, stages)
    stages.tell(f"Network: {network.name}, because {network.reason}.")
    demo = _Demo(out, size, seed, augmentation, stages)
    demo.draw()
    input_size = size.input_size or network.input_size
    cache, there = demo.embed(load_backbone(network.name, input_size=input_size, seed=seed))
    with stages.stage(f"Fitting three heads: {', '.join(DEMO_HEADS)}"):
        runs = [demo.fit(cache, name) for name in DEMO_HEADS]
    stressed = demo.disturb(runs) if size.disturbed else {}
    with stages.stage(f"Next door: calibrating each head on {size.labelled} labelled films"):
        heads = tuple(demo.use_next_door(run, there, stressed.get(run.path)) for run in runs)
    with stages.stage("Writing the report"):
        page = report(
            runs,
            stress=list(stressed.values()),
            title="featx demo on drawn chest X-rays",
            progress=stages,
        )
        page = with_section(page, next_door_section(heads, size.labelled), after="glance")
        written = page.save(out / "report.html", force=True)
    return DemoResult(network.name, heads, demo.images, cache.path, written.html)


class _Stages:
    """Progress of the demo: its stages, the bars of what runs in them, but no notes of it."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def stage(self, description: str) -> Iterator[None]:
        """Show a stage while the block runs."""
        with self._shown.task(description, 1, STAGE) as advance:
            yield
            advance(1)

    def task(
        self, description: str, total: int, unit: str
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show a task within a stage."""
        return self._shown.task(description, total, unit)

    def note(self, message: str) -> None:
        """Leave out a note of what runs in a stage."""

    def tell(self, message: str) -> None:
        """Tell a note of the demo itself."""
        self._shown.note(message)


@dataclass(frozen=True, slots=True)
class _Demo:
    """The steps of a demo. Each keeps what an earlier, interrupted demo has finished."""

    out: Path
    size: DemoSize
    seed: int
    augmentation: AugmentationSpec
    stages: _Stages

    @property
    def images(self) -> Path:
        return self.out / "phantoms" / "images"

    @property
    def films_next_door(self) -> Path:
        return self.out / "next-door" / "images"

    def draw(self) -> None:
        size, seed = self.size, self.seed
        text = f"Drawing films of {size.patients} patients at home and {size.next_door} next door"
        with self.stages.stage(text):
            if not self.images.is_dir():
                with atomic_folder(self.images.parent, replace=False) as drawing:
                    write_phantoms(
                        drawing / self.images.name,
                        patients=size.patients,
                        seed=seed,
                        masks=drawing / "lesion_masks",
                        hospital=HOME,
                    )
            if not self.films_next_door.is_dir():
                labelled = size.labelled / size.next_door
                with atomic_folder(self.films_next_door.parent, replace=False) as drawing:
                    write_phantoms(
                        drawing / self.films_next_door.name,
                        patients=size.next_door,
                        seed=seed,
                        hospital=NEXT_DOOR,
                        shares={"test": 1 - labelled, LABELLED_SPLIT: labelled},
                    )

    def embed(self, backbone: Backbone) -> tuple[Cache, Cache]:
        """Embed the films of both hospitals, and return the caches."""
        home = load_manifest(self.images, progress=self.stages)
        there = load_manifest(self.films_next_door, progress=self.stages)
        places = self.out / "cache", self.out / "next-door" / "cache"
        copies = self.size.copies
        text = (
            f"Embedding {plural(len(home) + len(there), 'film')}, "
            f"those to train on with {copies} augmented {'copy' if copies == 1 else 'copies'}"
        )
        with self.stages.stage(text):
            extract(home, places[0], backbone, augmentation=self.augmentation, progress=self.stages)
            extract(there, places[1], backbone, progress=self.stages)
        return open_cache(places[0]), open_cache(places[1])

    def fit(self, cache: Cache, name: str) -> Run:
        """Fit a head at an accuracy floor that it can keep."""
        run = self.out / "runs" / name
        if run.is_dir():
            return load_run(run)
        settings = KERAS_SETTINGS | {"epochs": self.size.epochs} if name == "keras" else {}
        spec = HeadSpec.choose(name, seed=self.seed, settings=settings)

        def fit_at(floor: float) -> None:
            fit(cache, spec, run, accuracy_floor=floor, resume=True, progress=self.stages)

        self._keep_floor(name, fit_at)
        return load_run(run)

    def _keep_floor(self, what: str, choose_at: Callable[[float], object]) -> None:
        """Choose a threshold at the accuracy floor that is wanted, or at one that can be kept."""
        try:
            choose_at(CHOSEN_FLOOR)
        except NoFeasibleThresholdError as error:
            floor = math.floor(error.best_accuracy * 100) / 100
            self.stages.tell(
                f"{what}: no threshold reaches accuracy {CHOSEN_FLOOR:g}, the best is "
                f"{error.best_accuracy:.3f}; taking the floor {floor:g}"
            )
            choose_at(floor)

    def disturb(self, runs: Sequence[Run]) -> dict[Path, Path]:
        """Return the file with the result of the stress test of each run."""
        files = {run.path: self.out / "stress" / f"{run.path.name}.json" for run in runs}
        ways = sum(len(series.values) for series in DISTURBANCES.values())
        text = f"Stress test: {self.size.disturbed} films, each disturbed in {ways} ways"
        with self.stages.stage(text):
            if not all(file.is_file() for file in files.values()):
                make_folder(self.out / "stress")
                reports = stress_runs(
                    runs,
                    images=self.size.disturbed,
                    disturbances=list(DISTURBANCES),
                    seed=self.seed,
                    progress=self.stages,
                )
                for found, file in zip(reports, files.values(), strict=True):
                    with atomic_path(file) as temporary:
                        temporary.write_text(json.dumps(found.as_dict()))
        return files

    def use_next_door(self, run: Run, there: Cache, stress: Path | None) -> DemoHead:
        """Use a run at the next hospital, before and after it was calibrated there."""
        target = run.path.with_name(f"{run.path.name}-next-door")

        def calibrate_at(floor: float) -> None:
            run.calibrate(
                there,
                target,
                accuracy_floor=floor,
                split=LABELLED_SPLIT,
                progress=self.stages,
            )

        if not target.is_dir():
            self._keep_floor(f"{run.record.head.name}, next door", calibrate_at)
        calibrated = load_run(target)
        return DemoHead(
            run=run,
            test=run.evaluate(progress=self.stages),
            next_door=run.evaluate(there, split="test", progress=self.stages),
            calibrated_run=calibrated,
            calibrated=calibrated.evaluate(there, split="test", progress=self.stages),
            stress=None if stress is None else json.loads(stress.read_text()),
        )


def _claim(
    out: Path,
    settings: Mapping[str, Any],
    backbone: str | None,
    offline: bool,
    stages: _Stages,
) -> DemoNetwork:
    """Make the folder of a demo, or refuse one that has something else in it; say its network."""
    marker = out / MARKER_NAME
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, not a folder", _NEW_FOLDER, parameter="out")
    if marker.is_file():
        network = _read_marker(marker, settings)
        if network is None or (backbone is not None and architecture(backbone).name != network):
            raise InputError(
                f"{out} holds a demo of another size, seed or network",
                "Delete it, or give `out` a new folder.",
                parameter="out",
            )
        chosen = choose_network(network, offline=offline, progress=stages)
        return DemoNetwork(chosen.name, "this demo began with it")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and not a demo", _NEW_FOLDER, parameter="out")
    chosen = choose_network(backbone, offline=offline, progress=stages)
    make_folder(out)
    with atomic_path(marker) as temporary:
        temporary.write_text(json.dumps({**settings, "backbone": chosen.name}) + "\n")
    return chosen


def _read_marker(marker: Path, settings: Mapping[str, Any]) -> str | None:
    """Return the network of a demo. None if it has other settings."""
    try:
        found = json.loads(marker.read_text())
        network = found.pop("backbone")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return str(network) if found == dict(settings) else None
