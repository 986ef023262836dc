"""A model card, made with skops: what a model is for, how it was made, how well it does."""

from __future__ import annotations

from collections.abc import Sequence

from skops.card import Card

from featx.reports._document import Block, Code, Document, Items, Section, Text
from featx.reports._facts import Facts
from featx.reports._limits import NOT_A_DEVICE, limits
from featx.reports._markdown import blocks_as_markdown
from featx.reports._results import first_lines
from featx.reports._wording import Names, listed

INTENDED = (
    "Research on chest X-rays: comparing heads and operating points, studying how a classifier "
    "fares on another hospital's images. Not for diagnosis, triage or any other care of patients."
)


def as_card(facts: Facts, document: Document, names: Names) -> str:
    """Return the model card as Markdown; what it has in common with the report is the report's.

    Parameters
    ----------
    facts
        Of the runs.
    document
        The report.
    names
        How images and folders are called.
    """
    by_anchor = {section.anchor: section for section in document.sections}
    told: dict[str, Sequence[Block]] = {
        "Model description": (
            Text(NOT_A_DEVICE),
            *first_lines(facts),
            Text(_description(facts)),
        ),
        "Model description/Intended uses": (Text(INTENDED),),
        "Model description/Limitations": (Items(tuple(limits(facts))),),
        "Training data": _words(by_anchor["data"]),
        "Training procedure": _words(by_anchor["making"]),
        "Evaluation": _words(by_anchor["glance"]),
        "How to use it": (Text("From a terminal:"), Code(_usage(facts, names))),
    }
    sections = {
        title: blocks_as_markdown(blocks, "", level=title.count("/") + 2)
        for title, blocks in told.items()
    }
    # The head itself isn't loaded: its settings are in run.json, and nothing here needs more.
    card = Card(None, model_format="skops", template=sections, model_diagram=False)
    title = listed(run.name for run in facts.runs)
    front = "---\nlibrary_name: featx\ntags:\n- chest-x-ray\n- tabular-classification\n---\n\n"
    return f"{front}# Model card: {title}\n{card.render()}"


def _description(facts: Facts) -> str:
    record = facts.runs[0].record
    negative, positive = record.classes
    heads = listed(dict.fromkeys(run.record.head.name for run in facts.runs))
    backbones = listed(dict.fromkeys(r.record.extraction.backbone.name for r in facts.runs))
    return (
        f"Binary classifiers of chest X-rays, {positive} against {negative}. A frozen {backbones} "
        f"turns an image into an embedding, and a head ({heads}) turns that into a score between "
        f"0 and 1, higher for {positive}. An image is called {positive} when its score is at or "
        "above the threshold. A score is no probability; `featx predict` gives that, too."
    )


def _usage(facts: Facts, names: Names) -> str:
    import shlex

    return "\n".join(
        shlex.join(["featx", "predict", names.folder(str(run.run.path), run.name), "IMAGES"])
        for run in facts.runs
    )


def _words(section: Section) -> tuple[Block, ...]:
    """Leave the pictures to the report."""
    return tuple(
        block for block in section.blocks if block.kind not in ("gallery", "picture", "section")
    )
