"""The worklist as a reader uses it: in a real browser, against a real service."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featx.runs import FittedRun
from featx.serving import Service
from featx_cli.__main__ import _run
from tests.serving_fixtures import draw_films, mini_run

__all__ = ["mini_run"]

IMAGES = 20
SECONDS = 60_000
"""Milliseconds that a page may take for something that the scoring process does."""

TOKEN = "a-token-that-is-long-enough-for-anybody"

SCREENS = [(1280, "light"), (1280, "dark"), (420, "light"), (420, "dark")]


class Visit:
    """A page, and what went wrong on it."""

    def __init__(self, browser: Any, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.url = url
        self.page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        self.page.set_default_timeout(SECONDS)
        self.wrong: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(url)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "log"):  # the others advise developers
            self.wrong.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.wrong.append(request.url)

    def upload(self, paths: list[Path]) -> None:
        self.page.set_input_files("#files", paths)
        self.page.locator("#upload-close").wait_for()

    def order(self) -> list[str]:
        """Identifiers of the images and the threshold's line, from top to bottom."""
        found: list[str] = self.page.locator("tr[data-image], tr.threshold").evaluate_all(
            "all => all.map(row => row.dataset.key)"
        )
        return found

    def wait_until_scored(self) -> None:
        self.page.locator("tr.waiting").first.wait_for(state="detached")
        self.page.locator("#banners[data-waiting='0']").wait_for(state="attached")

    def open_first(self) -> None:
        self.page.locator("tr[data-image] a").first.click()
        self.page.locator("#fade:enabled").wait_for()

    def focused(self) -> str:
        found: str = self.page.evaluate("document.activeElement.getAttribute('href') ?? ''")
        return found


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_films(tmp_path_factory.mktemp("films"), IMAGES)


@pytest.fixture(scope="module")
def service(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(mini_run, port=0, state=tmp_path_factory.mktemp("served") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def filled(service: Service, films: list[Path], browser: Any) -> Service:
    """The service with images that came through the page, scored."""
    visit = Visit(browser, service.url)
    visit.upload(films)
    visit.page.reload()
    visit.wait_until_scored()
    assert visit.wrong == []
    visit.page.close()
    return service


@pytest.fixture(scope="module")
def guarded(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for a token."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o600)
    with Service(mini_run, port=0, state=folder / "state", token_file=tokens) as running:
        yield running


@pytest.fixture
def visit(filled: Service, browser: Any) -> Iterator[Visit]:
    opened = Visit(browser, filled.url)
    yield opened
    opened.page.close()


def until(page: Any, condition: str, value: Any = None) -> None:
    """Wait until an expression is true. Playwright's own way needs a page that allows eval."""
    end = time.monotonic() + SECONDS / 1000
    while not page.evaluate(condition, value):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def until_true(page: Any, condition: Callable[[], bool]) -> None:
    """Wait until something is true, and let the page go on meanwhile."""
    end = time.monotonic() + SECONDS / 1000
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def labels_of(films: list[Path]) -> dict[str, str]:
    return {path.name: path.name.split("-")[0].upper() for path in films}


@pytest.mark.long
def test_twenty_films_from_upload_to_a_threshold_of_the_hospital(
    mini_run: Path, films: list[Path], browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upload, order, open, fade the map, read by keyboard, export, calibrate, reload."""
    with Service(mini_run, port=0, state=tmp_path / "state") as service:
        visit = Visit(browser, service.url)
        page, run = visit.page, service.station.worklist.runs[0]
        page.get_by_text("Drop X-rays (JPEG").wait_for()
        visit.upload(films)
        assert page.locator("#upload-state").inner_text() == f"{IMAGES} of {IMAGES} added"
        until(page, f"document.querySelectorAll('tr[data-image]').length === {IMAGES}")
        visit.wait_until_scored()
        items = service.station.worklist.items()
        score = {item.id: item.prediction(run).score or 0.0 for item in items}
        expected = sorted(score, key=lambda key: -score[key])
        place = sum(value >= run.threshold for value in score.values())
        assert visit.order() == [*expected[:place], "line", *expected[place:]]

        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        assert visit.focused() == f"/images/{expected[0]}"
        page.keyboard.press("Enter")
        page.locator("#fade:enabled").wait_for()
        assert page.locator("#xray").evaluate("x => x.naturalWidth") == 1600
        opacity = "m => Number(getComputedStyle(m).opacity)"
        assert page.locator("#map").evaluate(opacity) == 0
        page.keyboard.press(" ")
        until(page, "getComputedStyle(document.getElementById('map')).opacity > 0.55")
        page.locator("#fade").fill("25")
        until(page, "getComputedStyle(document.getElementById('map')).opacity == 0.25")
        page.locator("#fade").blur()
        page.keyboard.press(" ")
        until(page, "getComputedStyle(document.getElementById('map')).opacity == 0")

        truth = labels_of(films)
        for number in range(IMAGES):
            name = page.locator("h1").inner_text()
            page.keyboard.press("p" if truth[name] == "PNEUMONIA" else "n")
            page.locator("#reading-state b", has_text=truth[name]).wait_for()
            if number < IMAGES - 1:
                address = page.url
                page.keyboard.press("Enter")
                page.wait_for_url(lambda url, old=address: url != old)
                page.locator("#xray").wait_for()
        page.get_by_text("No image is left to read.").wait_for()
        page.keyboard.press("Escape")
        page.wait_for_url(re.compile(r"/#[0-9a-f]{32}$"))
        assert page.locator("tr[data-read]").count() == IMAGES
        page.reload()
        assert page.locator("td.reading b").count() == IMAGES

        page.get_by_role("link", name="Readings").click()
        command = page.locator("#command").inner_text()
        with page.expect_download() as download:
            page.get_by_text("Download readings.csv").click()
        download.value.save_as(tmp_path / "readings.csv")
        words = shlex.split(" ".join(command.split()))
        monkeypatch.chdir(tmp_path)
        made = tmp_path / "local"
        assert _run([*words[1:-1], str(made), "--accuracy-floor", "0.5"]) == 0
        assert visit.wrong == []
        page.close()
    record = FittedRun(made).record
    assert record.calibrated is not None
    assert record.calibrated.images == IMAGES


@pytest.mark.long
class TestWorklist:
    def test_what_is_sent_by_others_appears_and_the_focus_stays(
        self, visit: Visit, filled: Service, tmp_path: Path
    ) -> None:
        visit.page.keyboard.press("j")
        visit.page.keyboard.press("j")
        before = visit.focused()
        (path,) = draw_films(tmp_path, 1, size=80)
        found, _ = filled.station.worklist.add(path.read_bytes(), "late.png", "watch")
        visit.page.locator(f"tr[data-key='{found.id}']").wait_for()
        visit.page.locator("#news", has_text="1 new image").wait_for()
        assert visit.focused() == before
        visit.wait_until_scored()
        assert visit.wrong == []

    def test_what_is_read_can_be_hidden(self, visit: Visit, filled: Service) -> None:
        page, worklist = visit.page, filled.station.worklist
        (first, *_) = visit.order()
        worklist.read(first, "NORMAL")
        page.locator(f"tr[data-key='{first}'][data-read]").wait_for()
        page.get_by_label("Not yet read").check()
        page.locator(f"tr[data-key='{first}']").wait_for(state="hidden")
        page.keyboard.press("j")
        assert first not in visit.focused()
        page.reload()
        assert page.get_by_label("Not yet read").is_checked()
        worklist.read(first, "")
        page.locator(f"tr[data-key='{first}']").wait_for()
        page.get_by_label("Not yet read").uncheck()

    def test_files_that_are_not_taken_are_listed_with_the_reason(
        self, visit: Visit, films: list[Path], tmp_path: Path
    ) -> None:
        (tmp_path / "letter.txt").write_text("Dear colleague")
        visit.upload([films[0], tmp_path / "letter.txt"])
        state = visit.page.locator("#upload-state").inner_text()
        assert state == "0 of 2 added · 1 already here · 1 not taken"
        refused = visit.page.locator("#refused").inner_text()
        assert refused == "letter.txt: text, not an image"

    def test_a_page_that_is_open_while_runs_change_goes_on_with_the_new_ones(
        self, visit: Visit, filled: Service, films: list[Path], tmp_path: Path
    ) -> None:
        (tmp_path / "letter.txt").write_text("Dear colleague")
        worklist = filled.station.worklist
        runs = worklist.runs
        with filled.station.process._in_turn(urgent=False):
            worklist.use_runs([*runs, replace(runs[0], id="0" * 32, name="second opinion")])
            try:
                visit.page.locator(".runs", has_text="second opinion").wait_for()
                visit.page.locator(".bottom", has_text="second opinion").wait_for()
                visit.upload([films[0], tmp_path / "letter.txt", films[1]])
                refused = visit.page.locator("#refused").inner_text()
                assert refused == "letter.txt: text, not an image"
            finally:
                worklist.use_runs(runs)
        assert visit.wrong == []

    def test_folders_are_dropped_with_all_that_is_in_them(
        self, visit: Visit, films: list[Path]
    ) -> None:
        """A folder as the browser hands it over: entries that are read in portions."""
        visit.page.evaluate(
            """([one, name]) => {
              const file = new File([Uint8Array.from(atob(one), c => c.charCodeAt(0))], name);
              const leaf = (file) => ({name: file.name, isFile: true, file: done => done(file)});
              const folder = (name, ...inside) => ({name, isFile: false, createReader: () => ({
                readEntries: done => done(inside.splice(0, 1))})});
              const hidden = new File(["x"], ".DS_Store");
              const tree = folder("all", folder("deep", leaf(file)), leaf(hidden));
              const event = new Event("drop", {bubbles: true, cancelable: true});
              event.dataTransfer = {types: ["Files"], files: [],
                items: [{webkitGetAsEntry: () => tree}]};
              document.body.dispatchEvent(event);
            }""",
            [_base64(films[1]), films[1].name],
        )
        visit.page.locator("#upload-state", has_text="0 of 1 added · 1 already here").wait_for()
        assert visit.wrong == []

    def test_files_that_the_browser_cannot_read_are_listed_beside_those_that_are_sent(
        self, visit: Visit, films: list[Path]
    ) -> None:
        visit.page.evaluate(
            """([one, name]) => {
              const file = new File([Uint8Array.from(atob(one), c => c.charCodeAt(0))], name);
              const leaf = (file) => ({name: file.name, isFile: true, file: done => done(file)});
              const locked = {name: "locked.png", isFile: true, file: (_, fail) => fail()};
              const inside = [locked, leaf(file)];
              const tree = {name: "all", isFile: false, createReader: () => ({
                readEntries: done => done(inside.splice(0, 1))})};
              const event = new Event("drop", {bubbles: true, cancelable: true});
              event.dataTransfer = {types: ["Files"], files: [],
                items: [{webkitGetAsEntry: () => tree}]};
              document.body.dispatchEvent(event);
            }""",
            [_base64(films[1]), films[1].name],
        )
        told = "0 of 2 added · 1 already here · 1 not taken"
        visit.page.locator("#upload-state", has_text=told).wait_for()
        refused = visit.page.locator("#refused").inner_text()
        assert refused == "locked.png: the browser can't read it"
        assert visit.wrong == []

    def test_a_full_queue_is_waited_for(self, visit: Visit, films: list[Path]) -> None:
        asked = []

        def answer(route: Any) -> None:
            asked.append(1)
            if len(asked) > 1:
                route.continue_()
            else:
                route.fulfill(
                    status=429, headers={"Retry-After": "1"}, json={"error": {"what": "full"}}
                )

        visit.page.route("**/api/v1/predictions?wait=0", answer)
        visit.page.set_input_files("#files", films[:1])
        visit.page.get_by_text("has enough to do at the moment").wait_for()
        visit.page.locator("#upload-state", has_text="1 already here").wait_for()
        assert len(asked) == 2

    def test_a_score_that_cannot_be_asked_for_again_is_said(self, visit: Visit) -> None:
        page = visit.page
        page.route("**/rescore", lambda route: route.abort())
        page.evaluate(
            """() => document.getElementById("banners").insertAdjacentHTML(
                 "beforeend", "<button data-action=rescore>Score again</button>")"""
        )
        button = page.get_by_role("button", name="Score again")
        button.click()
        page.get_by_text("Not scored again: the server doesn't answer.").wait_for()
        assert button.is_enabled()

    def test_help_opens_and_closes_with_keys(self, visit: Visit) -> None:
        visit.page.keyboard.press("?")
        dialog = visit.page.get_by_role("dialog", name="Keys")
        dialog.wait_for()
        visit.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")

    def test_a_server_that_is_gone_is_said(self, visit: Visit) -> None:
        with contextlib.suppress(Exception):
            visit.page.route("**/worklist", lambda route: route.abort())
        visit.page.get_by_text("This list may be old: the server doesn't answer").wait_for()


def _base64(path: Path) -> str:
    import base64

    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.long
class TestViewer:
    def test_the_film_zooms_moves_and_changes_its_window(self, visit: Visit) -> None:
        visit.open_first()
        page = visit.page
        zoom = page.locator("#zoom-value")
        page.keyboard.press("+")
        assert zoom.inner_text() == "125 %"
        page.get_by_role("button", name="Zoom in").click()
        box = page.locator("#stage").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.wheel(0, -400)
        until(page, "parseInt(document.getElementById('zoom-value').textContent) > 200")
        place = "getComputedStyle(document.getElementById('film')).transform"
        before = page.evaluate(place)
        page.mouse.down()
        page.mouse.move(x + 60, y + 20)
        page.mouse.up()
        assert page.evaluate(place) != before
        page.keyboard.press("0")
        assert zoom.inner_text() == "100 %"
        assert page.evaluate(place) == "matrix(1, 0, 0, 1, 0, 0)"
        page.mouse.move(x, y)
        page.mouse.down(button="right")
        page.mouse.move(x + 80, y - 60)
        page.mouse.up(button="right")
        assert page.locator("#level").input_value() == "-30"
        assert page.locator("#width").input_value() == "40"
        assert "window" in page.locator("#xray").evaluate("x => x.style.filter")
        page.get_by_role("button", name="Reset").click()
        assert page.locator("#xray").evaluate("x => x.style.filter") == ""
        assert visit.wrong == []

    def test_the_way_back_leads_to_the_row(self, visit: Visit) -> None:
        visit.open_first()
        page = visit.page
        first = page.url
        page.keyboard.press("j")
        page.wait_for_url(lambda url: url != first)
        page.locator("#fade:enabled").wait_for()
        second = page.url
        page.keyboard.press("Escape")
        page.wait_for_url(re.compile("#"))
        assert visit.focused() in second
        page.go_back()
        assert page.url == second

    def test_keys_in_a_hurry_never_read_another_image(self, visit: Visit, filled: Service) -> None:
        page, worklist = visit.page, filled.station.worklist
        page.locator("tr.negative:not([data-read]) a").first.click()
        page.locator("#fade:enabled").wait_for()
        first = page.url
        held: list[Any] = []
        page.route("**/reading", lambda route: held.append(route), times=1)
        for key in ("n", "Enter", "p"):  # the answer takes longer than the keys
            page.keyboard.press(key)
            until_true(page, lambda: bool(held))
        page.get_by_text("isn't kept").wait_for()
        held.pop().continue_()
        page.wait_for_url(lambda url: url != first)
        page.locator("#fade:enabled").wait_for()
        second = page.url
        page.route("**/images/*", lambda route: held.append(route), times=1)
        page.keyboard.press("k")
        until_true(page, lambda: bool(held))
        page.keyboard.press("p")  # the page before is still to be seen
        page.wait_for_timeout(300)
        held.pop().continue_()
        page.wait_for_url(lambda url: url != second)
        found = [worklist.get(url.rpartition("/")[2]) for url in (first, second)]
        assert [item.reading for item in found if item is not None] == ["NORMAL", ""]
        assert visit.wrong == []

    def test_two_readers_are_told_of_each_other(self, visit: Visit, filled: Service) -> None:
        page, worklist = visit.page, filled.station.worklist
        visit.open_first()
        identifier = page.url.rpartition("/")[2]
        worklist.read(identifier, "NORMAL")
        page.keyboard.press("p")
        said = "Read: PNEUMONIA. Meanwhile it had been read as NORMAL."
        page.get_by_text(said).wait_for()
        page.keyboard.press("n")
        page.locator("#reading-state", has_text=re.compile(r"^Read: NORMAL\.$")).wait_for()
        page.reload()  # and knows what it has read itself
        page.keyboard.press("u")
        page.locator("#reading-state", has_text=re.compile("taken back.$")).wait_for()
        assert visit.wrong == []

    def test_keys_do_nothing_while_a_slider_is_used(self, visit: Visit) -> None:
        visit.open_first()
        visit.page.locator("#level").focus()
        visit.page.keyboard.press("p")
        visit.page.keyboard.press("j")
        visit.page.keyboard.press("ArrowRight")
        assert visit.page.locator("#level").input_value() == "1"
        assert visit.page.locator("#reading-state").inner_text() == "Not yet read."

    def test_a_picture_and_a_map_that_fail_are_tried_again(self, visit: Visit) -> None:
        page = visit.page
        failing = {
            "status": 503,
            "json": {"error": {"what": "the process that scores images died"}},
        }
        page.route("**/picture.png", lambda route: route.fulfill(**failing))
        page.route("**/explanation", lambda route: route.fulfill(**failing))
        page.locator("tr[data-image] a").first.click()
        page.get_by_text(
            "The X-ray can't be shown: the process that scores images died."
        ).wait_for()
        page.get_by_text("The process that scores images died.", exact=True).wait_for()
        page.unroute("**/picture.png")
        page.unroute("**/explanation")
        page.locator("#film-again").click()
        page.locator("#why-again").click()
        page.locator("#fade:enabled").wait_for()
        page.locator("#xray").wait_for()

    def test_a_map_that_cannot_be_made_leaves_the_rest(self, visit: Visit) -> None:
        page = visit.page
        told = "the embeddings of the run have no grid, so there is no map of them"
        page.route(
            "**/explanation",
            lambda route: route.fulfill(status=422, json={"error": {"what": told}}),
        )
        page.locator("tr[data-image] a").first.click()
        page.get_by_text("The embeddings of the run have no grid").wait_for()
        page.locator("#xray").wait_for()
        assert page.locator("#why-again").is_hidden()
        assert page.locator("#fade").is_disabled()


@pytest.mark.long
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
class TestEveryScreen:
    @pytest.fixture
    def screen(self, filled: Service, browser: Any, width: int, scheme: str) -> Iterator[Visit]:
        opened = Visit(browser, filled.url, width, scheme)
        yield opened
        opened.page.close()

    def test_rules_of_accessibility_are_kept_and_nothing_sticks_out(self, screen: Visit) -> None:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        page = screen.page
        for place in ("list", "help", "image", "readings", "nothing"):
            if place == "help":
                page.keyboard.press("?")
            elif place == "image":
                page.keyboard.press("Escape")
                screen.open_first()
                page.keyboard.press(" ")
                page.locator(".nearest img").first.scroll_into_view_if_needed()
            elif place == "readings":
                page.goto(f"{screen.url}readings")
            elif place == "nothing":
                page.goto(f"{screen.url}?before=1")
            found = [
                (each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]])
                for each in axe.run(page).response["violations"]
            ]
            assert [each for each in found if each[1] in ("serious", "critical")] == [], place
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
            assert page.get_by_text("Research software, not a medical device").first.is_visible()
        assert screen.wrong == []

    def test_logging_in_is_open_to_all(
        self, guarded: Service, browser: Any, width: int, scheme: str
    ) -> None:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        visit = Visit(browser, guarded.url, width, scheme)
        page = visit.page
        assert page.url.endswith("/login")
        for told in ("Give a token of this server", "That is no token of this server"):
            page.get_by_text(told).wait_for()
            found = [(each["id"], each["impact"]) for each in axe.run(page).response["violations"]]
            assert [each for each in found if each[1] in ("serious", "critical")] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.get_by_label("Token").fill("wrong-token-of-twenty-characters")
            page.keyboard.press("Enter")
            page.get_by_role("alert").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_text("No images yet").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_text("Give a token of this server").wait_for()
        assert [each for each in visit.wrong if "401" not in each] == []
        page.close()

    def test_tab_alone_leads_through_the_pages(self, screen: Visit) -> None:
        page = screen.page
        reached = walk(page, 40)
        assert {"a.skip", "a", "#unread-only", "#files", "#folder"} <= reached
        screen.open_first()
        reached = walk(page, 40)
        assert {"#stage", "#zoom-in", "#fade", "#level", "#width", "button.choice"} <= reached


def walk(page: Any, steps: int) -> set[str]:
    """Press Tab so often, and return what had the focus. Each has to be seen to have it."""
    reached = set()
    for _ in range(steps):
        page.keyboard.press("Tab")
        name, seen = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(
                 e.type === "file" ? e.parentElement : e);
               return [e.id ? "#" + e.id : e.localName + (e.classList[0] ? "." + e.classList[0]
                 : ""), e === document.body || s.outlineStyle !== "none"]; }"""
        )
        assert seen, name
        reached.add(name)
    return reached
