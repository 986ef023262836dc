"""Sections of a report on the limits of use, of what it couldn't show, and of what it rests on."""

from __future__ import annotations

from featx.backbones import BackboneSpec
from featx.backbones._mini import MINI
from featx.reports._document import Block, Items, Section, Table, Text
from featx.reports._report_data import Missing, ReportData
from featx.reports._wording import DisplayNames, listed, plural

NOT_A_DEVICE_NOTE = (
    "Research software, not a medical device. Nothing here may decide on the care of a patient."
)
UNTRAINED_NOTE = (
    "The backbone's weights are random: these embeddings are untrained, and the numbers show that "
    "the machinery works, not how well featx reads X-rays."
)
MINI_NOTE = (
    "The backbone is featx-mini, a small network for trying things. It learned from public chest "
    "X-rays, without labels, and numbers on those images are too good. Extract and fit with a "
    "larger network before you publish."
)
OUT_OF_FOLD_NOTE = (
    "These are out-of-fold numbers: no run was measured on images that it wasn't fitted on. The "
    "threshold was chosen on the same scores, and images from elsewhere will do worse."
)


def limits_section(data: ReportData) -> Section:
    """Say what the numbers don't."""
    return Section(
        "Limits of use",
        "limits",
        (Items(tuple(limits(data))),),
        "TRIPOD+AI items 26 and 27; CLAIM: limitations",
    )


def _has_mini(backbone: BackboneSpec) -> bool:
    saved = backbone.architecture_sha256 is not None  # one of the user's own may have that name
    return backbone.name == MINI and backbone.weights == "trained" and not saved


def limits(data: ReportData) -> list[str]:
    """Return the limits that hold for these runs, a sentence or two each."""
    found = [NOT_A_DEVICE_NOTE]
    if any(run.record.extraction.backbone.weights == "random" for run in data.runs):
        found.append(UNTRAINED_NOTE)
    if any(_has_mini(run.record.extraction.backbone) for run in data.runs):
        found.append(MINI_NOTE)
    if not data.evaluated:
        found.append(OUT_OF_FOLD_NOTE)
    classes = listed(dict.fromkeys(name for run in data.runs for name in run.record.classes))
    patients = max(run.record.patients for run in data.runs)
    found += [
        f"The runs tell {classes} apart and know nothing else: an image that shows something else "
        "still gets one of these names.",
        f"They were fitted on {plural(patients, 'patient')}. Other ages, machines, views, "
        "countries and ways of labelling are another population, in which thresholds and scores "
        "mean something else. Measure on local images first.",
        "The labels are taken as they are. Who made them, from what, and how well readers agree, "
        "featx doesn't know.",
        "Predictive values hold at the share of sick patients in these images. Where disease is "
        "rarer, more of those who are called sick are well.",
        "Intervals tell what chance did in choosing these patients. They tell nothing of labels "
        "that are wrong, of leaks between splits, or of another population.",
        "Nothing here says whether anybody is better off for it: how people act on a verdict "
        "wasn't studied.",
    ]
    if any(run.record.promise is not None for run in data.runs):
        found.append("A promise holds for patients of the same population as its calibration set.")
    return found


def missing_section(missing: list[Missing], names: DisplayNames) -> Section | None:
    """List what couldn't be shown. None when everything could."""
    if not missing:
        return None
    rows = dict.fromkeys((names.message(item.what), names.message(item.why)) for item in missing)
    table = Table(("what", "why"), tuple(rows), words=frozenset({0, 1}))
    return Section("What couldn't be shown", "missing", (table,))


def references_section() -> Section:
    """Name what headings and methods go by."""
    blocks: tuple[Block, ...] = (
        Text(
            "Headings name the items of two reporting guidelines that they answer to, as far as "
            "featx can know the answer. A report of a study needs all items. This page is a part."
        ),
        Items(
            (
                "Collins GS et al. TRIPOD+AI statement: updated guidance for reporting clinical "
                "prediction models that use regression or machine learning methods. BMJ 2024; "
                "385: e078378.",
                "Tejani AS et al. Checklist for Artificial Intelligence in Medical Imaging "
                "(CLAIM): 2024 update. Radiology: Artificial Intelligence 2024.",
                "Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating "
                "prediction models. Medical Decision Making 2006; 26: 565-574.",
                "Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall 1993: "
                "percentile intervals, here over patients.",
                "Pedregosa F et al. Scikit-learn: machine learning in Python. JMLR 2011; 12: "
                "2825-2830: metrics, curves, calibration.",
            )
        ),
    )
    return Section("References", "references", blocks)
