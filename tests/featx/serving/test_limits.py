"""Uploads that are too large, too many or too slow."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from featx.serving import Service, _request_limits, _server
from featx.worklist import Limits
from tests.featx.serving.conftest import Variant, form, new_png

URL = "/api/v1/predictions"
PNG = {"Content-Type": "image/png"}


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def blocks(number: int, size: int = 2**16) -> Iterator[bytes]:
    for _ in range(number):
        yield b"\0" * size


class TestSize:
    def test_is_known_before_the_body_is_read(self, client: httpx.Client) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=10)
        connection.putrequest("POST", URL)
        connection.putheader("Content-Length", str(Limits().request_bytes + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["error"]["code"]) == (413, "too-large")

    def test_is_counted_if_it_is_not_said(self, variant: Variant) -> None:
        with variant(limits=Limits(request_bytes=2**20)) as client:
            answer = client.post(URL, content=blocks(40), headers=PNG)
            assert code_of(answer) == (413, "too-large")

    def test_of_other_bodies_is_small(self, client: httpx.Client) -> None:
        assert code_of(client.post("/login", content=b"a" * 10**5)) == (413, "too-large")
        assert code_of(client.put("/healthz", content=b"a" * 10**5)) == (413, "too-large")

    def test_of_a_file_is_bounded(self, variant: Variant) -> None:
        with variant(limits=Limits(file_bytes=2**20)) as client:
            files = form(("a.png", b"\0" * (3 * 2**20)), ("b.png", new_png()))
            answer = client.post(URL, files=files)
            assert answer.status_code == 200
            large, small = answer.json()
            assert (large["state"], large["error"]) == ("refused", "a file of more than 1 MiB")
            assert small["state"] == "scored"

    def test_of_an_image_is_bounded(self, variant: Variant) -> None:
        with variant(limits=Limits(pixels=1000)) as client:
            answer = client.post(URL, files=form(("a.png", new_png(40))))
            assert code_of(answer) == (422, "refused-image")
            assert "40 x 40 pixels" in answer.json()["error"]["what"]

    def test_in_memory_is_bounded(self, client: httpx.Client) -> None:
        """A PNG that unfolds to 4 GB is refused for what its header says."""
        content = io.BytesIO()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(content, "PNG")
        header = b"IHDR" + (65000).to_bytes(4) * 2 + b"\x08\0\0\0\0"
        bomb = content.getvalue()
        bomb = bomb[:12] + header + zlib.crc32(header).to_bytes(4) + bomb[33:]
        answer = client.post(URL, files=form(("a.png", bomb)))
        assert code_of(answer) == (422, "refused-image")

    def test_of_what_is_compressed_is_not_known(self, client: httpx.Client) -> None:
        headers = PNG | {"Content-Encoding": "gzip"}
        assert code_of(client.post(URL, content=b"a", headers=headers)) == (415, "encoding")

    def test_of_large_files_is_on_the_disk(
        self,
        service: Service,
        client: httpx.Client,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """Nothing is written anywhere else than into the worklist's own folder."""
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (1500, 1500), np.uint8))
        content = io.BytesIO()
        image.save(content, "PNG")
        assert len(content.getvalue()) > 2**21
        assert client.post(URL, files=form(("a.png", content.getvalue()))).status_code == 200
        images = service.station.options.state / "images"
        assert all(path.is_dir() for path in images.iterdir())


class TestNumber:
    def test_of_files_is_bounded(self, variant: Variant) -> None:
        with variant(limits=Limits(request_files=2)) as client:
            answer = client.post(URL, files=form(*(("a.png", new_png()) for _ in range(4))))
            assert code_of(answer) == (413, "too-many-files")
            assert len(answer.json()["predictions"]) == 2

    def test_of_other_fields_is_bounded(self, client: httpx.Client) -> None:
        files = [(f"f{number}", ("a.png", b"a")) for number in range(200)]
        assert code_of(client.post(URL, files=files)) == (413, "too-many-files")

    def test_of_uploads_at_once_is_bounded(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_request_limits, "MAX_UPLOADS", 1)
        with slow_upload(client):
            until(lambda: client.post(URL, content=b"a", headers=PNG).status_code == 429)
            answer = client.post(URL, content=new_png(), headers=PNG)
            assert code_of(answer) == (429, "busy")
            assert int(answer.headers["Retry-After"]) > 0
            assert client.get(URL).status_code == 200
        until(lambda: client.post(URL, content=new_png(), headers=PNG).status_code == 200)

    def test_of_requests_at_once_is_bounded(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_request_limits, "MAX_REQUESTS", 1)
        with slow_upload(client):
            until(lambda: client.get(URL).status_code == 503)
            assert code_of(client.get(URL)) == (503, "busy")
        until(lambda: client.get(URL).status_code == 200)


class TestSlowClients:
    def test_that_stop_are_answered(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_request_limits, "IDLE_SECONDS", 0.2)
        with slow_upload(client) as sock:
            assert status_of(sock) == 408

    def test_that_trickle_are_answered(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_request_limits, "START_SECONDS", 0.3)
        with slow_upload(client) as sock:
            for _ in range(20):
                sock.sendall(b"\0")
                time.sleep(0.05)
            assert status_of(sock) == 408

    @pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
    def test_that_send_no_head_are_left(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, head: bytes
    ) -> None:
        monkeypatch.setattr(_server, "HEADER_SECONDS", 0.3)
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10) as sock:
            sock.sendall(head)
            assert sock.recv(10) == b""

    def test_that_leave_take_nothing_along(
        self, service: Service, client: httpx.Client, reports: list[str]
    ) -> None:
        for _ in range(5):
            with slow_upload(client):
                pass
        assert client.post(URL, content=new_png(), headers=PNG).status_code == 200
        assert reports == []
        assert not list((service.station.options.state / "images").glob("tmp*"))


class slow_upload:  # noqa: N801
    """A client that begins to send an image, and waits."""

    def __init__(self, client: httpx.Client) -> None:
        self._sock = socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10)

    def __enter__(self) -> socket.socket:
        self._sock.sendall(
            f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            "Content-Length: 100000\r\n\r\n\0".encode()
        )
        time.sleep(0.2)  # it has arrived then
        return self._sock

    def __exit__(self, *_: object) -> None:
        self._sock.close()


def status_of(sock: socket.socket) -> int:
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    assert json.load(answer)["error"]["code"] == "slow"
    return answer.status


def until(done: Callable[[], bool]) -> None:
    for _ in range(1200):
        if done():
            return
        threading.Event().wait(0.05)
    raise AssertionError


def test_answers_do_not_wait_for_the_network(client: httpx.Client) -> None:
    """Without TCP_NODELAY each takes 40 ms longer, as long as Linux waits with an ACK."""
    seconds = []
    for _ in range(25):
        start = time.perf_counter()
        client.get("/healthz")
        seconds.append(time.perf_counter() - start)
    assert min(seconds[10:]) < 0.03


class TestStorage:
    @pytest.mark.parametrize(
        ("place", "number"), [("_arrivals.os.fsync", 28), ("_worklist.arrival", 5)]
    )
    def test_that_fails_is_said(
        self, client: httpx.Client, reports: list[str], monkeypatch: pytest.MonkeyPatch,
        place: str, number: int,
    ) -> None:  # fmt: skip
        def fail(*_: object) -> None:
            raise OSError(number, "of the disk", "/secret/place")

        monkeypatch.setattr(f"featx.worklist.{place}", fail)
        answer = client.post(URL, files=form(("a.png", new_png())))
        assert code_of(answer) == (507, "storage")
        assert "place" not in answer.text
        assert len(reports) == 1
        reports.clear()
        monkeypatch.undo()
        assert client.post(URL, files=form(("a.png", new_png()))).status_code == 200


def test_metrics_count_and_name_nobody(client: httpx.Client) -> None:
    def numbers() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    before = numbers()
    received = 'featx_images_received_total{origin="upload"}'
    scored = "featx_images_scored"
    refused = 'featx_images_refused_total{origin="upload",reason="unreadable"}'
    answer = client.post(URL, files=form(("Doe.png", new_png()), ("Doe2.png", b"a")))
    after = numbers()
    assert after[received] == before.get(received, 0) + 1
    assert after[scored] == before[scored] + 1
    assert after[refused] == before.get(refused, 0) + 1
    count = "featx_score_seconds_count"
    assert after[count] == before[count] + 1
    assert after["featx_images_waiting"] == after["featx_scoring_restarts_total"] == 0
    text = client.get("/metrics").text
    assert "# TYPE featx_images_scored gauge" in text  # it falls if images are scored again
    assert "Doe" not in text
    assert answer.json()[0]["id"] not in text


@pytest.mark.usefixtures("scoring_waits")
def test_who_waits_for_pictures_keeps_nobody_from_the_rest(client: httpx.Client) -> None:
    (row,) = client.post(URL, params={"wait": 0}, files=form(("a.png", new_png()))).json()
    picture = (
        f"GET {URL}/{row['id']}/picture.png HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}"
    )
    waiting = []
    for _ in range(60):
        sock = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        sock.sendall(f"{picture}\r\n\r\n".encode())
        waiting.append(sock)
    time.sleep(0.3)
    for path in ("/healthz", "/", f"{URL}/{row['id']}"):
        assert client.get(path).status_code == 200
    for sock in waiting:
        sock.close()


@pytest.mark.long
def test_a_scoring_process_that_dies_is_said_and_started_again(
    service: Service, client: httpx.Client, reports: list[str]
) -> None:
    (row,) = client.post(URL, files=form(("a.png", new_png()))).json()
    process = service.station.process._process
    assert process is not None
    process.kill()
    process.wait()
    assert client.get("/healthz").json() == {"status": "ok", "scoring": "stopped"}
    answer = client.get(f"{URL}/{row['id']}/explanation.png")
    assert answer.status_code == 200
    assert client.get("/healthz").json() == {"status": "ok", "scoring": "running"}
    assert "featx_scoring_restarts_total 1.0" in client.get("/metrics").text
    reports.clear()
