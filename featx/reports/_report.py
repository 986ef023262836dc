"""A report of some runs: one HTML page, the same as Markdown with its figures, and a model card."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from featx._progress import SILENT, Advance, Progress
from featx.errors import InputError
from featx.reports._card import as_card
from featx.reports._data_section import data_section
from featx.reports._document import Block, Document, Notice, Section
from featx.reports._report_data import ReportData, Missing
from featx.reports._collect import ReportRequest, collect_data
from featx.reports._html import as_html
from featx.reports._limits_sections import (
    NOT_A_DEVICE,
    ONLY_OUT_OF_FOLD,
    UNTRAINED,
    limits_section,
    missing_section,
    references_section,
)
from featx.reports._methods_section import methods_section
from featx.reports._markdown import as_markdown
from featx.reports._files import require_own_figures, require_own_text, write_listing
from featx.reports._comparison_sections import comparison_section, shift_section, subgroups_section
from featx.reports._results_sections import headline_blocks, summary_section, performance_section
from featx.reports._wording import DisplayNames
from featx.reports._errors_section import errors_section
from featx.runs import FittedRun
from featx_cache.files import atomic_folder, lock, output_path

CARD_NAME = "model_card.md"
DEFAULT_STEM = "report"
SECTIONS = 10
"""Besides those on how the runs did on each set of images."""

DEFAULT_TITLE = "featx report"


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a report.

    Attributes
    ----------
    html
        One page that needs nothing else.
    markdown, figures
        The same as Markdown, and the folder of its figures.
    card
        The model card.
    missing
        What couldn't be shown, and why.
    """

    html: Path
    markdown: Path
    figures: Path
    card: Path
    missing: tuple[Missing, ...] = ()

    @classmethod
    def beside(cls, out: Path) -> Written:
        """Say where the files of a report are whose page is `out`."""
        return cls(
            out,
            out.with_suffix(".md"),
            out.with_name(f"{out.stem}_files"),
            out.with_name(card_name(out.stem)),
        )


def card_name(stem: str) -> str:
    """Name the model card beside a page, so that two reports in a folder have one each.

    Examples
    --------
    >>> card_name("report"), card_name("knn")
    ('model_card.md', 'knn_model_card.md')
    """
    return CARD_NAME if stem == DEFAULT_STEM else f"{stem}_{CARD_NAME}"


def write_report(
    runs: Sequence[str | Path | FittedRun],
    out: str | Path,
    *,
    caches: Sequence[str | Path] = (),
    split: str | None = None,
    evaluate: bool = True,
    by: Sequence[str] = (),
    keep_known_patients: bool = False,
    title: str = DEFAULT_TITLE,
    anonymous: bool = True,
    force: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write ``report.html``, and beside it ``report.md``, ``report_files/`` and ``model_card.md``.

    Beside a page of another name, such as ``knn.html``, the card is ``knn_model_card.md``.

    What can't be shown, because a file of a run, its cache or its images aren't there any more, is
    said to be so; everything else is shown.

    Parameters
    ----------
    runs
        Run directories, in the order of the page.
    out
        The page; its folder is created when missing.
    caches
        On which runs are measured, each on its own where none is given.
    split
        Of the caches; ``all`` takes every image. None takes ``test``, or every image of a cache
        that was given and has no such split.
    evaluate
        False leaves evaluation images alone: the report is on out-of-fold scores.
    by
        Columns of the manifest to divide the images by, or ``size``; none for the usual ones.
    keep_known_patients
        See `featx.scoring.score_images`.
    title
        Heading of the page.
    anonymous
        Hide file names and folders: names of X-rays often are those of people.
    force
        Replace the page, and what else is of a report that is there already.
    progress
        Shows how far it got.

    Raises
    ------
    InputError
        When a file is in the way, a run can't be opened, or a cache that was asked for fits none.
    StorageError
        When the files can't be written.
    """
    files = Written.beside(Path(out))
    require_free(files, force)
    opened: dict[Path, FittedRun] = {}
    for run in runs:
        loaded = run if isinstance(run, FittedRun) else FittedRun(run)
        opened.setdefault(loaded.path.resolve(), loaded)
    what = ReportRequest(
        tuple(Path(cache) for cache in caches), split, evaluate, tuple(by), keep_known_patients
    )
    data = collect_data(list(opened.values()), what, progress)
    names, missing = DisplayNames(anonymous, places_of(data, what)), list(data.missing)
    steps = SECTIONS + len(data.sets()) + sum(len(run.scored) for run in data.runs)
    with progress.task("Writing the report", steps, "part") as advance:
        document = make_document(data, names, missing, what, title=title, advance=advance)
        _write(files, document, as_card(data, document, names), force=force)
    return Written(files.html, files.markdown, files.figures, files.card, tuple(missing))


def places_of(data: ReportData, what: ReportRequest) -> tuple[str, ...]:
    """Return the files and folders that a report's messages may name."""
    places = [str(path) for path in what.caches]
    for run in data.runs:
        places += [str(run.run.path), run.record.cache, run.record.weights]
    for source in data.sources:
        places += [str(source.cache.path), source.cache.data, source.cache.weights]
    return tuple(dict.fromkeys([*places, *(str(Path(place).resolve()) for place in places)]))


def make_document(
    data: ReportData,
    names: DisplayNames,
    missing: list[Missing],
    what: ReportRequest,
    *,
    title: str,
    advance: Advance,
) -> Document:
    """Put the report together; what can't be shown is added to `missing`."""
    notices: list[Block] = [Notice(NOT_A_DEVICE)]
    if any(run.record.extraction.backbone.weights == "random" for run in data.runs):
        notices.append(Notice(UNTRAINED))
    if not data.evaluated:
        notices.append(Notice(ONLY_OUT_OF_FOLD))
    notices += headline_blocks(data)
    makers: list[Callable[[], Section | None]] = [
        lambda: summary_section(data),
        lambda: data_section(data, names, missing),
        lambda: methods_section(data, names),
        *(partial(performance_section, data, name, advance) for name in data.sets()),
        lambda: comparison_section(data, missing),
        lambda: subgroups_section(data, what.by, missing),
        lambda: shift_section(data),
        lambda: errors_section(data, names, missing),
        lambda: limits_section(data),
        lambda: missing_section(missing, names),
        references_section,
    ]
    sections = []
    for make in makers:
        sections.append(make())
        advance(1)
    version = importlib.metadata.version("featx")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    there = tuple(section for section in sections if section is not None)
    return Document(title, f"featx {version}, {now}", tuple(notices), there)


def require_free(files: Written, force: bool) -> None:
    """Fail before the work when the files can't be written.

    Raises
    ------
    InputError
        When one is there and `force` is not, one beside the page isn't of a report, or the page's
        name isn't one of a page.
    """
    if files.html.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"{files.html} is not the name of a page", "Give one that ends in .html to `out`."
        )
    for path, folder in (
        (files.html, False), (files.markdown, False), (files.figures, True), (files.card, False)
    ):  # fmt: skip
        if path.exists() and path.is_dir() != folder:
            kind = "a folder" if path.is_dir() else "a file"
            raise InputError(f"{path} is {kind}", "Give another `out`.")
        if path.exists() and not force:
            raise InputError(
                f"{path} exists already",
                "Give another `out`, or `force=True` to replace the report.",
            )
    for path in (files.markdown, files.card):
        if path.exists():
            require_own_text(path)
    if files.figures.exists():
        require_own_figures(files.figures, files.markdown)


def _write(files: Written, document: Document, card: str, *, force: bool) -> None:
    """Write everything under other names first; the page gets its own last."""
    with contextlib.ExitStack() as stack:
        for path in (files.html, files.markdown, files.card, files.figures):
            stack.enter_context(lock(path))
        require_free(files, force)  # somebody else's may be there by now
        html = stack.enter_context(output_path(files.html, replace=force))
        markdown = stack.enter_context(output_path(files.markdown, replace=force))
        card_file = stack.enter_context(output_path(files.card, replace=force))
        figures = stack.enter_context(atomic_folder(files.figures, replace=force))
        for picture in document.pictures():
            (figures / picture.file).write_bytes(picture.content)
        write_listing(figures)
        for path, text in (
            (html, as_html(document)),
            (markdown, as_markdown(document, files.figures.name)),
            (card_file, card),
        ):
            path.write_text(text, encoding="utf-8", errors="replace")
        # The old text would show the new figures, if this process were killed in between.
        Path(os.path.realpath(files.markdown)).unlink(missing_ok=True)
