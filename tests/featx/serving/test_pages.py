"""The pages as a server sends them: the worklist, an image, readings and pictures."""

from __future__ import annotations

import csv
import io
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from featx.errors import StorageError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx.scoring import Prediction
from featx.serving import Service
from featx.serving._days import Day, days_of, number, verdict_words
from featx.serving._pages import _keys
from featx.serving._pictures import Pictures
from featx.serving._readings import readings_of
from featx.worklist import Item, RunFacts, ScoringDiedError, Worklist
from featx_cache import open_cache
from featx_cli.__main__ import _run
from tests.dicoms import dicom
from tests.featx.serving.conftest import new_png
from tests.serving_fixtures import draw_films, mini_run

__all__ = ["mini_run"]

RUN = RunFacts("a" * 32, "one", "runs/one", "logreg", ("NORMAL", "PNEUMONIA"), 0.4, (0.3, 0.5))
OTHER = RunFacts("b" * 32, "two", "runs/two", "svm", ("NORMAL", "PNEUMONIA"), 0.4)
NOON = datetime(2026, 3, 14, 12).astimezone()


def item(name: str, *scores: float | None, state: str = "scored", **more: Any) -> Item:
    """Make an image with a score of each run."""
    predictions = {}
    for run, score in zip((RUN, OTHER), scores, strict=False):
        called = "" if score is None else run.classes[score >= run.threshold]
        made = Prediction(name, score, score, run.threshold, called, uncertain=False)
        predictions[run.id] = made
    about = {"received": NOON, "path": Path(name), "predictions": predictions} | more
    code = name.encode().hex().ljust(32, "0")[:32]
    return Item(code, origin="upload", format="PNG", state=state, name=name, **about)  # type: ignore[arg-type]


def names(day: Day, group: str) -> list[str]:
    return [row.item.name for row in day.of(group)]


class TestDays:
    def test_the_highest_score_of_the_newest_day_is_first(self) -> None:
        found = days_of(
            [item("low", 0.1), item("high", 0.9), item("middle", 0.5),
             item("old", 0.99, received=NOON - timedelta(days=1))],
            (RUN,),
        )  # fmt: skip
        assert [day.date.day for day in found] == [14, 13]
        assert [row.item.name for row in found[0].rows] == ["high", "middle", "low"]
        assert names(found[0], "positive") == ["high", "middle"]

    def test_what_has_no_verdict_comes_first(self) -> None:
        earlier = item(
            "earlier", predictions={"c" * 32: Prediction("x", 0.9, 0.9, 0.1, "PNEUMONIA")}
        )
        (day,) = days_of(
            [item("a", 0.9), item("waits", state="waiting"), earlier,
             item("broken", state="failed", error="its pixels are damaged")],
            (RUN,),
        )  # fmt: skip
        assert [row.group for row in day.rows] == ["failed", "waiting", "earlier", "positive"]
        assert "2 of 4 to look at first · 1 without a score · 1 waiting" in day.counts

    def test_what_earlier_runs_called_positive_comes_before_what_they_called_negative(self) -> None:
        said = {"sick": (0.5, 0.3), "well": (0.1, 0.3), "other run": (0.7, 0.8)}
        rows = [
            item(name, predictions={"c" * 32: Prediction("x", score, score, threshold, "")})
            for name, (score, threshold) in said.items()
        ]
        (day,) = days_of([rows[1], rows[2], rows[0]], (RUN,))
        assert names(day, "earlier") == ["sick", "other run", "well"]
        assert [row.first for row in day.rows] == [True, False, False]

    def test_verdict_of_the_second_run_is_shown_if_the_first_was_replaced(self) -> None:
        made = Prediction("x", 0.9, 0.9, 0.4, "PNEUMONIA")
        both = item("both", predictions={OTHER.id: made, "c" * 32: made})
        neither = item("neither", predictions={"c" * 32: made})
        (day,) = days_of([both, neither], (RUN, OTHER))
        assert names(day, "earlier") == ["both", "neither"]
        assert [row.unscored for row in day.of("earlier")] == [False, True]

    def test_an_image_that_a_run_in_use_has_not_scored_can_be_scored_again(self) -> None:
        kept = replace(item("kept", 0.9), path=Path("kept.png"))
        removed = replace(item("removed", 0.8), path=None)
        (day,) = days_of([kept, removed], (RUN, OTHER))
        assert [row.incomplete for row in day.rows] == [True, False]
        (day,) = days_of([kept, removed], (RUN,))
        assert [row.incomplete for row in day.rows] == [False, False]

    def test_uncertain_and_strange_images_are_looked_at_first_unless_they_are_read(self) -> None:
        strange = Prediction("x", 0.1, 0.1, 0.4, "NORMAL", unlike_training=True, view="inverted")
        unsure = Prediction("x", 0.39, 0.4, 0.4, "NORMAL", uncertain=True)
        (day,) = days_of(
            [item("strange", predictions={RUN.id: strange}),
             item("unsure", predictions={RUN.id: unsure}),
             item("read", 0.9, reading="NORMAL"), item("well", 0.2)],
            (RUN,),
        )  # fmt: skip
        assert {row.item.name for row in day.rows if row.first} == {"strange", "unsure"}
        flags = {row.item.name: row.cells[0].flags for row in day.rows}
        assert flags["strange"] == ["unlike the training images", "looks inverted"]
        assert flags["unsure"] == ["uncertain"]
        assert day.counts == "2 of 4 to look at first · 1 read"

    def test_what_is_removed_can_be_looked_at_no_more(self) -> None:
        removed = [item("a", 0.9, path=None), item("read", 0.9, path=None, reading="NORMAL")]
        (day,) = days_of([*removed, item("kept", 0.9)], (RUN,))
        assert day.counts == ("1 of 3 to look at first · 1 read · 1 removed unread")

    def test_runs_that_disagree_are_marked(self) -> None:
        (day,) = days_of([item("same", 0.9, 0.8), item("differ", 0.2, 0.8)], (RUN, OTHER))
        assert {row.item.name: row.disagree for row in day.rows} == {"same": False, "differ": True}

    def test_runs_that_ask_something_else_are_not_compared(self) -> None:
        other = replace(OTHER, classes=("NORMAL", "FRACTURE"))
        made = Prediction("x", 0.1, 0.1, 0.4, "NORMAL")
        both = {RUN.id: Prediction("x", 0.9, 0.9, 0.4, "PNEUMONIA")}
        (day,) = days_of([item("a", predictions={**both, other.id: made})], (RUN, other))
        assert not day.rows[0].disagree
        turned = replace(OTHER, classes=("PNEUMONIA", "NORMAL"))
        same = replace(made, prediction="PNEUMONIA")
        for verdict, disagree in ((same, False), (replace(same, prediction="NORMAL"), True)):
            (day,) = days_of([item("a", predictions={**both, turned.id: verdict})], (RUN, turned))
            assert day.rows[0].disagree is disagree

    def test_a_verdict_is_said_in_words(self) -> None:
        called = Prediction("x", 0.81, 0.7, 0.36, "PNEUMONIA", uncertain=False)
        assert verdict_words(called, (0.3, 0.42)) == (
            "Called PNEUMONIA: score 0.810 lies above the threshold 0.360, outside the uncertain "
            "range 0.300 – 0.420."
        )
        assert "reaches" in verdict_words(Prediction("x", 0.36, 0.7, 0.36, "PNEUMONIA"), None)
        unsure = Prediction("x", 0.35, 0.7, 0.36, "NORMAL", uncertain=True)
        assert "lies below the threshold 0.360, inside" in verdict_words(unsure, (0.3, 0.42))
        strange = Prediction("x", 0.81, 0.7, 0.36, "PNEUMONIA", unlike_training=True)
        assert verdict_words(strange, None).endswith("this score may mean nothing.")

    @pytest.mark.parametrize(
        ("view", "words"),
        [("other", "not like a frontal chest X-ray"), ("upside down", "looks upside down"),
         ("inverted, rotated 270", "looks inverted, turned 90° to the left")],
    )  # fmt: skip
    def test_a_view_is_said_in_a_readers_words(self, view: str, words: str) -> None:
        said = Prediction("x", 0.1, 0.1, 0.4, "NORMAL", view=view)
        (day,) = days_of([item("x", predictions={RUN.id: said})], (RUN,))
        assert day.rows[0].cells[0].flags == [words]

    def test_a_score_is_not_rounded_to_certainty(self) -> None:
        assert [number(x) for x in (0.99994, 0.00021, 0.5)] == ["0.99994", "0.00021", "0.500"]
        assert [number(x) for x in (0.9999999516, 1.0)] == ["0.99999995", "1"]

    @pytest.mark.parametrize(
        ("classes", "keys"),
        [
            (("NORMAL", "PNEUMONIA"), "np"),
            (("healthy", "sick"), "hs"),
            (("healthy", "hurt"), "np"),
            (("0", "1"), "np"),
            (("junk", "ok"), "np"),
            (("", "x"), "np"),
        ],
    )
    def test_keys_are_the_first_letters_where_these_are_free(
        self, classes: tuple[str, str], keys: str
    ) -> None:
        run = RunFacts("a", "one", "one", "logreg", classes, 0.4)
        assert "".join(_keys((run,))) == keys


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_films(tmp_path_factory.mktemp("films"), 12)


@pytest.fixture(scope="module")
def service(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a scoring process of its own. Tests of this module share its worklist."""
    with Service(mini_run, port=0, state=tmp_path_factory.mktemp("served") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as opened:
        yield opened


@pytest.fixture(scope="module")
def sent(client: httpx.Client, films: list[Path]) -> list[dict[str, Any]]:
    """Rows of images that the worklist has."""
    files = [("images", (path.name, path.read_bytes())) for path in films]
    answer = client.post("/api/v1/predictions", files=files)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()
    assert len(found) == len(films)
    return found


def read(client: httpx.Client, row: dict[str, Any], label: str) -> httpx.Response:
    return client.put(f"/api/v1/predictions/{row['id']}/reading", json={"label": label})


class TestWorklist:
    def test_images_are_in_the_order_of_their_scores_with_the_threshold_between(
        self, client: httpx.Client, service: Service, sent: list[dict[str, Any]]
    ) -> None:
        page = client.get("/").text
        keys = re.findall(r'data-key="([0-9a-f]{32}|line)"', page)
        expected = sorted(sent, key=lambda row: -row["score"])
        positive = [row["id"] for row in expected if row["score"] >= row["threshold"]]
        assert 0 < len(positive) < len(sent)
        assert keys == [*positive, "line", *(row["id"] for row in expected[len(positive) :])]
        run = service.station.worklist.runs[0]
        assert f"threshold {number(run.threshold)} · called <b>PNEUMONIA</b> above" in page
        assert "Research software, not a medical device." in page
        assert run.recall is not None
        assert f"Of the {run.images} images that this threshold was chosen on, " in page

    def test_no_page_has_a_script_or_a_style_in_it(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        for address in ("/", f"/images/{sent[0]['id']}", "/readings", "/worklist"):
            text = client.get(address).text
            assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", text), address
            assert "<<<<<<<" not in text, address  # a merge

    def test_a_list_that_has_not_changed_is_not_sent_again(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        first = client.get("/worklist")
        weak = {"If-None-Match": f"W/{first.headers['etag']}"}  # as a proxy hands it on
        assert client.get("/worklist", headers=weak).status_code == 304
        headers = {"If-None-Match": first.headers["etag"]}
        assert client.get("/worklist", headers=headers).status_code == 304
        read(client, sent[0], "NORMAL")
        changed = client.get("/worklist", headers=headers)
        assert changed.status_code == 200
        assert "read: <b>NORMAL</b>" in changed.text
        read(client, sent[0], "")

    def test_names_are_text(self, client: httpx.Client, tmp_path: Path) -> None:
        (path,) = draw_films(tmp_path, 1, size=70)
        name = "<img src=x onerror=alert(1)>&amp.png"
        (row,) = client.post(
            "/api/v1/predictions", files={"images": (name, path.read_bytes())}
        ).json()
        for address in ("/", f"/images/{row['id']}"):
            text = client.get(address).text
            assert "<img src=x" not in text
            assert "&lt;img src=x onerror=alert(1)&gt;&amp;amp.png" in text

    def test_older_images_are_on_another_page(self, client: httpx.Client) -> None:
        assert "No images before that time" in client.get("/", params={"before": 1e9}).text
        assert client.get("/", params={"before": "x"}).status_code == 422

    def test_only_files_of_the_page_are_sent(self, client: httpx.Client) -> None:
        assert client.get("/static/style.css").headers["content-type"].startswith("text/css")
        script = client.get("/static/worklist.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for name in ("none.js", "../_pages.py", "%2e%2e%2f_pages.py", "style.css.map"):
            assert client.get(f"/static/{name}").status_code in (404, 422)


class TestImage:
    def test_its_page_says_what_there_is_to_know(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        row = max(sent, key=lambda row: row["score"])
        text = client.get(f"/images/{row['id']}").text
        assert row["path"] in text
        assert "Called PNEUMONIA: score" in text
        assert f"<dd>{number(row['probability'])}</dd>" in text
        assert row["id"][:8] in text

    @pytest.mark.parametrize("identifier", ["0" * 32, "nothing", "<b>"])
    def test_one_that_is_not_there_is_said(self, client: httpx.Client, identifier: str) -> None:
        answer = client.get(f"/images/{identifier}")
        assert answer.status_code == 404
        assert "There is no image of this address" in answer.text

    def test_its_picture_is_made_once_and_goes_with_it(
        self, client: httpx.Client, service: Service, films: list[Path], sent: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        address = f"/api/v1/predictions/{sent[1]['id']}"
        first = client.get(f"{address}/picture.png")
        picture = np.asarray(Image.open(io.BytesIO(first.content)), float)
        size = Image.open(films[1]).size
        film = np.asarray(Image.open(io.BytesIO(first.content)).resize(size), float)
        assert max(picture.shape) == 1600
        assert (
            np.corrcoef(film.ravel(), np.asarray(Image.open(films[1]), float).ravel())[0, 1] > 0.98
        )
        explained = client.get(f"{address}/explanation").json()
        path = service.station.worklist.get(sent[1]["id"]).path  # type: ignore[union-attr]
        assert path is not None
        kept = {file.name.split(".", 1)[1] for file in path.parent.glob(f"{sent[1]['id']}.*")}
        run = service.station.worklist.runs[0].id
        assert kept == {"png", "name", "picture.png", f"{run}.explained.json"}
        damaged = path.with_name(f"{sent[1]['id']}.{run}.explained.json")
        damaged.write_bytes(damaged.read_bytes()[:100])
        assert client.get(f"{address}/explanation").json() == explained

        def dead(*_: Any, **__: Any) -> Any:
            raise ScoringDiedError("the process that scores images died")

        monkeypatch.setattr(service.station.process, "_ask", dead)
        assert client.get(f"{address}/picture.png").content == first.content
        assert client.get(f"{address}/explanation").json() == explained
        answer = client.get(f"/api/v1/predictions/{sent[2]['id']}/picture.png")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]

    def test_its_explanation_has_a_map_and_training_images(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        address = f"/api/v1/predictions/{sent[3]['id']}"
        found = client.get(f"{address}/explanation").json()
        assert "it is no diagnosis" in found["notes"][-1]
        assert len(found["nearest"]) == 4
        assert {each["label"] for each in found["nearest"]} == {"NORMAL", "PNEUMONIA"}
        overlay = Image.open(io.BytesIO(client.get(f"{address}/{found['overlay']}").content))
        assert overlay.mode == "RGBA"
        assert np.ptp(np.asarray(overlay)[..., 3]) > 100
        near = client.get(f"{address}/{found['nearest'][0]['picture']}")
        assert Image.open(io.BytesIO(near.content)).width > 50
        assert client.get(f"{address}/nearest/9.png").status_code == 404

    def test_one_that_cannot_be_decoded_is_told_in_a_sentence(
        self, client: httpx.Client, films: list[Path]
    ) -> None:
        whole = films[0].read_bytes()
        broken = whole[: len(whole) // 2]
        answer = client.post("/api/v1/predictions", files={"images": ("half.png", broken)})
        (row,) = answer.json()
        assert row["state"] == "failed"
        assert f"no score: {row['error']}" in re.sub(r"<[^>]+>", "", client.get("/").text)
        for name in ("picture.png", "explanation"):
            told = client.get(f"/api/v1/predictions/{row['id']}/{name}")
            assert told.status_code == 422
            assert row["error"] in told.text
            assert "state" not in told.text
        text = client.get(f"/images/{row['id']}").text
        assert f"No score: {row['error']}" in text

    @pytest.mark.parametrize("name", ["picture.png", "overlay.png", "explanation", "nearest/0.png"])
    def test_pictures_of_unknown_images_are_not_there(
        self, client: httpx.Client, name: str
    ) -> None:
        assert client.get(f"/api/v1/predictions/{'0' * 32}/{name}").status_code == 404
        assert client.get(f"/api/v1/predictions/..%2f..%2fx/{name}").status_code in (404, 422)


class TestReadings:
    def test_one_is_kept_and_taken_back_and_the_next_image_is_offered(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        order = sorted(sent, key=lambda row: -row["score"])
        answer = read(client, order[0], "PNEUMONIA").json()
        assert (answer["reading"], answer["next"]) == ("PNEUMONIA", order[1]["id"])
        read(client, order[1], "NORMAL")
        again = read(client, order[0], "NORMAL").json()
        assert (again["reading"], again["next"]) == ("NORMAL", order[2]["id"])
        changed = read(client, order[1], "PNEUMONIA").json()
        earlier = [found["earlier"] for found in (answer, again, changed)]
        assert earlier == [None, "PNEUMONIA", "NORMAL"]
        assert again["left"] == answer["left"] - 1
        assert read(client, order[0], "").json()["reading"] is None
        read(client, order[1], "")
        assert "read: <b>" not in client.get("/").text

    def test_what_is_no_class_is_refused(
        self, client: httpx.Client, sent: list[dict[str, Any]]
    ) -> None:
        answer = read(client, sent[0], "COVID")
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert error["what"] == "'COVID' is no class of the run"
        assert error["hint"] == "Give NORMAL or PNEUMONIA."
        assert read(client, {"id": "0" * 32}, "NORMAL").status_code == 404
        assert read(client, {"id": "0" * 31}, "NORMAL").status_code == 404

    def test_a_name_that_tells_the_patient_is_believed(self, client: httpx.Client) -> None:
        content = io.BytesIO()
        Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(content, "PNG")
        file = ("person7_virus_20.png", content.getvalue())
        (row,) = client.post("/api/v1/predictions", files={"images": file}).json()
        read(client, row, "NORMAL")
        (exported,) = csv.DictReader(io.StringIO(client.get("/api/v1/readings.csv").text))
        assert exported["group"] == "person7_virus"
        read(client, row, "")

    def test_the_printed_command_makes_a_run_of_the_export(
        self, client: httpx.Client, films: list[Path], sent: list[dict[str, Any]], mini_run: Path,
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        assert "too few readings" in client.get("/readings").text
        for row in sent:
            read(client, row, "PNEUMONIA" if row["path"].startswith("pneumonia") else "NORMAL")
        taken = []
        for place in (0, 1):
            pixels = np.asarray(Image.open(films[place])).astype(np.uint16)
            path = dicom(tmp_path / "Doe.dcm", pixels, PatientID="Q-4711")
            (row,) = client.post("/api/v1/predictions", files={"images": path.open("rb")}).json()
            taken.append(row["id"])
            read(client, row, "PNEUMONIA" if place else "NORMAL")
        page = client.get("/readings").text
        assert "too few readings" not in page
        assert f"featx serve {mini_run}-local --state " in page
        export = client.get("/api/v1/readings.csv")
        assert "attachment" in export.headers["content-disposition"]
        (tmp_path / "readings.csv").write_text(export.text)
        rows = list(csv.DictReader(io.StringIO(export.text)))
        people = {row["group"] for row in rows if row["path"].endswith(".dcm")}
        assert len(rows) == len(sent) + 2
        (person,) = people
        assert re.fullmatch("[0-9a-f]{16}", person)
        assert {row["path"].split("/")[1][:32] for row in rows if row["group"] in people} == {
            *taken
        }
        assert all(row["group"] in (row["path"], person) for row in rows)
        assert "Doe" not in export.text + page + client.get("/").text
        (command,) = re.findall(r'<pre id="command"[^>]*>([^<]*)</pre>', page)
        words = shlex.split(command)
        made = tmp_path / "local"
        assert words[-2:] == ["--run", str(mini_run.with_name("mini-local"))]
        monkeypatch.chdir(tmp_path)
        assert _run([*words[1:-1], str(made), "--accuracy-floor", "0.5"]) == 0
        record = FittedRun(made).record
        assert record.calibrated is not None
        assert record.calibrated.images == len(sent) + 2
        assert record.calibrated.patients == len(sent) + 1
        for row in [*sent, *({"id": each} for each in taken)]:
            read(client, row, "")


@pytest.mark.long
class TestRemovedImages:
    def test_they_stay_in_the_list_without_a_picture_and_are_left_out_of_the_export(
        self, mini_run: Path, films: list[Path], tmp_path: Path
    ) -> None:
        state = tmp_path / "state"
        with (
            Service(mini_run, port=0, state=state, keep_days=1) as running,
            httpx.Client(base_url=running.url, timeout=120) as client,
        ):
            page = client.get("/").text
            assert "No images yet" in page
            assert "Drop X-rays" in page
            files = [("images", (path.name, path.read_bytes())) for path in films[:2]]
            first, second = client.post("/api/v1/predictions", files=files).json()
            read(client, first, "NORMAL")
            read(client, second, "PNEUMONIA")
            for name in ("picture.png", "explanation"):
                assert client.get(f"/api/v1/predictions/{first['id']}/{name}").status_code == 200
            worklist = running.station.worklist
            with worklist._database.transaction() as change:
                change("UPDATE images SET received = ? WHERE id = ?",
                       (time.time() - 2 * 86400, first["id"]))  # fmt: skip
            worklist.expire()
            assert list((state / "images").glob(f"*/{first['id']}*")) == []
            text = client.get(f"/images/{first['id']}").text
            assert "The image was removed after 1 day." in text
            assert "<img" not in text
            assert "Read: <b>NORMAL</b>" in text
            told = client.get(f"/api/v1/predictions/{first['id']}/picture.png")
            assert told.status_code == 404
            assert "isn't kept any more" in told.json()["error"]["what"]
            page = client.get("/readings").text
            assert "1 image left out: removed" in page
            assert first["id"][:8] in page
            export = client.get("/api/v1/readings.csv").text
        assert second["id"] in export
        assert first["id"] not in export


def test_readings_in_classes_of_another_run_are_left_out(tmp_path: Path) -> None:
    with Worklist(tmp_path / "state") as worklist:
        worklist.use_runs([RUN])
        images = [worklist.add(new_png(), "a.png", "upload")[0].id for _ in range(2)]
        for image in images:
            worklist.read(image, "NORMAL")
        worklist.use_runs([replace(RUN, id="c" * 32, classes=("healthy", "sick"))])
        worklist.read(images[1], "sick")
        found = readings_of(worklist)
        assert [each.id for each in found.foreign] == images[:1]
        assert found.csv().count("sick") == 1
        assert "NORMAL" not in found.csv()


@pytest.mark.long
class TestReplacedRun:
    def test_its_scores_are_marked_until_they_are_made_again(
        self, mini_run: Path, films: list[Path], tmp_path: Path
    ) -> None:
        run = shutil.copytree(mini_run, tmp_path / "run")
        with (
            Service(run, port=0, state=tmp_path / "state") as running,
            httpx.Client(base_url=running.url, timeout=120) as client,
        ):
            send = [("images", (path.name, path.read_bytes())) for path in films[:3]]
            client.post("/api/v1/predictions", files=send[:2])
            cache = open_cache(FittedRun(mini_run).record.cache)
            head = HeadSpec.choose("logreg", settings={"C": 0.001})
            fit(cache, head, run, accuracy_floor=0.6, force=True)
            (row,) = client.post("/api/v1/predictions", files=send[2:]).json()
            running.station.loop.notice = "runs/<b> is damaged. The run before is used."
            page = client.get("/").text
            assert "Scoring needs a look.</b> runs/&lt;b&gt; is damaged." in page
            running.station.loop.notice = ""
            page = client.get("/").text
            assert "is damaged" not in page
            assert "2 images have no score yet of the run in use" in page
            assert page.count("an earlier run (run) called it") == 2
            assert client.post("/api/v1/rescore").json() == {"waiting": 2}
            client.get(f"/api/v1/predictions/{row['id']}")
            end = time.monotonic() + 60
            while running.station.worklist.count_waiting() and time.monotonic() < end:
                time.sleep(0.05)
            page = client.get("/").text
        assert "an earlier run" not in page
        assert page.count('<svg class="score-line"') == 3


@pytest.mark.long
class TestSeveralRuns:
    def test_each_has_a_column(self, mini_run: Path, films: list[Path], tmp_path: Path) -> None:
        other = tmp_path / "other"
        head = HeadSpec.choose("logreg", settings={"C": 1e-4})
        fit(open_cache(FittedRun(mini_run).record.cache), head, other, accuracy_floor=0.5)
        with (
            Service([mini_run, other], port=0, state=tmp_path / "state") as running,
            httpx.Client(base_url=running.url, timeout=120) as client,
        ):
            client.post("/api/v1/predictions", files={"images": films[0].read_bytes()})
            page = client.get("/").text
            (row,) = re.findall(r'href="(/images/[^"]+)"', page)
            image = client.get(row).text
        assert "Score and verdict of mini" in page
        assert "Score and verdict of other" in page
        assert "It orders the worklist." in page
        assert re.findall(r'id="verdict-\d">(\w+)<', image) == ["mini", "other"]


def test_what_isnt_taken_of_the_watched_folder_is_shown_and_audited(
    mini_run: Path, tmp_path: Path
) -> None:
    (folder := tmp_path / "incoming").mkdir()
    draw_films(folder, 1)
    (folder / "<b>.png").write_bytes(b"")
    state = tmp_path / "state"
    with Service(mini_run, state=state, port=0, watch=folder) as service:
        watched = service.station.watched
        assert watched is not None
        end = time.monotonic() + 60.0
        while not (watched.in_words and service.station.worklist.items()):
            assert time.monotonic() < end
            time.sleep(0.05)
        page = httpx.get(service.url).text
    assert "Watched folder: 1 file left out: 1 the file is empty." in page
    assert "&lt;b&gt;.png: the file is empty" in page
    log = (state / "audit.log").read_text()
    assert log.count('"who": "watch"') == 2
    assert ".png" not in log


def test_a_full_disk_shows_pictures_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Process:
        def picture(self, *_: Any) -> bytes:
            return b"png"

    def full(_: Path) -> Any:
        raise StorageError("no room left")

    monkeypatch.setattr("featx.serving._pictures.atomic_path", full)
    (tmp_path / "a.png").touch()
    shown = Pictures(Process())  # type: ignore[arg-type]
    assert shown.picture(item("a", path=tmp_path / "a.png")) == b"png"
    monkeypatch.undo()
    monkeypatch.setattr("featx.worklist._state_folder.RESERVED_BYTES", 2**60)
    assert shown.picture(item("a", path=tmp_path / "a.png")) == b"png"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
