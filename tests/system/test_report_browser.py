"""The report as a person sees it: opened from disk in a real browser."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.fitting import fit
from featx.heads import HeadSpec
from featx.reports import Report
from featx.reports import report as make_report
from featx_cache import open_cache
from tests.folds import use_two_folds

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def value(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report of two runs with long and hostile names, their images there."""
    folder = tmp_path_factory.mktemp("browser")
    cache = open_cache(shutil.copytree(tiny_cache, folder / "embeddings_of_our_hospital"))
    settings = {"architecture": "gap", "epochs": 2, "precision": "float32"}
    keras = HeadSpec.choose("keras", settings=settings)
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        fit(cache, keras, folder / "keras", accuracy_floor=0.3)
    long = folder / f"a-{'very-' * 20}long-name-<b>&"
    fit(cache, HeadSpec.choose("logreg"), long, accuracy_floor=0.5)
    title = "Un<b>bold</b> " + "W" * 60
    return make_report([folder / "keras", long], title=title, progress=False)


@pytest.fixture(scope="module")
def report(value: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return value.save(tmp_path_factory.mktemp("page") / "report.html").html


@pytest.fixture(
    scope="module",
    params=[(1280, "light"), (1280, "dark"), (420, "light"), (420, "dark")],
    ids=str,
)
def visit(request: pytest.FixtureRequest, report: Path, browser: Any) -> Iterator[Any]:
    """The page, what it complained of and what it asked for."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.wrong, page.asked = [], []
    page.on("console", lambda message: page.wrong.append(message.text))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    page.close()


def test_it_opens_from_disk_without_a_complaint_and_asks_for_nothing(
    visit: Any, report: Path
) -> None:
    assert visit.wrong == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [report.as_uri()]


def test_every_picture_is_drawn_and_told_in_words(visit: Any) -> None:
    images = visit.locator("img").evaluate_all(
        "all => all.map(i => [i.alt, i.complete && i.naturalWidth, i.clientWidth])"
    )
    assert len(images) > 25
    for alt, natural, shown in images:
        assert len(alt) > 10
        assert natural > 100
        assert shown > 90


def test_nothing_sticks_out_sideways(visit: Any) -> None:
    wide = visit.evaluate(
        """() => [document.documentElement, document.body,
          ...document.querySelectorAll("main *:not(.table *, pre *)")]
          .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
          .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert visit.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_tables_scroll_inside_their_own_box(visit: Any) -> None:
    boxes = visit.locator(".table").evaluate_all(
        "all => all.map(b => [b.scrollWidth - b.clientWidth, getComputedStyle(b).overflowX])"
    )
    assert all(overflow == "auto" for _, overflow in boxes)
    assert any(hidden > 0 for hidden, _ in boxes)


def test_the_first_table_is_seen_whole_on_a_laptop(visit: Any) -> None:
    hidden = visit.locator("#glance .table").evaluate("b => b.scrollWidth - b.clientWidth")
    assert hidden <= 0 or visit.viewport_size["width"] < 1280
    headings = visit.locator("#glance thead th").all_inner_texts()
    assert [" ".join(text.split()) for text in headings[-2:]] == ["threshold", "criterion"]


def test_letters_stand_out_from_what_is_behind_them(visit: Any) -> None:
    """Contrast of 4.5 at least, as the Web Content Accessibility Guidelines (AA) have it."""
    contrasts = visit.evaluate(
        """() => {
          const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
            .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b; };
          const behind = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
          return [...document.querySelectorAll("p, a, th, td, li, h1, h2, h3, pre, summary,"
            + "figcaption")].map(e => { const a = light(getComputedStyle(e).color),
            b = light(behind(e)); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); });
        }"""
    )
    assert len(contrasts) > 100
    assert min(contrasts) >= 4.5


def test_headings_go_down_one_level_at_a_time(visit: Any) -> None:
    levels = visit.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert visit.locator("h1 b").count() == 0


def test_links_of_the_contents_lead_there(visit: Any) -> None:
    visit.locator("nav a", has_text="Limits of use").click()
    top = visit.locator("#limits h2").evaluate("h => h.getBoundingClientRect().top")
    assert 0 <= top < 450


def test_links_stay_within_the_frame_of_a_notebook(
    value: Report, browser: Any, tmp_path: Path
) -> None:
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<h1>Mine</h1>{value._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("nav a", has_text="Limits of use").click()
    assert 0 <= frame.locator("#limits h2").evaluate("h => h.getBoundingClientRect().top") < 450
    assert page.locator("h1").all_inner_texts() == ["Mine"]
    assert page.locator("h1").evaluate("h => getComputedStyle(h).lineHeight") == "normal"
    page.close()
