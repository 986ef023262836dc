"""The commands that make a run again, from its record."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from featx.backbones._spec import DEFAULT_INPUT
from featx.data import positive_is_known
from featx.heads._settings import SETTINGS
from featx.images import AugmentationSpec, preset_augmentation
from featx.images._augment import PRESETS
from featx.runs import RunRecord
from featx.runs._record_parts import TuningRecord
from featx.thresholds import Criterion
from featx.training._scoring import FOLDS
from featx.tuning._spec import CRITERION_FIELDS

LAST_LAYERS = dict.fromkeys(("featx-mini", "vgg16", "vgg19"), "block5_pool")
"""Last layer before the top of networks whose layers are known without building them."""

_KINDS = tuple(name for name in AugmentationSpec.model_fields if name not in ("copies", "seed"))
"""Fields that say what copies are like."""


@dataclass(frozen=True, slots=True)
class CommandPaths:
    """Names of files and folders in the commands.

    `calibrated` is the run that this one was calibrated from, and the images of the calibration.
    """

    data: str = "DATA"
    cache: str = "CACHE"
    run: str = "RUN"
    weights: str = "FILE"
    calibrated: tuple[str, str] = ("RUN", "IMAGES")


def rebuild_commands(record: RunRecord, paths: CommandPaths) -> str:
    """Return the commands from images to a run, one a line."""
    first = ["featx", "extract", paths.data, "--cache", paths.cache]
    lines = [first + _extraction(record, paths.weights)]
    if record.calibrated is None:
        lines.append(_fit(record, paths.cache, paths.run))
    else:
        lines += [_fit(record, paths.cache, paths.calibrated[0]), _calibrate(record, paths)]
    return "\n".join(map(shlex.join, lines))


def _extraction(record: RunRecord, weights: str) -> list[str]:
    spec = record.extraction
    backbone, augmentation = spec.backbone, spec.augmentation
    saved = backbone.architecture_sha256 is not None
    options = ["--backbone", weights if saved else backbone.name]
    if not saved and record.weights not in ("imagenet", "random"):
        options += ["--weights", weights]
    if backbone.runtime != "onnxruntime":  # an ONNX network has its own
        options += ["--precision", backbone.precision, "--runtime", backbone.runtime]
    if backbone.tokens is not None:
        options += ["--tokens", backbone.tokens]
    if backbone.layer != LAST_LAYERS.get(backbone.name):
        options += ["--layer", backbone.layer]
    if backbone.pool_extra != "none":
        options += ["--pool-extra", backbone.pool_extra]
    if _usual_classes(record.classes) != record.classes:
        options += ["--positive", record.classes[1]]
    if backbone.input_size != DEFAULT_INPUT:
        options += ["--input-size", str(backbone.input_size)]
    if backbone.weights == "random":
        options += ["--weights", "random"]
    named = backbone.preprocess != "imagenet" or backbone.runtime == "onnxruntime"
    if named and backbone.preprocess != "config":
        options += ["--preprocess", backbone.preprocess]
    if backbone.standardization is not None:
        given = backbone.standardization.model_dump()
        options += [_option(name) for name, value in given.items() if value is True]
    if spec.decoding.contrast != "none":
        options += ["--contrast", spec.decoding.contrast]
    if spec.decoding.jpeg_reduction != type(spec.decoding)().jpeg_reduction:
        options += ["--jpeg-reduction", str(spec.decoding.jpeg_reduction)]
    if spec.storage_dtype != "float16":
        options += ["--storage-dtype", spec.storage_dtype]
    options += ["--copies", str(augmentation.copies)]
    if augmentation.copies:
        options += _augmentation(augmentation)
    if record.tta:
        options += ["--copies-of", "all"]
    if seed := augmentation.seed or (backbone.weights_seed or 0):
        options += ["--seed", str(seed)]
    return options


def _augmentation(spec: AugmentationSpec) -> list[str]:
    """Name the preset that is nearest, and what differs from it."""
    values = dict(spec)
    presets = {name: dict(preset_augmentation(name)) for name in PRESETS}
    differing = {
        name: [field for field in _KINDS if presets[name][field] != values[field]]
        for name in PRESETS
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    options = ["--augment", nearest]
    for field in differing[nearest]:
        value = values[field]
        if isinstance(value, bool):
            options.append(_option(field) if value else _option(f"no_{field}"))
        else:
            several = isinstance(value, tuple)
            text = ",".join(f"{each:g}" for each in value) if several else f"{value}"
            options += [_option(field), text]
    return options


def _fit(record: RunRecord, cache: str, run: str) -> list[str]:
    head, tuning = record.head, record.tuning
    heads = (tuning.heads if tuning is not None else ()) or (head.name,)
    words = ["featx", "fit" if tuning is None else "tune", cache, "--head", ",".join(heads)]
    # Before the criterion was in a record, a search had a recall floor to promise.
    searched = {} if tuning is None else tuning.search
    given = {name: searched[name] for name in CRITERION_FIELDS if searched.get(name)}
    criterion = Criterion(**{**record.criterion.model_dump(), **given})
    words += ["--run", run, *_criterion(criterion)]
    if tuning is not None:
        words += _search(record, tuning)
    else:
        for name, value in changed_settings(record).items():
            words += _setting(name, value)
        if head.calibration is not None and head.name != "svm":
            words += ["--calibration", head.calibration]
        words.append("--use-copies" if record.copies else "--no-use-copies")
        if record.tta:
            words.append("--tta")
        if record.folds != FOLDS:
            words += ["--folds", str(record.folds)]
    if record.copies or record.choose_on != "untouched":
        words += ["--choose-on", record.choose_on]
    if record.seed:
        words += ["--seed", str(record.seed)]
    return words


def _criterion(criterion: Criterion) -> list[str]:
    """Return the options of a criterion."""
    words = []
    for name, floor in criterion.floors.items():
        words += [_option(f"{name}_floor"), f"{floor:g}"]
    if criterion.cost is not None:
        words += ["--cost", ":".join(f"{each:.15g}" for each in criterion.cost)]
    return [*words, "--youden"] if criterion.youden else words


def _search(record: RunRecord, tuning: TuningRecord) -> list[str]:
    """Return the options of a search, as far as the run notes them. Processes are no part of it."""
    search, words = tuning.search, []
    if trials := tuning.trials:
        words += ["--trials", str(trials.get("complete", 0) + trials.get("pruned", 0))]
    for name, value in (("sampler", tuning.sampler), ("pruner", tuning.pruner)):
        if value:
            words += [f"--{name}", value]
    if search.get("objective", "constrained") != "constrained":
        words += ["--objective", search["objective"]]
    if search.get("threshold_only"):
        words.append("--threshold-only")
    if search.get("use_copies") is not None:
        words.append("--use-copies" if search["use_copies"] else "--no-use-copies")
    if search.get("guarantee") is not None:
        words += ["--guarantee", f"{search['guarantee']:g}"]
    fixed = search.get("fixed", {}).get(record.head.name, ())
    for name, value in changed_settings(record).items():
        if name in fixed or search.get("threshold_only"):
            words += _setting(name, value)
    if record.head.calibration is not None and record.head.name != "svm":
        words += ["--calibration", record.head.calibration]
    return words


def _calibrate(record: RunRecord, paths: CommandPaths) -> list[str]:
    """Return the command that chose the operating point anew."""
    words = ["featx", "calibrate", *paths.calibrated, "--run", paths.run]
    words += _criterion(record.criterion)
    calibrated = record.calibrated
    if calibrated is not None and not calibrated.method.startswith("labelled images"):
        return [*words, "--unlabelled"]
    if record.recalibration is not None:
        words += ["--recalibrate", record.recalibration.method]
    if record.promise is not None:
        words += ["--guarantee", f"{record.promise.confidence:g}"]
    return words


def _usual_classes(classes: tuple[str, str]) -> tuple[str, str]:
    """Return the order of the classes if nobody says which is the positive one."""
    first, last = sorted(classes)
    return (last, first) if positive_is_known((last, first)) else (first, last)


def _setting(name: str, value: Any) -> list[str]:
    if name == "layers":  # too long for a line; run.json has them
        return ["--head-config", "LAYERS.yaml"]
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return ["--set", f"{name}={'none' if value is None else value}"]


def changed_settings(record: RunRecord) -> dict[str, Any]:
    """Return the settings of the head that aren't its defaults."""
    usual = SETTINGS[record.head.name]().model_dump(mode="json")
    given = record.head.settings.model_dump(mode="json")
    return {name: value for name, value in given.items() if value != usual.get(name)}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
