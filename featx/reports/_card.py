"""A model card, made with skops: what a model is for, how it was made, how well it does."""

from __future__ import annotations

from collections.abc import Sequence

from skops.card import Card

from featx.reports._document import Block, Code, Document, Items, Section, Text
from featx.reports._limits_sections import NOT_A_DEVICE_NOTE, limits
from featx.reports._markdown import blocks_as_markdown
from featx.reports._report_data import ReportData
from featx.reports._results_sections import headline_blocks
from featx.reports._wording import DisplayNames, listed

INTENDED_USE = (
    "Research on chest X-rays: comparing heads and operating points, studying how a classifier "
    "fares on another hospital's images. Not for diagnosis, triage or any other care of patients."
)


def as_card(data: ReportData, document: Document, names: DisplayNames) -> str:
    """Return the model card as Markdown, made of parts of the report."""
    by_anchor = {section.anchor: section for section in document.sections}
    told: dict[str, Sequence[Block]] = {
        "Model description": (
            Text(NOT_A_DEVICE_NOTE),
            *headline_blocks(data),
            Text(_description(data)),
        ),
        "Model description/Intended uses": (Text(INTENDED_USE),),
        "Model description/Limitations": (Items(tuple(limits(data))),),
        "Training data": _words(by_anchor["data"]),
        "Training procedure": _words(by_anchor["making"]),
        "Evaluation": _words(by_anchor["glance"]),
        "How to use it": (Text("From a terminal:"), Code(_usage(data, names))),
    }
    sections = {
        title: blocks_as_markdown(blocks, "", level=title.count("/") + 2)
        for title, blocks in told.items()
    }
    # The head itself isn't loaded: its settings are in run.json, and nothing here needs more.
    card = Card(None, model_format="skops", template=sections, model_diagram=False)
    title = listed(run.name for run in data.runs)
    front = "---\nlibrary_name: featx\ntags:\n- chest-x-ray\n- tabular-classification\n---\n\n"
    return f"{front}# Model card: {title}\n{card.render()}"


def _description(data: ReportData) -> str:
    record = data.runs[0].record
    negative, positive = record.classes
    heads = listed(dict.fromkeys(run.record.head.name for run in data.runs))
    backbones = listed(dict.fromkeys(r.record.extraction.backbone.name for r in data.runs))
    return (
        f"Binary classifiers of chest X-rays, {positive} against {negative}. A frozen {backbones} "
        f"turns an image into an embedding, and a head ({heads}) turns that into a score between "
        f"0 and 1, higher for {positive}. An image is called {positive} when its score is at or "
        "above the threshold. A score is no probability. `featx predict` gives that, too."
    )


def _usage(data: ReportData, names: DisplayNames) -> str:
    import shlex

    return "\n".join(
        shlex.join(["featx", "predict", names.folder(str(run.run.path), run.name), "IMAGES"])
        for run in data.runs
    )


def _words(section: Section) -> tuple[Block, ...]:
    """Return a section without its pictures."""
    return tuple(
        block for block in section.blocks if block.kind not in ("gallery", "picture", "section")
    )
