"""`featx serve` among other programs of the DICOM network: Orthanc, DCMTK, and a kill."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid

from tests.conftest import SHARED
from tests.dicoms import dicom
from tests.orthanc import Orthanc, orthanc
from tests.ports import free_port
from tests.processes import Command, Server

pytest.importorskip(
    "pynetdicom", reason="pynetdicom isn't installed: pip install 'featx[dicomnet]'"
)

pytestmark = pytest.mark.long

NAME, PATIENT, ACCESSION = "Zwiebelfisch^Kunigunde", "PID-77120-Q", "ACC-998877"
STUDY, SERIES = "1.2.276.0.99999.4711.1", "1.2.276.0.99999.4711.2"
IDENTIFIERS = (
    b"Zwiebelfisch",
    b"Kunigunde",
    b"PID-77120",
    b"ACC-998877",
    b"99999.4711",
    b"Storchschnabel",
)


class Serve:
    """``featx serve`` that runs, or ran."""

    def __init__(self, commands: Server, run: Path, folder: Path) -> None:
        self._commands, self._run = commands, run
        self.state = folder / "state"
        self.port, self.dicom_port = free_port(), free_port()
        self.commands: list[Command] = []

    def start(self, *options: object) -> Command:
        """Start it, and wait until it receives images."""
        arguments = ["serve", self._run, "--state", self.state, "--port", self.port]
        arguments += ["--dicom-port", self.dicom_port, "--runtime", "ncnn", *options]
        command = self._commands.start(*arguments, env={"FEATX_SALT": "of a test"})
        self.commands.append(command)
        wait_until(lambda: "DICOM images are taken" in command.err or not command.works, 100)
        assert command.works, command.err
        return command

    def stop(self) -> None:
        for command in self.commands:
            if command.works:
                command.send_signal(signal.SIGINT)
                command.wait(30)

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask the web server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def serve(commands: Server, tiny_run: Path, tmp_path: Path) -> Iterator[Serve]:
    run = tmp_path / "logreg"
    shutil.copytree(tiny_run, run)
    service = Serve(commands, run, tmp_path)
    yield service
    service.stop()


@pytest.fixture(params=["drawn", "real"])
def sent(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An X-ray: a drawn one, and one from a hospital."""
    if request.param == "drawn":
        return drawn(tmp_path)
    real = sorted((SHARED / "data" / "dicom").glob("1.*.dcm"))
    if not real:
        pytest.skip(f"there are no DICOM files in {SHARED}: a user's clone doesn't have them")
    return real[0]


def drawn(folder: Path, number: int = 1, **elements: Any) -> Path:
    """Draw a DICOM file whose names nobody can mistake for others."""
    pixels = np.random.default_rng(number).integers(0, 4096, (64, 64), dtype=np.uint16)
    values = {
        "PatientName": NAME, "PatientID": PATIENT, "AccessionNumber": ACCESSION,
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": f"{SERIES}.{number}", "PatientSex": "F", "StudyID": "1",
        "ReferringPhysicianName": "Storchschnabel^A", "PatientBirthDate": "19700101",
        "StudyDate": "20260102", "StudyTime": "101112",
    }  # fmt: skip
    return dicom(folder / "sent" / f"{NAME}-{number}.dcm", pixels, **(values | elements))


def tool(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a program of DCMTK."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} isn't installed (Debian: apt install dcmtk)")
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def store(service: Serve, *files: Path) -> subprocess.CompletedProcess[str]:
    """Send files with storescu."""
    options = ("-xy", "-aet", "XRAY", "-aec", "FEATX")
    return tool("storescu", "-v", *options, "127.0.0.1", service.dicom_port, *files)


def wait_until(reached: Callable[[], Any], seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def wait_for_instances(server: Orthanc, number: int) -> None:
    wait_until(lambda: len(server.ask("instances")) == number)


def kinds(server: Orthanc) -> list[str]:
    return sorted(tags["Modality"] for tags in server.instances())


def test_results_arrive_by_c_store_and_by_stow(serve: Serve, sent: Path, tmp_path: Path) -> None:
    with orthanc(tmp_path / "a") as first, orthanc(tmp_path / "b") as second:
        places = [first.node, second.service, str(tmp_path / "out")]
        serve.start(*(word for place in places for word in ("--results", place)), "--heat-maps")
        assert store(serve, sent).returncode == 0
        for server in (first, second):
            wait_for_instances(server, 2)
            assert kinds(server) == ["OT", "SR"]
            source = pydicom.dcmread(sent)
            for tags in server.instances():
                assert tags["StudyInstanceUID"] == source.StudyInstanceUID
                assert tags["PatientID"] == source.PatientID
                assert tags["Manufacturer"] == "featx"
                file = server.file(tags, tmp_path)
                if tags["Modality"] == "SR":
                    dumped = tool("dsrdump", file)
                    assert dumped.returncode == 0
                    assert "Research software, not a me" in dumped.stdout
                    assert not dumped.stderr
        wait_until(lambda: len(list((tmp_path / "out").glob("*.dcm"))) == 2)
        # Sent back by a router, they aren't X-rays: the report isn't even negotiated.
        captures = list((tmp_path / "out").glob("*-OT.dcm"))
        assert store(serve, *captures).returncode == 0
        time.sleep(1)
        assert len(first.ask("instances")) == 2
        serve.stop()
    assert all("Traceback" not in command.err for command in serve.commands)


def test_orthanc_sends_and_gets_the_report_in_the_same_study(serve: Serve, tmp_path: Path) -> None:
    with orthanc(tmp_path / "a", serve.dicom_port) as server:
        serve.start("--results", server.node)
        uploaded = server.ask("instances", drawn(tmp_path).read_bytes())
        assert server.ask("modalities/featx/echo", {}) is not None
        server.ask("modalities/featx/store", [uploaded["ID"]])
        wait_for_instances(server, 2)
        (study,) = server.ask("studies?expand")
        assert study["MainDicomTags"]["StudyInstanceUID"] == STUDY
        assert len(study["Series"]) == 2
        assert study["PatientMainDicomTags"]["PatientName"] == NAME


def test_tools_of_dcmtk_are_answered(serve: Serve, tmp_path: Path) -> None:
    serve.start()
    assert tool("echoscu", "-aec", "FEATX", "127.0.0.1", serve.dicom_port).returncode == 0
    assert tool("echoscu", "-aec", "OTHER", "127.0.0.1", serve.dicom_port).returncode != 0
    wrong = [
        uid.CTImageStorage, uid.MRImageStorage, uid.EncapsulatedPDFStorage,
        uid.ComprehensiveSRStorage, uid.DigitalXRayImageStorageForProcessing,
    ]  # fmt: skip
    for number, kind in enumerate(wrong):
        answer = store(serve, drawn(tmp_path, number, SOPClassUID=kind))
        said = answer.stdout + answer.stderr
        assert answer.returncode != 0
        assert "No Acceptable Presentation Contexts" in said or "No presentation context" in said
    assert not list((serve.state / "images").rglob("*.dcm"))


def test_kill_between_receipt_and_delivery(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    place = f"dicom://ORTHANC@127.0.0.1:{port}"
    first = serve.start("--results", place)
    assert store(serve, drawn(tmp_path)).returncode == 0
    wait_until(lambda: "didn't reach" in first.err)
    first.kill()
    first.wait(20)
    with orthanc(tmp_path / "a", dicom_port=port) as server:
        second = serve.start("--results", place)
        wait_until(lambda: server.ask("instances"))
        time.sleep(2)
        second.kill()
        second.wait(20)
        serve.start("--results", place)
        time.sleep(3)
        assert kinds(server) == ["SR"]
        assert server.ask("statistics")["CountInstances"] == 1


def test_identifiers_are_in_the_file_and_the_results_alone(serve: Serve, tmp_path: Path) -> None:
    out, nobody = tmp_path / "out", f"dicom://PACS@127.0.0.1:{free_port()}"
    command = serve.start("--results", out, "--results", nobody, "--heat-maps")
    broken = drawn(tmp_path, 2, PixelData=None)
    other = drawn(tmp_path, 3, SOPClassUID=uid.MRImageStorage)
    assert store(serve, drawn(tmp_path)).returncode == 0
    for file in (broken, other):
        assert store(serve, file).returncode != 0
    no_report = drawn(tmp_path, 4, SeriesInstanceUID=None)
    assert store(serve, no_report).returncode == 0
    wait_until(lambda: len(list(out.glob("*.dcm"))) == 2)
    wait_until(lambda: "didn't reach" in command.err)
    wait_until(lambda: "no usable SeriesInstanceUID" in command.err)
    for file in out.iterdir():
        assert PATIENT.encode() in file.read_bytes()
        assert not _named(file.name.encode())
    identifiers = sorted(file.stem for file in (serve.state / "images").rglob("*.dcm"))
    assert len(identifiers) == 2
    pages = ["/metrics", "/", "/api/v1/predictions", "/api/v1/openapi.json", "/healthz"]
    pages += [f"/api/v1/predictions/{identifier}" for identifier in identifiers]
    answers = [serve.get(page) for page in pages]
    assert sum(status == 200 for status, _ in answers) >= 2
    assert not _named(b"".join(content for _, content in answers))
    _assert_private(serve.state)  # with the write-ahead log, as it is while it runs
    serve.stop()
    _assert_private(serve.state)
    assert not _named((command.out + command.err).encode())
    assert "Traceback" not in command.err


def _assert_private(state: Path) -> None:
    found = [path for path in state.rglob("*") if path.is_file()]
    named = {path for path in found if _named(path.read_bytes())}
    assert named == {path for path in found if path.suffix == ".dcm"}
    assert {path.parent.parent for path in named} == {state / "images"}
    for path in state.rglob("*"):
        assert not _named(str(path.relative_to(state)).encode())


def _named(content: bytes) -> list[bytes]:
    return [identifier for identifier in IDENTIFIERS if identifier in content]
