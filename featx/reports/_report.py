"""A report of some runs: a value with its HTML page, the same as Markdown, and a model card."""

from __future__ import annotations

import datetime
import html
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from featx._arguments import wrong_type
from featx._progress import Advance, Progress, progress_of
from featx.evaluation import plural
from featx.populations import StressReport
from featx.reports._card import as_card
from featx.reports._collect import ReportRequest, collect_data
from featx.reports._comparison_sections import (
    comparison_section,
    shift_section,
    subgroups_section,
)
from featx.reports._data_section import data_section
from featx.reports._document import Block, Document, Notice, Section
from featx.reports._errors_section import errors_section
from featx.reports._files import DEFAULT_STEM, Written
from featx.reports._html import as_html
from featx.reports._limits_sections import (
    NOT_A_DEVICE_NOTE,
    OUT_OF_FOLD_NOTE,
    UNTRAINED_NOTE,
    limits_section,
    missing_section,
    references_section,
)
from featx.reports._markdown import as_markdown
from featx.reports._methods_section import methods_section
from featx.reports._report_data import Missing, ReportData
from featx.reports._results_sections import headline_blocks, performance_section, summary_section
from featx.reports._stress_section import StressTable, read_stress, stress_section
from featx.reports._wording import DisplayNames
from featx.runs import FittedRun
from featx.runs._outputs import require_output
from featx_cache import Cache
from featx_cache._text import printable_lines

SECTIONS = 11
"""Number of sections besides those on how the runs did on each set of images."""

DEFAULT_TITLE = "featx report"
FRAME_HEIGHT = "42rem"


class Report:
    """Report of some runs, computed once. `featx.report` makes it.

    A notebook shows the page in a frame.

    Attributes
    ----------
    model_card : str
        Model card as Markdown.
    missing : tuple of Missing
        Parts that couldn't be shown, with reasons.

    Examples
    --------
    >>> report = featx.report(["runs/logreg", "runs/keras"])  # doctest: +SKIP
    >>> report.save("report.html")  # doctest: +SKIP
    """

    def __init__(self, document: Document, model_card: str, missing: Iterable[Missing]) -> None:
        self._document = document
        self.model_card, self.missing = model_card, tuple(dict.fromkeys(missing))

    @cached_property
    def html(self) -> str:
        """Page that needs no other file and no network."""
        return as_html(self._document)

    @property
    def markdown(self) -> str:
        """The page as Markdown, with its figures in the folder ``report_files``."""
        return self._markdown(f"{DEFAULT_STEM}_files")

    def _markdown(self, folder: str) -> str:
        return printable_lines(as_markdown(self._document, folder))

    @property
    def figures(self) -> Mapping[str, bytes]:
        """Figures by the names of their files: SVG, JPEG."""
        return {picture.file: picture.content for picture in self._document.pictures()}

    def save(self, path: str | Path = f"{DEFAULT_STEM}.html", *, force: bool = False) -> Written:
        """Write the page, and beside it the Markdown, its figures and the model card.

        Parameters
        ----------
        path
            Page, such as ``report.html``. Beside it there will be ``report.md``, the folder
            ``report_files`` and ``model_card.md``. The folder of the page is made if it is missing.
        force
            Whether a report that is there already is replaced.

        Returns
        -------
        Written
            Places of the files.

        Raises
        ------
        InputError
            If a file is in the way.
        StorageError
            If the files can't be written.
        """
        files = Written.beside(path)
        files.require_free(force=force)
        require_output(files.html, "`out`", force=force)
        texts = self.html, self._markdown(files.figures.name), self.model_card
        files.write(texts, self.figures, force=force)
        return files

    def __repr__(self) -> str:
        sections = plural(len(self._document.sections), "section")
        missing = f", {len(self.missing)} missing" if self.missing else ""
        figures = plural(len(self._document.pictures()), "figure")
        return f"Report({self._document.title!r}, {sections}, {figures}{missing})"

    def _repr_html_(self) -> str:
        # Links of the contents would lead into the notebook's own page.
        page = self.html.replace("<head>", '<head><base href="about:srcdoc">', 1)
        return (
            f'<iframe srcdoc="{html.escape(page)}" sandbox="" '
            f'title="{html.escape(self._document.title)}" '
            f'style="width:100%;height:{FRAME_HEIGHT};border:1px solid #ccc"></iframe>'
        )


def report(  # noqa: PLR0913
    runs: FittedRun | str | Path | Sequence[FittedRun | str | Path],
    *,
    caches: Cache | str | Path | Sequence[Cache | str | Path] = (),
    split: str | None = None,
    evaluate: bool = True,
    by: str | Sequence[str] = (),
    keep_known_patients: bool = False,
    stress: StressReport | str | Path | Sequence[StressReport | str | Path] = (),
    title: str = DEFAULT_TITLE,
    anonymous: bool = True,
    progress: Progress | bool = True,
) -> Report:
    """Make a report of one run or several: a page, the same as Markdown, and a model card.

    The report says what couldn't be shown, because a file of a run, its cache or its images aren't
    there any more. Everything else is shown.

    Parameters
    ----------
    runs
        Run, run directory, or several in the order of the page.
    caches
        Caches on which the runs are measured. By default, the cache that each was fitted on.
    split
        Split of the caches. ``all`` takes every image. None takes ``test``, or every image of a
        given cache without such a split.
    evaluate
        Whether the runs are measured on evaluation images, too.
    by
        Columns of the manifest to divide the images by, or ``size``. By default, the usual ones.
    keep_known_patients
        See `featx.scoring.score_images`.
    stress
        Results of the stress test on these runs, or JSON files of them
        (`StressReport.as_dict`).
    title
        Heading of the page.
    anonymous
        Hide the names of files and folders: names of X-rays often are those of people.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Report
        Value with the page. `Report.save` writes it.

    Raises
    ------
    InputError
        If a run can't be opened, or a given cache fits none of them.

    Examples
    --------
    >>> page = featx.report("runs/logreg", by=["sex"], anonymous=False)  # doctest: +SKIP
    >>> page.missing  # doctest: +SKIP
    ()
    >>> page.save("report.html").model_card  # doctest: +SKIP
    PosixPath('model_card.md')
    """
    opened: dict[Path, FittedRun] = {}
    for run in [runs] if isinstance(runs, FittedRun | str | Path) else runs:
        if not isinstance(run, FittedRun | str | Path):
            raise wrong_type("runs", run, "runs or their folders")
        loaded = run if isinstance(run, FittedRun) else FittedRun(run)
        opened.setdefault(loaded.path.resolve(), loaded)
    given = [caches] if isinstance(caches, Cache | str | Path) else caches
    request = ReportRequest(
        tuple(cache.path if isinstance(cache, Cache) else Path(cache) for cache in given),
        split,
        evaluate,
        (by,) if isinstance(by, str) else tuple(by),
        keep_known_patients,
    )
    given_stress = [stress] if isinstance(stress, StressReport | str | Path) else stress
    stressed = read_stress(given_stress, list(opened.values()))
    shown = progress_of(progress)
    data = collect_data(list(opened.values()), request, shown)
    names, missing = DisplayNames(anonymous, _private_paths(data, request)), list(data.missing)
    steps = SECTIONS + len(data.titles()) + sum(len(run.splits) for run in data.runs)
    with shown.task("Writing the report", steps, "part") as advance:
        sections = _sections(data, names, missing, request.by, stressed, advance)
    document = Document(title, _made_by(), tuple(_notices(data)), tuple(sections))
    card = printable_lines(as_card(data, document, names))
    return Report(document, card, missing)


def with_section(report: Report, section: Section, *, after: str) -> Report:
    """Return a report with one more section, after the one with an anchor."""
    document = report._document
    place = [each.anchor for each in document.sections].index(after) + 1
    sections = (*document.sections[:place], section, *document.sections[place:])
    return Report(replace(document, sections=sections), report.model_card, report.missing)


def _private_paths(data: ReportData, request: ReportRequest) -> tuple[str, ...]:
    """Return the files and folders that a report's messages may name."""
    paths = [str(path) for path in request.caches]
    for run in data.runs:
        paths += [str(run.run.path), run.record.cache, run.record.weights]
    for source in data.sources:
        paths += [str(source.cache.path), source.cache.data, source.cache.weights]
    return tuple(dict.fromkeys([*paths, *(str(Path(path).resolve()) for path in paths)]))


def _made_by() -> str:
    version = importlib.metadata.version("featx")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return f"featx {version}, {now}"


def _notices(data: ReportData) -> list[Block]:
    notices: list[Block] = [Notice(NOT_A_DEVICE_NOTE)]
    if any(run.record.extraction.backbone.weights == "random" for run in data.runs):
        notices.append(Notice(UNTRAINED_NOTE))
    if not data.evaluated:
        notices.append(Notice(OUT_OF_FOLD_NOTE))
    return notices + headline_blocks(data)


def _sections(
    data: ReportData,
    names: DisplayNames,
    missing: list[Missing],
    by: Sequence[str],
    stressed: Sequence[StressTable],
    advance: Advance,
) -> list[Section]:
    """Make all sections. What can't be shown is added to `missing`."""
    makers: list[Callable[[], Section | None]] = [
        lambda: summary_section(data),
        lambda: data_section(data, names, missing),
        lambda: methods_section(data, names),
        *(partial(performance_section, data, title, advance) for title in data.titles()),
        lambda: comparison_section(data, missing),
        lambda: subgroups_section(data, by, missing),
        lambda: shift_section(data),
        lambda: stress_section(data, stressed, names, missing),
        lambda: errors_section(data, names, missing),
        lambda: limits_section(data),
        lambda: missing_section(missing, names),
        references_section,
    ]
    sections = []
    for make in makers:
        sections.append(make())
        advance(1)
    return [section for section in sections if section is not None]
