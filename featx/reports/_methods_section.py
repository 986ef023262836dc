"""Sections of a report on how the runs were made: settings, backbone, commands, learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featx import plots
from featx.backbones import BackboneSpec
from featx.backbones._spec import RUNTIME_NAMES
from featx.evaluation import METRIC_NAMES
from featx.heads import TITLES
from featx.inspection._figures import ranges_in_words
from featx.plots._style import new_axes
from featx.plots._training import LEARNING_METRICS
from featx.reports._commands import CommandPaths, changed_settings, rebuild_commands
from featx.reports._document import Block, Code, Gallery, Items, Notice, Section, Table, Text
from featx.reports._pictures import svg_picture
from featx.reports._report_data import ReportData, RunData
from featx.reports._wording import DisplayNames, listed, metric_name, plural
from featx.runs import RunRecord


def methods_section(data: ReportData, names: DisplayNames) -> Section:
    """Tell how the runs were made, and how to make them again."""
    runs = data.runs
    rows = [[name] for name in _facts_of(runs[0], names)]
    for run in runs:
        for row, value in zip(rows, _facts_of(run, names).values(), strict=True):
            row.append(value)
    table = Table(
        ("", *(run.name for run in runs)),
        tuple(tuple(row) for row in rows),
        words=frozenset(range(len(runs) + 1)),
    )
    blocks: list[Block] = [table]
    promised = [
        f"{run.name}: {promise.sentence}"
        for run in runs
        if (promise := run.record.promise) is not None and promise.sentence
    ]
    if promised:
        blocks += [Text("What is promised of the operating point:"), Items(tuple(promised))]
    blocks += [
        Text(_chosen(runs)),
        *(block for run in runs for block in _calibrated(run)),
        Text(
            "Commands that make the runs again, from the records of the runs. A record doesn't say "
            "how the images were listed: how a file's name tells the patient, and where the paths "
            "of a table begin."
        ),
        Code("\n".join(_unique_lines([_commands(run, names) for run in runs]))),
    ]
    blocks += _learning(data)
    return Section(
        "How it was made", "making", tuple(blocks), "TRIPOD+AI items 12 and 22; CLAIM: model"
    )


def _chosen(runs: Sequence[RunData]) -> str:
    """Say by which criteria the thresholds were chosen, and what that cost."""
    criteria = listed(dict.fromkeys(run.record.criterion.in_words for run in runs))
    notes = [
        f"{run.name}: {note}"
        for run in runs
        if (note := run.record.search.note) and run.record.calibrated is None
    ]
    chosen = f"The threshold is the one of {criteria}, out of fold."
    scores = {"copies": "augmented copies", "both": "untouched images and augmented copies"}
    notes = [
        *(
            f"{run.name}: chosen on the scores of {scores[run.record.choose_on]}."
            for run in runs
            if run.record.choose_on in scores and run.record.calibrated is None
        ),
        *notes,
    ]
    return " ".join([chosen, *notes, "Folds keep each patient together."])


def _facts_of(run: RunData, names: DisplayNames) -> dict[str, str]:
    record = run.record
    backbone, augmentation = record.extraction.backbone, record.extraction.augmentation
    settings = ", ".join(f"{k} {v}" for k, v in changed_settings(record).items())
    mapped, band = record.recalibration, record.band
    copies = "none"
    if record.copies:
        copies = f"{record.copies} of each training image, {ranges_in_words(augmentation)}"
    layers = f"layer {backbone.layer}"
    if backbone.parts:
        layers = f"layers {' + '.join(map(str, backbone.parts))}"
    return {
        "head": f"{record.head.name}: {TITLES[record.head.name]}",
        "settings that aren't the defaults": settings or "none",
        "scores become probabilities by": _probabilities(record),
        "recalibrated": "no"
        if mapped is None
        else f"score → sigmoid({mapped.slope:.4g} · "
        f"logit(score) + {mapped.intercept:.4g}), {mapped.method}",
        "threshold": f"{record.threshold:.6g}",
        "uncertain range": "not noted" if band is None else f"{band[0]:.4g} to {band[1]:.4g}",
        "criterion of the threshold": record.criterion.in_words,
        "folds": f"{record.folds}, seed {record.seed}",
        "augmented copies": copies,
        "test-time augmentation": f"{record.tta} copies" if record.tta else "no",
        "backbone": f"{backbone.name}, {layers}, {backbone.weights} weights",
        "SHA-256 of the weights": backbone.weights_sha256,
        "input": f"{backbone.input_size} x {backbone.input_size} pixels, {_preprocessing(backbone)}"
        f", {backbone.precision} by {RUNTIME_NAMES[backbone.runtime]}",
        "fingerprint of the embeddings": record.fingerprint,
        "made": record.created,
        "versions": ", ".join(f"{k} {v}" for k, v in record.versions.items()),
        "seconds": ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in record.seconds.items()),
        "folder": names.folder(str(run.run.path.resolve()), "RUN"),
    }


def _preprocessing(backbone: BackboneSpec) -> str:
    """Name the preprocessing, and give the numbers that an ONNX network has of its own."""
    if (own := backbone.normalization) is None:
        return f"{backbone.preprocess} preprocessing"
    mean, std = (", ".join(f"{each:g}" for each in values) for values in (own.mean, own.std))
    return f"(values · {own.rescale:.6g} - {mean}) / {std}"


def _probabilities(record: RunRecord) -> str:
    """Say how the probability of `featx predict` follows from the score. See `Run.calibration`."""
    if record.recalibration is not None:
        return "the recalibration: they are probabilities"
    if record.head.calibration is not None:
        return f"{record.head.calibration}, on held-out patients: they are probabilities"
    return "Platt's map of the out-of-fold scores; the threshold is for scores"


def _calibrated(run: RunData) -> list[Block]:
    """Say how the operating point of a run was repaired on local images."""
    how = run.record.calibrated
    if how is None:
        return []
    where = f"{plural(how.images, 'image')} of {plural(how.patients, 'patient')}"
    blocks: list[Block] = [
        Notice(
            f"{run.name}: the threshold was chosen anew, on {where} from elsewhere and not out of "
            f"fold ({how.method})."
        )
    ]
    blocks += [Text(said) for said in (how.assumption, how.note, how.shift, how.advice) if said]
    rows = tuple(
        (metric_name(name), *(f"{point[name]:.4g}" for point in (how.old, how.new)))
        for name in ("threshold", *METRIC_NAMES)
        if all(isinstance(point.get(name), float) for point in (how.old, how.new))
    )
    if rows:
        caption = f"The operating point of {run.name} on those images, before and after."
        blocks.append(Table(("", "before", "after"), rows, caption))
    return blocks


def _commands(run: RunData, names: DisplayNames) -> str:
    data = run.fitted_on.cache.data if run.fitted_on is not None else ""
    record = run.record
    before = record.calibrated.source if record.calibrated is not None else ""
    places = CommandPaths(
        data=names.folder(data, "DATA"),
        cache=names.folder(str(Path(record.cache)), "CACHE"),
        run=names.folder(str(run.run.path.resolve()), run.name),
        weights=names.folder(record.weights, "FILE"),
        calibrated=(names.folder(before, "RUN"), "IMAGES"),
    )
    return rebuild_commands(record, places)


def _unique_lines(texts: list[str]) -> list[str]:
    """Keep the first of equal lines: runs share an extraction."""
    return list(dict.fromkeys(line for text in texts for line in text.splitlines()))


def _learning(data: ReportData) -> list[Block]:
    blocks: list[Block] = []
    for run in data.runs:
        if run.history is None:
            continue
        history = run.history
        final = history[history["training"] == "final"]
        last = (final if len(final) else history).iloc[-1]
        pictures = tuple(
            svg_picture(
                plots.learning_curve(history, new_axes(), metric=name),
                f"learning-{run.key}-{name}",
                f"{name} of {run.name} by epoch, on training images and held-out patients; "
                f"{last[name]:.4f} in the last epoch of the final fit",
            )
            for name in LEARNING_METRICS
            if name in history
        )
        trainings = history.groupby(["training", "member"]).ngroups
        text = f"Learning curves of {run.name}: {plural(trainings, 'training')}, thin lines are "
        blocks.append(Gallery(pictures, caption=f"{text}folds, the bold one is the final fit."))
    if not blocks:
        blocks.append(
            Text("Learning curves: only Keras heads learn by epochs, and none has a history here.")
        )
    return blocks
