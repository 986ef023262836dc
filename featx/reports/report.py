"""One self-contained HTML page on some runs and how they did."""

from __future__ import annotations

import base64
import datetime
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from featx.evaluation import Metrics
from featx.evaluation.figures import confusion_figure, roc_figure, threshold_figure
from featx.runs import Evaluation, Run
from featx_cache import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    results: Sequence[tuple[Run, Evaluation]], out: Path, *, title: str = "featx report"
) -> Path:
    """Write a page that needs no network and no other file.

    Parameters
    ----------
    results
        Runs and their evaluations, in the order of the page.
    out
        The HTML file; its folder must exist.
    title
        Heading of the page.

    Raises
    ------
    StorageError
        When the file can't be written.
    """
    environment = Environment(
        loader=PackageLoader("featx.reports"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        version=results[0][0].record.versions["featx"],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        untrained=any(r.record.extraction.backbone.weights == "random" for r, _ in results),
        rows=[_row(run, evaluation.metrics) for run, evaluation in results],
        sections=[_section(run, evaluation) for run, evaluation in results],
    )
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def _row(run: Run, metrics: Metrics) -> dict[str, Any]:
    return {
        "head": run.record.head.name,
        "images": metrics.images,
        "patients": metrics.patients,
        **{name: _with_interval(metrics, name) for name in ("accuracy", "recall", "specificity")},
        "roc_auc": _number(metrics.roc_auc),
        "threshold": f"{metrics.threshold:.4g}",
        "floor": f"{run.record.accuracy_floor:g}",
    }


def _section(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    record, metrics = run.record, evaluation.metrics
    backbone = record.extraction.backbone
    out_of_fold = record.metrics["out_of_fold"]
    name, on = record.head.name, evaluation.split
    truth, scores = evaluation.scores["label"] == record.classes[1], evaluation.scores["score"]
    figures = [
        (
            confusion_figure(
                metrics.confusion, record.classes, f"{name}: confusion matrix on {on}"
            ),
            f"Confusion matrix of {name}: {dict(metrics.confusion)}",
        ),
    ]
    if not math.isnan(metrics.roc_auc):
        point = f"recall {metrics.recall:.3f} at specificity {metrics.specificity:.3f}"
        figures = [
            (
                roc_figure(truth, scores, metrics, f"{name}: ROC on {on}"),
                f"ROC curve of {name}, operating point at {point}",
            ),
            (
                threshold_figure(
                    truth,
                    scores,
                    record.threshold,
                    record.accuracy_floor,
                    f"{name}: operating point on {on}",
                ),
                f"Recall and accuracy of {name} against the threshold; accuracy floor "
                f"{record.accuracy_floor:g}, threshold {record.threshold:.4g}",
            ),
            *figures,
        ]
    return {
        "head": record.head.name,
        "split": evaluation.split,
        "figures": [{"uri": _as_data_uri(figure), "alt": alt} for figure, alt in figures],
        "trained_on": f"{record.images} images of {record.patients} patients, {record.copies} "
        f"augmented copies of each training image",
        "backbone": f"{backbone.name} at {backbone.input_size}x{backbone.input_size}, "
        f"{backbone.weights} weights, {backbone.precision}",
        "fingerprint": record.fingerprint,
        "promise": (record.promise or {}).get("sentence", ""),
        "out_of_fold": f"accuracy {_number(out_of_fold['accuracy'])}, recall "
        f"{_number(out_of_fold['recall'])}, ROC AUC {_number(out_of_fold['roc_auc'])}",
    }


def _with_interval(metrics: Metrics, name: str) -> str:
    interval = metrics.intervals.get(name)
    between = f" ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    return _number(getattr(metrics, name)) + between


def _as_data_uri(figure: Figure) -> str:
    """Return a figure as a PNG data URI, so that a page needs no other file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _number(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"
