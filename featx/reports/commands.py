"""The commands that make a run anew, from what it says of itself."""

from __future__ import annotations

import shlex
from typing import Any

from featx.backbones.spec import DEFAULT_INPUT
from featx.heads.settings import SETTINGS
from featx.images import AugmentationSpec
from featx.runs import RunRecord

_LIKE_OPTIONS = ("rotation", "zoom", "width_shift", "height_shift", "shear", "fill_mode")


def commands(record: RunRecord, *, data: str, cache: str, run: str) -> str:
    """Return the commands from images to a run, one a line.

    Parameters
    ----------
    record
        Of the run.
    data, cache, run
        Where the images, the embeddings and the run are.
    """
    extract = ["featx", "extract", data, "--cache", cache, *_extraction(record)]
    return "\n".join(shlex.join(words) for words in (extract, _fit(record, cache, run)))


def _extraction(record: RunRecord) -> list[str]:
    spec = record.extraction
    backbone, augmentation = spec.backbone, spec.augmentation
    options = ["--backbone", backbone.name, "--precision", backbone.precision]
    if backbone.input_size != DEFAULT_INPUT:
        options += ["--input-size", str(backbone.input_size)]
    if backbone.weights == "random":
        options += ["--weights", "random"]
    if backbone.preprocess != "imagenet" and backbone.architecture_sha256 is None:
        options += ["--preprocess", backbone.preprocess]
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
    usual, options = AugmentationSpec(), []
    for name in _LIKE_OPTIONS:
        if getattr(spec, name) != getattr(usual, name):
            options += [_option(name), f"{getattr(spec, name)}"]
    if spec.brightness != usual.brightness:
        options += ["--brightness", ",".join(f"{factor:g}" for factor in spec.brightness)]
    if not spec.horizontal_flip:
        options.append("--no-horizontal-flip")
    if spec.vertical_flip:
        options.append("--vertical-flip")
    return options


def _fit(record: RunRecord, cache: str, run: str) -> list[str]:
    head = record.head
    # A search has more options than a run remembers; its study is in the run's folder.
    verb = "fit" if record.tuning is None else "tune"
    words = ["featx", verb, cache, "--head", head.name, "--run", run]
    words += ["--accuracy-floor", f"{record.accuracy_floor:g}"]
    if record.promise is not None and "confidence" in record.promise:
        words += ["--guarantee", f"{record.promise['confidence']:g}"]
    if verb == "fit":
        for name, value in changed_settings(record).items():
            words += _setting(name, value)
        if head.calibration is not None and head.name != "svm":
            words += ["--calibration", head.calibration]
        words.append("--use-copies" if record.copies else "--no-use-copies")
        if record.tta:
            words.append("--tta")
    if record.seed:
        words += ["--seed", str(record.seed)]
    return words


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
