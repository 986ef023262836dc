"""The REST API: what goes in, and what comes out."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from featx._run import load_run
from featx.scoring import Prediction
from featx.serving import Service
from featx.worklist import Limits
from tests.dicoms import PATIENT, dicom
from tests.featx.serving.conftest import Variant, form, new_png

URL = "/api/v1/predictions"
COLUMNS = [name for name in Prediction.__slots__ if name != "path"]


@pytest.fixture(scope="session")
def images(phantom_data: Path) -> list[Path]:
    return sorted((phantom_data / "test").rglob("*.png"))


@pytest.fixture(scope="session")
def dicom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(7).integers(0, 4000, (64, 48), np.uint16)
    return dicom(tmp_path_factory.mktemp("dicom") / "Doe_Jane.dcm", pixels)


class TestPost:
    def test_answers_what_predict_does(
        self, client: httpx.Client, tiny_run: Path, images: list[Path], dicom_file: Path
    ) -> None:
        paths = [*images, dicom_file]
        answer = client.post(URL, files=form(*((path.name, path.read_bytes()) for path in paths)))
        assert answer.status_code == 200
        expected = load_run(tiny_run, runtime="ncnn").predict(paths, progress=False)
        for row, wanted in zip(answer.json(), expected, strict=True):
            assert {name: row[name] for name in COLUMNS} == {
                name: getattr(wanted, name) for name in COLUMNS
            }
        assert [row["path"] for row in answer.json()[:-1]] == [path.name for path in images]

    def test_takes_one_image_as_it_is(
        self, client: httpx.Client, images: list[Path], dicom_file: Path
    ) -> None:
        for path, kind in (
            (images[0], "image/png"),
            (dicom_file, "application/dicom"),
            (dicom_file, "application/octet-stream"),
        ):
            sent = client.post(URL, content=path.read_bytes(), headers={"Content-Type": kind})
            (row,) = client.post(URL, files=form((path.name, path.read_bytes()))).json()
            assert sent.status_code == 200
            assert sent.json()[0]["id"] == row["id"]

    def test_names_no_patient(self, client: httpx.Client, dicom_file: Path) -> None:
        broken = dicom_file.read_bytes()[:200]
        answer = client.post(
            URL, files=form(("Doe_Jane.dcm", dicom_file.read_bytes()), ("Doe_Jane_2.dcm", broken))
        )
        assert answer.status_code == 200
        assert "Doe" not in answer.text
        assert PATIENT not in answer.text
        assert [row["state"] for row in answer.json()] == ["scored", "refused"]
        assert answer.json()[1]["path"] == "file 2"

    def test_keeps_an_image_once(self, client: httpx.Client, images: list[Path]) -> None:
        content = images[0].read_bytes()
        first, again = client.post(URL, files=form(("a.png", content), ("b.png", content))).json()
        assert first == again

    def test_refuses_one_file_and_takes_the_other(self, client: httpx.Client) -> None:
        answer = client.post(URL, files=form(("a.png", b"no image"), ("b.png", new_png())))
        refused, taken = answer.json()
        assert answer.status_code == 200
        assert (refused["state"], refused["id"], refused["path"]) == ("refused", None, "a.png")
        assert refused["error"]
        assert taken["state"] == "scored"
        assert list(refused) == list(taken)

    def test_refuses_all_files(self, client: httpx.Client) -> None:
        answer = client.post(URL, files=form(("a.png", b"no image"), ("b.png", b"")))
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "refused-image"
        assert [row["state"] for row in answer.json()["predictions"]] == ["refused"] * 2

    @pytest.mark.usefixtures("scoring_waits")
    def test_says_which_images_wait(self, client: httpx.Client, service: Service) -> None:
        answer = client.post(URL, params={"wait": 0}, files=form(("a.png", new_png())))
        (row,) = answer.json()
        assert answer.status_code == 202
        assert (row["state"], row["score"], row["prediction"]) == ("waiting", None, "")
        assert client.get(f"{URL}/{row['id']}").json() == [row]
        log = (service.station.options.state / "audit.log").read_text().splitlines()
        assert json.loads(log[-1])["action"] == "received"  # who asks for it again opens nothing

    def test_waits_no_longer_than_it_takes(self, client: httpx.Client) -> None:
        answer = client.post(URL, params={"wait": 60}, files=form(("a.png", new_png())))
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 60

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "Doe", ""])
    def test_waits_for_a_bounded_time(self, client: httpx.Client, wait: str) -> None:
        answer = client.post(URL, params={"wait": wait}, files=form(("a.png", new_png())))
        assert answer.status_code == 422
        assert answer.json()["error"]["what"].startswith("wait: ")
        assert "Doe" not in answer.text

    @pytest.mark.parametrize(
        ("headers", "body", "status"),
        [
            ({}, b"", 415),
            ({"Content-Type": "application/x-www-form-urlencoded"}, b"images=a", 415),
            ({"Content-Type": "application/json"}, b"{}", 415),
            ({"Content-Type": "multipart/form-data"}, b"--a", 400),
            ({"Content-Type": "multipart/form-data; boundary=" + "a" * 300}, b"--a", 400),
            ({"Content-Type": "multipart/form-data; boundary=a"}, b"--b\r\n\r\n", 400),
            ({"Content-Type": "multipart/form-data; boundary=a"}, b"--a--\r\n", 422),
            ({"Content-Type": "image/png"}, b"", 422),
            ({"Content-Type": "image/png"}, b"Doe", 422),
        ],
    )
    def test_refuses_other_bodies(
        self, client: httpx.Client, headers: dict[str, str], body: bytes, status: int
    ) -> None:
        answer = client.post(URL, content=body, headers=headers)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "what", "hint"}
        assert "Doe" not in answer.text

    def test_says_what_was_taken_of_a_form_that_ends_early(self, client: httpx.Client) -> None:
        request = client.build_request(
            "POST", URL, files=form(("a.png", new_png()), ("b.png", b""))
        )
        body = b"".join(request.stream)[:-80]  # type: ignore[arg-type]
        headers = {"Content-Type": request.headers["Content-Type"]}
        answer = client.post(URL, content=body, headers=headers)
        assert answer.status_code == 400
        (row,) = answer.json()["predictions"]
        assert client.get(f"{URL}/{row['id']}").status_code == 200

    def test_leaves_out_other_fields(self, client: httpx.Client) -> None:
        files = [("notes", ("c.png", new_png())), *form(("a.png", new_png()))]
        answer = client.post(URL, data={"name": "Doe"}, files=files)
        assert [row["path"] for row in answer.json()] == ["a.png"]


@pytest.mark.usefixtures("scoring_waits")
class TestFullQueue:
    def test_is_said_before_the_body_is_read(self, variant: Variant) -> None:
        with variant(limits=Limits(waiting=0)) as client:
            connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=10)
            headers = {"Content-Type": "image/png", "Content-Length": str(10**6)}
            connection.putrequest("POST", URL)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()  # and no body
            answer = connection.getresponse()
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) > 0
            assert json.load(answer)["error"]["code"] == "full-queue"

    def test_says_what_was_taken(self, service: Service, variant: Variant) -> None:
        room = service.station.worklist.count_waiting() + 2
        files = form(*((f"{number}.png", new_png()) for number in range(4)))
        with variant(limits=Limits(waiting=room)) as client:
            answer = client.post(URL, files=files)
            assert answer.status_code == 429
            assert "Retry-After" in answer.headers
            assert [row["path"] for row in answer.json()["predictions"]] == ["0.png", "1.png"]
        with variant() as client:  # all again, which takes none twice
            rows = client.post(URL, params={"wait": 0}, files=files).json()
        assert [row["id"] for row in rows[:2]] == [
            row["id"] for row in answer.json()["predictions"]
        ]
        assert service.station.worklist.count_waiting() == room + 2


class TestGet:
    def test_lists_the_newest_first_page_by_page(self, client: httpx.Client) -> None:
        sent = [client.post(URL, files=form(("a.png", new_png()))).json()[0] for _ in range(5)]
        whole = client.get(URL).json()
        assert whole[:5] == sent[::-1]
        since = sent[1]["received"]
        assert client.get(URL, params={"since": since}).json() == sent[:0:-1]
        assert client.get(f"{URL}?since={since}").json() == sent[:0:-1]  # its plus is a space then
        paged: list[dict[str, Any]] = []
        before = datetime.now().astimezone().isoformat()
        while page := client.get(URL, params={"limit": 2, "before": before}).json():
            paged, before = [*paged, *page], page[-1]["received"]
        assert paged == whole

    @pytest.mark.parametrize(
        "query",
        [
            *("limit=0", "limit=501", "limit=x", "since=now", "since=0.5", "since="),
            *("before=2026-01-01T00:00:00", "before=2026-02-30T00:00:00Z"),
        ],
    )
    def test_refuses_what_it_cannot_use(self, client: httpx.Client, query: str) -> None:
        assert client.get(f"{URL}?{query}").status_code == 422

    @pytest.mark.parametrize("identifier", ["0" * 32, "abc", "..%2f..", "%00", "é", "a" * 5000])
    def test_has_no_other_images(self, client: httpx.Client, identifier: str) -> None:
        for path in (f"{URL}/{identifier}", f"{URL}/{identifier}/explanation.png"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "not-found"

    def test_explains_as_explain_does(
        self, client: httpx.Client, tiny_run: Path, images: list[Path], tmp_path: Path
    ) -> None:
        (row,) = client.post(URL, files=form((images[1].name, images[1].read_bytes()))).json()
        answer = client.get(f"{URL}/{row['id']}/explanation.png")
        assert answer.headers["Content-Type"] == "image/png"
        load_run(tiny_run, runtime="ncnn").explain(images[1], tmp_path / "out", progress=False)
        (figure,) = (tmp_path / "out").glob("*.png")
        assert answer.content == figure.read_bytes()

    def test_explains_no_image_that_is_gone(self, client: httpx.Client, service: Service) -> None:
        (row,) = client.post(URL, files=form(("a.png", new_png()))).json()
        worklist = service.station.worklist
        kept, worklist.keep_days = worklist.keep_days, 0.0
        worklist.expire()
        worklist.keep_days = kept
        answer = client.get(f"{URL}/{row['id']}/explanation.png")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-kept")
        assert client.get(f"{URL}/{row['id']}").json()[0]["score"] == row["score"]


class TestOtherRequests:
    def test_head_has_no_body(self, client: httpx.Client) -> None:
        for path in ("/healthz", URL):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nowhere/Doe", 404),
            ("GET", f"{URL}/", 404),
            ("PUT", URL, 405),
            ("OPTIONS", URL, 405),
            ("DELETE", "/healthz", 405),
            ("TRACE", URL, 405),
            ("NONSENSE", URL, 405),
        ],
    )
    def test_are_answered_in_the_form_of_errors(
        self, client: httpx.Client, method: str, path: str, status: int
    ) -> None:
        answer = client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "what", "hint"}
        assert "Doe" not in answer.text
        allowed = {URL: "HEAD, GET, POST", "/healthz": "HEAD, GET"}.get(path)
        assert answer.headers.get("Allow") == (allowed if status == 405 else None)

    def test_a_fault_says_nothing_of_what_was_sent(
        self, service: Service, client: httpx.Client, reports: list[str], monkeypatch: Any
    ) -> None:
        def fail(_: str) -> None:
            raise ValueError("Doe^Jane")

        monkeypatch.setattr(service.station.worklist, "get", fail)
        answer = client.get(f"{URL}/{'0' * 32}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "unexpected")
        assert reports == ["unexpected ValueError in GET"]
        reports.clear()

    def test_health_says_no_more_than_it_has_to(self, client: httpx.Client) -> None:
        assert client.get("/healthz").json() == {"status": "ok", "scoring": "running"}


def test_openapi_describes_what_it_answers(client: httpx.Client) -> None:
    found = client.get("/api/v1/openapi.json").json()
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
    post = found["paths"][URL]["post"]
    assert {"200", "202", "400", "401", "403", "408", "413", "415", "422", "429", "503", "507"} == (
        set(post["responses"])
    )
    for status, response in post["responses"].items():
        content = response["content"]["application/json"]
        assert "example" in content, status
        assert content["schema"], status
    for field in found["components"]["schemas"]["PredictionRow"]["properties"].values():
        assert field["description"]


def test_many_wait_at_once(client: httpx.Client, service: Service) -> None:
    """Those who wait take no threads, of which there are 40."""
    files, waiting = form(("a.png", new_png())), service.station.changes._watchers

    def send(_: int) -> int:
        while (status := client.post(URL, files=files).status_code) == 429:  # too many at once
            time.sleep(0.05)
        return status

    with ThreadPoolExecutor(45) as pool:
        with service.station.process._in_turn(urgent=False):
            statuses = pool.map(send, range(45))
            for _ in range(400):
                if len(waiting) == 45:
                    break
                time.sleep(0.05)
            assert len(waiting) == 45
            assert client.get("/healthz").status_code == 200
            assert client.get(URL, params={"limit": 1}).status_code == 200
        assert set(statuses) == {200}
    assert not waiting
