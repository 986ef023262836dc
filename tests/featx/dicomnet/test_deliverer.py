"""Results on their way: to folders, nodes and services, again and again until they arrive."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pydicom
import pytest
from pydicom.uid import ComprehensiveSRStorage

from featx.dicomnet import Deliverer
from featx.dicomnet import _connections as connections
from featx.dicomnet import _deliverer as deliverer_module
from featx.dicomnet import _destinations as destinations
from featx.dicomnet._destinations import DeliveryError, Folder, Node, Service, parse_destination
from featx.errors import InputError
from featx.worklist import Result, Worklist
from tests.conftest import MakeDisk
from tests.featx.dicomnet.conftest import RUN, Score, XRay
from tests.ports import free_port

Start = Callable[..., Deliverer]


@pytest.fixture
def start(worklist: Worklist, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a deliverer that is in a hurry."""
    monkeypatch.setattr(deliverer_module, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(deliverer_module, "LONGEST_PAUSE", 0.4)
    monkeypatch.setattr(deliverer_module, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(destinations, "CONNECT_SECONDS", 1.0)
    running: list[Deliverer] = []

    def run(*places: str) -> Deliverer:
        running.append(Deliverer(worklist, None, places, "FEATX", lines.append))
        running[-1].start()
        return running[-1]

    yield run
    for one in running:
        one.stop()


def wait_until(reached: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


class Pacs:
    """A node that keeps what it gets."""

    def __init__(self, status: int = 0, port: int = 0, classes: tuple[str, ...] = ()) -> None:
        from pynetdicom import AE, evt

        self.status, self.found = status, []  # type: tuple[int, list[Any]]
        entity = AE(ae_title="PACS")
        entity.require_called_aet = True
        for kind in classes or (ComprehensiveSRStorage,):
            entity.add_supported_context(kind)
        handlers = [(evt.EVT_C_STORE, self._keep)]
        self._server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]
        self.address = f"dicom://PACS@127.0.0.1:{self.port}"

    def _keep(self, event: Any) -> int:
        if not self.status:
            self.found.append(event.dataset)
        return self.status

    def stop(self) -> None:
        self._server.shutdown()


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    node = Pacs()
    yield node
    node.stop()


class TestFolder:
    def test_report_is_a_file_named_by_the_image(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, tmp_path: Path
    ) -> None:
        place = str(tmp_path / "out")
        result = score(xray(), place)
        start(place)
        wait_until(lambda: not worklist.count_undelivered())
        (file,) = (tmp_path / "out").iterdir()
        assert file.name == f"{result.item.id}-{RUN.id[:8]}-SR.dcm"
        assert pydicom.dcmread(file).PatientID == "Q-4711"

    def test_file_of_ones_own_is_written_again(
        self, xray: XRay, score: Score, tmp_path: Path
    ) -> None:
        made = _report(score(xray()))
        for _ in range(2):
            Folder(tmp_path / "out").send([made], "a")
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["a-SR.dcm"]

    def test_file_of_something_else_is_left_alone(
        self, xray: XRay, score: Score, tmp_path: Path
    ) -> None:
        other = tmp_path / "a-SR.dcm"
        other.write_bytes(b"notes")
        with pytest.raises(DeliveryError, match="another file is at"):
            Folder(tmp_path).send([_report(score(xray()))], "a")
        assert other.read_bytes() == b"notes"

    def test_folder_that_cannot_be_written(
        self, xray: XRay, score: Score, read_only_folder: Path
    ) -> None:
        with pytest.raises(DeliveryError, match="can't write into"):
            Folder(read_only_folder).send([_report(score(xray()))], "a")

    def test_full_disk_leaves_no_half_a_file(
        self, xray: XRay, score: Score, small_disk: MakeDisk
    ) -> None:
        disk = small_disk("4k")
        with pytest.raises(DeliveryError, match="can't write into"):
            Folder(disk).send([_report(score(xray()))], "a")
        assert not list(disk.iterdir())


class TestNode:
    def test_report_arrives(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, pacs: Pacs
    ) -> None:
        score(xray(), pacs.address)
        one = start(pacs.address)
        wait_until(lambda: not worklist.count_undelivered())
        (report,) = pacs.found
        assert report.PatientID == "Q-4711"
        wait_until(lambda: one.counts == {"delivered": 1})

    def test_node_that_was_down(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str]
    ) -> None:
        first = Pacs(port=free_port())  # so that it is still free later
        first.stop()
        results = [score(xray(), first.address) for _ in range(3)]
        one = start(first.address)
        wait_until(lambda: one.counts["failures"] >= 2)
        node = Pacs(port=first.port)
        wait_until(lambda: not worklist.count_undelivered())
        node.stop()
        assert len({report.SOPInstanceUID for report in node.found}) == len(results) == 3
        assert f"didn't reach {first.address}: it can't be reached. It is tried again" in lines[0]

    def test_node_that_is_down_is_not_asked_for_each_result(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        node = Pacs()
        node.stop()
        for _ in range(5):
            score(xray(), node.address)
        monkeypatch.setattr(deliverer_module, "LONGEST_PAUSE", 60.0)
        monkeypatch.setattr(deliverer_module, "FIRST_PAUSE", 60.0)
        one = Deliverer(worklist, None, [node.address], "FEATX", lines.append)
        one.start()
        wait_until(lambda: lines and not worklist.due_deliveries())
        one.stop()
        assert one.counts == {"failures": 1}
        assert len(lines) == 1
        assert worklist.count_undelivered() == 5

    @pytest.mark.parametrize(
        ("status", "reason"), [(0xA700, "0xA700"), (0xC123, "0xC123"), (0x0124, "0x0124")]
    )
    def test_node_that_refuses(self, xray: XRay, score: Score, status: int, reason: str) -> None:
        node = Pacs(status)
        with pytest.raises(DeliveryError, match=reason):
            Node("PACS", "127.0.0.1", node.port, "FEATX").send([_report(score(xray()))], "a")
        node.stop()

    def test_node_that_has_it_already(self, xray: XRay, score: Score) -> None:
        node = Pacs(0x0111)
        Node("PACS", "localhost", node.port, "FEATX").send([_report(score(xray()))], "a")
        node.stop()

    def test_node_of_another_name(self, xray: XRay, score: Score, pacs: Pacs) -> None:
        with pytest.raises(DeliveryError, match="refuses this node"):
            Node("OTHER", "127.0.0.1", pacs.port, "FEATX").send([_report(score(xray()))], "a")

    def test_node_that_takes_no_reports(self, xray: XRay, score: Score) -> None:
        node = Pacs(classes=("1.2.840.10008.1.1",))
        with pytest.raises(DeliveryError, match="takes no Structured Reports"):
            Node("PACS", "127.0.0.1", node.port, "FEATX").send([_report(score(xray()))], "a")
        node.stop()

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x02\0\0\0\0\xff",  # it never ends
            b"\x04\0\xff\xff\xff\xff",  # 4 GB
            b"\x04\0\0\0\0\x0a\0\0\0\x06\x01\x03\0\0\0\0",
            b"\x05\0\0\0\0\x04\0\0\0\0",
        ],
    )
    def test_node_that_says_something_else(
        self, xray: XRay, score: Score, answer: bytes, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setattr(destinations, "ANSWER_SECONDS", 0.5)
        monkeypatch.setattr(connections, "PDU_SECONDS", 0.5)
        made = _report(score(xray()))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peers = []

            def talk() -> None:
                peers.append(listener.accept()[0])
                peers[0].recv(4096)
                peers[0].sendall(answer)

            thread = threading.Thread(target=talk)
            thread.start()
            with pytest.raises(DeliveryError):
                Node("PACS", "127.0.0.1", listener.getsockname()[1], "FEATX").send([made], "a")
            thread.join()
            peers[0].close()
        assert capfd.readouterr() == ("", "")

    def test_host_that_is_none(self, xray: XRay, score: Score) -> None:
        with pytest.raises(DeliveryError, match="there is no host"):
            Node("PACS", "no-such.invalid", 1, "FEATX").send([_report(score(xray()))], "a")


class _Web(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, and keeps what it gets."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    got: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, dict(self.headers), content))
        status, headers, answer = self.answers.pop(0) if self.answers else (200, {}, b"")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A DICOMweb service."""
    monkeypatch.setattr(_Web, "answers", [])
    monkeypatch.setattr(_Web, "got", [])
    server = http.server.HTTPServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    server.shutdown()
    server.server_close()
    thread.join()


def _failure(reason: int) -> bytes:
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


class TestService:
    def test_report_arrives(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, web: str
    ) -> None:
        score(xray(), web)
        start(web)
        wait_until(lambda: not worklist.count_undelivered())
        ((path, headers, content),) = _Web.got
        assert path == "/dicom-web/studies"
        assert headers["Host"] == web.split("/")[2]
        assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
        assert "Authorization" not in headers
        assert b"DICM" in content
        assert b"Q-4711" in content

    def test_authorization_comes_from_the_environment(
        self, xray: XRay, score: Score, web: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FEATX_DICOMWEB_AUTHORIZATION", "Bearer s3cret")
        parse_destination(web, "FEATX").send([_report(score(xray()))], "a")
        assert _Web.got[0][1]["Authorization"] == "Bearer s3cret"

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 409, 500, 503])
    def test_other_answers(self, xray: XRay, score: Score, web: str, status: int) -> None:
        _Web.answers.append((status, {"Location": web + "/elsewhere"}, b"Doe^Jane"))
        with pytest.raises(DeliveryError, match=f"it answered {status}") as caught:
            Service(web + "/studies").send([_report(score(xray()))], "a")
        assert "Doe" not in str(caught.value)
        assert len(_Web.got) == 1

    def test_failure_in_the_answer(self, xray: XRay, score: Score, web: str) -> None:
        _Web.answers.append((202, {}, _failure(0xA700)))
        with pytest.raises(DeliveryError, match="0xA700"):
            Service(web).send([_report(score(xray()))], "a")

    def test_page_of_a_login_is_no_success(self, xray: XRay, score: Score, web: str) -> None:
        _Web.answers.append((200, {"Content-Type": "text/html; charset=utf-8"}, b"<form>"))
        with pytest.raises(DeliveryError, match="it answered with a web page"):
            Service(web).send([_report(score(xray()))], "a")

    def test_service_that_has_it_already(self, xray: XRay, score: Score, web: str) -> None:
        _Web.answers.append((409, {}, _failure(0x0111)))
        Service(web).send([_report(score(xray()))], "a")

    @pytest.mark.parametrize("answer", [b"[]", b"{", b'{"00081198": 7}', b"x" * 3_000_000])
    def test_answers_of_any_kind(self, xray: XRay, score: Score, web: str, answer: bytes) -> None:
        _Web.answers.append((200, {}, answer))
        Service(web).send([_report(score(xray()))], "a")

    def test_service_that_is_not_there(self, xray: XRay, score: Score) -> None:
        with pytest.raises(DeliveryError, match="can't be reached"):
            Service("http://127.0.0.1:9/studies").send([_report(score(xray()))], "a")


class TestGivingUp:
    def test_image_that_is_gone(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        tmp_path: Path,
    ) -> None:  # fmt: skip
        place = str(tmp_path / "out")
        result = score(xray(), place)
        assert result.item.path is not None
        result.item.path.unlink()
        one = start(place)
        wait_until(lambda: one.counts["given_up"])
        assert worklist.count_undelivered() == 0
        said = f"the result of image {result.item.code} isn't delivered to {place}: "
        assert lines == [said + "the image isn't kept any more"]

    def test_image_that_expired_while_its_place_was_down_is_said_and_counted(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        place, sent = str(tmp_path / "out"), xray()
        result = score(sent, place)
        monkeypatch.setattr("featx.worklist._worklist.DELIVERY_DAYS", 0.0)
        worklist.keep_days = 0.0
        assert worklist.expire() == 1
        one = start(place)
        wait_until(lambda: one.counts["given_up"])
        said = f"the result of image {result.item.code} isn't delivered to {place}: "
        assert lines == [said + "the image isn't kept any more"]
        worklist.add(sent.read_bytes(), "", "dicom")
        wait_until(lambda: one.counts["delivered"])

    def test_image_without_a_study(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        tmp_path: Path,
    ) -> None:  # fmt: skip
        place = str(tmp_path / "out")
        score(xray(StudyInstanceUID=None), place)
        score(xray(), place)
        start(place)
        wait_until(lambda: not worklist.count_undelivered())
        assert len(list((tmp_path / "out").iterdir())) == 1
        assert lines[0].endswith("the image has no usable StudyInstanceUID")

    def test_place_that_is_none_any_more_is_named_once(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        tmp_path: Path,
    ) -> None:  # fmt: skip
        before, now = str(tmp_path / "before"), str(tmp_path / "now")
        for _ in range(3):
            score(xray(), before, now)
        one = start(now)
        wait_until(lambda: one.counts["delivered"] == 3 and lines)
        assert lines == [f"results for {before} wait: it isn't among `results` now"]
        assert worklist.count_undelivered() == 3
        assert not Path(before).exists()

    @pytest.mark.parametrize("place", ["_deliverer.make_report", "_destinations.encoded"])
    def test_bug_is_a_line_and_the_result_is_kept(
        self, start: Start, worklist: Worklist, xray: XRay, score: Score, lines: list[str],
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str,
    ) -> None:  # fmt: skip
        def fail(*_: Any) -> None:
            raise ValueError("Doe^Jane 1970")

        score(xray(), str(tmp_path / "out"))
        with monkeypatch.context() as patched:
            patched.setattr(f"featx.dicomnet.{place}", fail)
            start(str(tmp_path / "out"))
            wait_until(lambda: lines)
        assert "ValueError, which is a bug of featx. It is tried again" in lines[0]
        assert "Doe" not in lines[0]
        wait_until(lambda: not worklist.count_undelivered())


class TestDestinations:
    @pytest.mark.parametrize(
        "text",
        [
            "", "ftp://host/a", "dicom://", "dicom://PACS", "dicom://PACS@host", "dicom://host:104",
            "dicom://PACS@host:0", "dicom://PACS@host:99999", "dicom://PACS@host:104/a",
            "dicom://A_TITLE_THAT_IS_TOO_LONG@host:104", "dicom://@host:104", "http://",
            "http://:80/", "https://user:pw@host/", "https://host/?token=a", "https://host/#a",
            "https://host:99999/",
        ],
    )  # fmt: skip
    def test_places_that_are_none(self, text: str) -> None:
        with pytest.raises(InputError) as caught:
            parse_destination(text, "FEATX")
        assert "\n" not in caught.value.what
        assert "pw" not in str(caught.value)
        assert "token=a" not in str(caught.value)

    def test_file_is_no_place(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        with pytest.raises(InputError, match="is a file"):
            parse_destination(str(tmp_path / "a"), "FEATX")

    def test_password_does_not_go_in_the_clear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FEATX_DICOMWEB_AUTHORIZATION", "Bearer s3cret")
        with pytest.raises(InputError, match="where others can read it") as caught:
            parse_destination("http://pacs.example/dicom-web", "FEATX")
        assert "s3cret" not in str(caught.value)
        assert parse_destination("https://pacs.example/dicom-web", "FEATX")

    def test_places(self, tmp_path: Path) -> None:
        assert parse_destination(str(tmp_path), "FEATX") == Folder(tmp_path)
        found = parse_destination("dicom://PACS 1@[::1]:104/", "ME")
        assert found == Node("PACS 1", "::1", 104, "ME")
        url = "https://pacs.example/dicom-web/studies"
        assert parse_destination(url, "ME") == parse_destination(url[:-8] + "/", "ME")


def _report(result: Result) -> Any:
    from featx.dicomnet._report import make_report
    from featx.dicomnet._source import read_source

    assert result.item.path is not None
    return make_report(result, read_source(result.item.path))
