"""The site builds without a warning, opens from disk, and asks the web for nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT

PAGES = (
    "index.html",
    "reference/command-line.html",
    "reference/api/runs.html",
    "architecture.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="pip install 'featx[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "cli", "cache")),
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


class TestOnDisk:
    def test_pages_load_nothing_from_elsewhere(self, site: Path) -> None:
        loads = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//', re.I)
        pages = list(site.rglob("*.html"))
        assert len(pages) > 40
        assert [page for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []

    def test_every_function_of_the_table_of_contents_is_in_the_reference(self, site: Path) -> None:
        text = (site / "reference/api/extraction.html").read_text(encoding="utf-8")
        assert 'id="featx.extraction.extract"' in text

    def test_the_house_is_drawn_in_its_page(self, site: Path) -> None:
        text = (site / "architecture.html").read_text(encoding="utf-8")
        assert text.count('<svg class="house"') == 1
        assert 'data-package="featx.thresholds"' in text

    def test_code_in_tables_has_no_escapes(self, site: Path) -> None:
        for page in site.rglob("*.html"):
            assert not re.search(r"<td><code>[^<]*\\\|", page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
class TestInABrowser:
    def test_it_asks_for_nothing_and_nothing_sticks_out(
        self, site: Path, browser: Any, width: int, scheme: str
    ) -> None:
        for name in PAGES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            wrong: list[str] = []
            asked: list[str] = []
            page.on("console", lambda message, to=wrong: to.append(message.text))
            page.on("pageerror", lambda error, to=wrong: to.append(str(error)))
            page.on("request", lambda request, to=asked: to.append(request.url))
            page.goto((site / name).as_uri())
            page.wait_for_load_state("networkidle")
            assert wrong == []
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            page.close()

    def test_search_works_from_disk(
        self, site: Path, browser: Any, width: int, scheme: str
    ) -> None:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto((site / "index.html").as_uri())
        page.wait_for_load_state("networkidle")
        if width < 600:
            page.click("label[for=__search].md-header__button")
        else:
            page.click("[data-md-component=search-query]")
        page.keyboard.type("guarantee", delay=50)
        first = page.locator(".md-search-result__item:first-child")
        first.filter(has_text="guarantee").wait_for(timeout=30_000)
        page.close()
