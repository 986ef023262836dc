"""Receiving X-rays from the DICOM network: what is taken, what is refused, and how."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid

from featx.dicomnet import DicomNode, Receiver
from featx.dicomnet import _connections as connections
from featx.dicomnet._receiver import accepted_syntaxes
from featx.errors import InputError
from featx.worklist import Limits, Worklist
from tests.conftest import MakeDisk
from tests.featx.dicomnet.conftest import XRay, associate, send

VERIFICATION = "1.2.840.10008.1.1"


class TestTaking:
    def test_success_means_that_the_image_is_there(
        self, receiver: Receiver, worklist: Worklist, xray: XRay
    ) -> None:
        assert send(receiver.port, xray()) == 0x0000
        (item,) = worklist.items()
        assert (item.origin, item.format) == ("dicom", "DICOM")
        assert receiver.counts == {"taken": 1}

    def test_data_set_is_kept_byte_by_byte(
        self, receiver: Receiver, worklist: Worklist, xray: XRay
    ) -> None:
        sent = xray(PatientName="M\xfcller^J", SpecificCharacterSet="ISO_IR 100")
        send(receiver.port, sent)
        (item,) = worklist.items()
        assert item.path is not None
        assert _data_set(item.path) == _data_set(sent)

    def test_same_image_twice_is_one(
        self, receiver: Receiver, worklist: Worklist, xray: XRay
    ) -> None:
        sent = xray()
        assert [send(receiver.port, sent), send(receiver.port, sent)] == [0, 0]
        assert len(worklist.items()) == 1
        assert receiver.counts == {"taken": 1, "known": 1}

    def test_it_is_the_file_that_is_uploaded_too(
        self, receiver: Receiver, worklist: Worklist, xray: XRay
    ) -> None:
        sent = xray()
        send(receiver.port, sent)
        assert worklist.add(sent.read_bytes(), "a.dcm", "upload")[1] is False

    @pytest.mark.parametrize(
        "kind",
        [uid.DigitalXRayImageStorageForPresentation, uid.SecondaryCaptureImageStorage],
    )
    def test_digital_xrays_and_secondary_captures(
        self, receiver: Receiver, xray: XRay, kind: uid.UID
    ) -> None:
        assert send(receiver.port, xray(SOPClassUID=kind)) == 0x0000

    def test_echo(self, receiver: Receiver) -> None:
        association = associate(receiver.port, VERIFICATION)
        assert association.send_c_echo().Status == 0x0000
        association.release()

    def test_uncompressed_syntaxes_are_first(self) -> None:
        syntaxes = accepted_syntaxes()
        assert syntaxes[0] == uid.ExplicitVRLittleEndian
        assert [syntax.is_compressed for syntax in syntaxes] == sorted(
            syntax.is_compressed for syntax in syntaxes
        )
        assert uid.DeflatedExplicitVRLittleEndian not in syntaxes


class TestRefusing:
    @pytest.mark.parametrize(
        "kind",
        [
            uid.CTImageStorage,
            uid.MRImageStorage,
            uid.EncapsulatedPDFStorage,
            uid.ComprehensiveSRStorage,
            uid.DigitalXRayImageStorageForProcessing,
            uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
            uid.DigitalMammographyXRayImageStorageForPresentation,
        ],
    )
    def test_other_sop_classes_at_negotiation(self, receiver: Receiver, kind: uid.UID) -> None:
        association = associate(receiver.port, VERIFICATION, kind)
        rejected = {
            context.abstract_syntax: context.result for context in association.rejected_contexts
        }
        assert rejected == {kind: 3}  # abstract syntax not supported
        association.release()

    def test_class_that_was_not_negotiated(
        self, receiver: Receiver, worklist: Worklist, xray: XRay
    ) -> None:
        dataset = pydicom.dcmread(xray())
        assert _send_as(receiver.port, dataset, uid.CTImageStorage) == 0x0122
        assert _send_as(receiver.port, dataset, uid.SecondaryCaptureImageStorage) == 0x0122
        assert not worklist.items()

    def test_data_set_of_another_class(self, receiver: Receiver, xray: XRay) -> None:
        dataset = pydicom.dcmread(xray(SOPClassUID=uid.MRImageStorage))
        status = _send_as(receiver.port, dataset, uid.ComputedRadiographyImageStorage)
        assert status == 0xA900

    @pytest.mark.parametrize(
        "content", [b"", b"\0" * 100, b"no data set at all, or is it", bytes(range(256)) * 40]
    )
    def test_what_is_no_data_set(
        self, receiver: Receiver, worklist: Worklist, xray: XRay, content: bytes
    ) -> None:
        dataset = pydicom.dcmread(xray())
        found = _send_as(receiver.port, dataset, uid.ComputedRadiographyImageStorage, content)
        assert found == 0xC000
        assert not worklist.items()

    def test_pixels_that_are_missing(
        self, receiver: Receiver, lines: list[str], xray: XRay
    ) -> None:
        assert send(receiver.port, xray(PixelData=None)) == 0xC000
        assert lines == ["DICOM: refused an image: a DICOM file without pixels: no PixelData"]

    def test_same_refusal_again_is_said_once(
        self, receiver: Receiver, lines: list[str], xray: XRay
    ) -> None:
        for _ in range(3):
            send(receiver.port, xray(PixelData=None))
        assert len(lines) == 1
        assert receiver.counts == {"refused": 3}

    def test_full_queue(self, tmp_path: Path, xray: XRay, lines: list[str]) -> None:
        with Worklist(tmp_path / "short", limits=Limits(waiting=1)) as worklist:
            receiver = Receiver(worklist, DicomNode(port=0), lines.append)
            receiver.start()
            assert send(receiver.port, xray()) == 0x0000
            assert send(receiver.port, xray()) == 0xA700
            receiver.stop()
        assert lines == ["DICOM: refused an image: 1 images wait for a score"]

    def test_full_disk(self, small_disk: MakeDisk, tmp_path: Path, lines: list[str]) -> None:
        from tests.dicoms import dicom

        noise = np.random.default_rng(0).integers(0, 4096, (700, 700), dtype=np.uint16)
        large = dicom(tmp_path / "large.dcm", noise)
        with Worklist(small_disk("900k") / "worklist") as worklist:
            receiver = Receiver(worklist, DicomNode(port=0), lines.append)
            receiver.start()
            assert send(receiver.port, large) == 0xA700
            receiver.stop()
            assert not worklist.items()
        assert len(lines) == 1

    def test_data_set_that_is_too_large(
        self, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.dicoms import dicom

        monkeypatch.setattr(connections, "_OVERHEAD", 2**17)
        large = pydicom.dcmread(dicom(tmp_path / "large.dcm", np.zeros((1000, 1000), np.uint16)))
        with Worklist(tmp_path / "small", limits=Limits(file_bytes=2**20)) as worklist:
            receiver = Receiver(worklist, DicomNode(port=0), lines.append)
            receiver.start()
            association = associate(receiver.port, large.SOPClassUID)
            assert "Status" not in association.send_c_store(large)
            receiver.stop()
            assert not worklist.items()
        assert lines == ["DICOM: refused a data set of more than 1 MiB"]

    def test_bug_is_a_status_and_a_line_that_quotes_nothing(
        self,
        receiver: Receiver,
        worklist: Worklist,
        xray: XRay,
        lines: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("Doe^Jane 1970")

        monkeypatch.setattr(worklist, "add", fail)
        assert send(receiver.port, xray()) == 0xC001
        assert lines == ["DICOM: an image wasn't taken: RuntimeError, which is a bug of featx"]
        assert capfd.readouterr() == ("", "")


def test_audit_is_told_what_became_of_images(worklist: Worklist, xray: XRay) -> None:
    told: list[tuple[str, str, str]] = []
    node = Receiver(worklist, DicomNode(port=0), audit=lambda *what: told.append(what))
    node.start()
    send(node.port, xray())
    send(node.port, xray(PixelData=None))
    node.stop()
    (item,) = worklist.items()
    assert told == [("received", item.id, ""), ("refused", "", "unreadable")]


class TestPeers:
    def test_called_title_must_be_right(self, receiver: Receiver) -> None:
        assert associate(receiver.port, VERIFICATION, called="OTHER").is_rejected

    def test_any_caller_on_this_machine(self, receiver: Receiver) -> None:
        association = associate(receiver.port, VERIFICATION, calling="ANYBODY")
        assert association.is_established
        association.release()

    @pytest.fixture
    def strict(self, worklist: Worklist) -> Iterator[Receiver]:
        peers = ("XRAY@127.0.0.1", "PACS@127.0.0.1", "FAR@192.0.2.1")
        node = Receiver(worklist, DicomNode(host="0.0.0.0", port=0, peers=peers))
        node.start()
        yield node
        node.stop()

    @pytest.mark.parametrize("title", ["XRAY", "PACS"])
    def test_peers_that_are_named(self, strict: Receiver, title: str) -> None:
        association = associate(strict.port, VERIFICATION, calling=title)
        assert association.send_c_echo().Status == 0x0000
        association.release()

    @pytest.mark.parametrize("title", ["STRANGER", "FAR", "xray"])
    def test_others(self, strict: Receiver, title: str) -> None:
        assert associate(strict.port, VERIFICATION, calling=title).is_rejected

    def test_other_addresses_are_not_even_listened_to(self, worklist: Worklist) -> None:
        node = Receiver(worklist, DicomNode(port=0, peers=("XRAY@192.0.2.1",)))
        node.start()
        assert associate(node.port, VERIFICATION).is_aborted
        node.stop()


class TestOptions:
    @pytest.mark.parametrize("title", ["", " ", "A" * 17, "A\\B", "ÄRZTE", "A\n", " A"])
    def test_titles_that_are_none(self, title: str) -> None:
        with pytest.raises(InputError, match="isn't an AE title"):
            DicomNode(title)

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])
    def test_other_addresses_need_peers(self, host: str) -> None:
        with pytest.raises(InputError, match="other machines can reach") as caught:
            DicomNode(host=host)
        assert "`dicom_peers`" in caught.value.hint

    @pytest.mark.parametrize(
        ("peer", "reason"),
        [
            ("XRAY", "isn't AE_TITLE@HOST"),
            ("XRAY@", "isn't AE_TITLE@HOST"),
            ("@127.0.0.1", "isn't an AE title"),
            ("XRAY@no-such-host.invalid", "there is no host"),
        ],
    )
    def test_peers_that_are_none(self, peer: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            DicomNode(peers=(peer,))

    @pytest.mark.parametrize("port", [-1, 2**16])
    def test_ports_that_are_none(self, port: int) -> None:
        with pytest.raises(InputError, match="there is no port"):
            DicomNode(port=port)

    def test_a_name_with_addresses_of_both_kinds_stands_for_the_one_of_ipv4(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Debian's localhost is ::1 first, which few nodes listen at."""
        both = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", lambda *_, **__: both)
            node = Receiver(worklist, DicomNode(host="localhost", port=0))
            node.start()
        assert associate(node.port, VERIFICATION).is_established
        node.stop()

    def test_port_that_is_taken(self, receiver: Receiver, worklist: Worklist) -> None:
        second = Receiver(worklist, DicomNode(port=receiver.port))
        with pytest.raises(InputError, match="can't listen at 127") as caught:
            second.start()
        assert caught.value.hint == "Give another `dicom_port`."
        second.stop()

    def test_who_connects_early_waits(self, worklist: Worklist, xray: XRay) -> None:
        node = Receiver(worklist, DicomNode(port=0))
        node.listen()
        threading.Timer(0.3, node.start).start()
        assert send(node.port, xray()) == 0x0000
        node.stop()

    def test_stopping_before_the_start(self, worklist: Worklist) -> None:
        node = Receiver(worklist, DicomNode(port=0))
        node.listen()
        port = node.port
        node.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)

    def test_missing_library(self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch) -> None:
        from importlib import util

        monkeypatch.setattr(util, "find_spec", lambda _: None)
        with pytest.raises(InputError, match="pynetdicom and highdicom") as caught:
            Receiver(worklist, DicomNode())
        assert "pip install 'featx[dicomnet]'" in caught.value.hint


class TestBadConnections:
    """Peers that are silent, slow, many, or lie."""

    def test_claim_of_4_gigabytes_ends_the_connection(self, receiver: Receiver) -> None:
        with socket.create_connection(("127.0.0.1", receiver.port), 5) as peer:
            peer.sendall(struct.pack(">BBL", 4, 0, 2**32 - 1))
            assert _is_closed(peer)

    def test_silent_peer_is_left(self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch) -> None:
        from featx.dicomnet import _receiver

        monkeypatch.setattr(_receiver, "_ACSE_SECONDS", 0.5)
        node = Receiver(worklist, DicomNode(port=0))
        node.start()
        with socket.create_connection(("127.0.0.1", node.port), 5) as peer:
            assert _is_closed(peer)
        node.stop()

    def test_silence_in_an_association_ends_it(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from featx.dicomnet import _receiver

        monkeypatch.setattr(_receiver, "_SILENT_SECONDS", 0.5)
        node = Receiver(worklist, DicomNode(port=0))
        node.start()
        association = associate(node.port, VERIFICATION)
        end = time.monotonic() + 10
        while association.is_established and time.monotonic() < end:
            time.sleep(0.05)
        assert association.is_aborted
        node.stop()

    def test_message_that_takes_too_long_ends_the_connection(
        self, receiver: Receiver, xray: XRay, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "MESSAGE_SECONDS", 0.0)
        dataset = pydicom.dcmread(xray())
        association = associate(receiver.port, dataset.SOPClassUID)
        if association.is_established:
            assert "Status" not in association.send_c_store(dataset)
        assert not worklist.items()

    def test_peer_that_stops_in_the_middle_is_left(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "PDU_SECONDS", 0.3)
        with socket.create_connection(("127.0.0.1", receiver.port), 5) as peer:
            peer.sendall(struct.pack(">BBL", 1, 0, 200) + b"\0\1\0\0")
            assert _is_closed(peer)

    def test_many_connections_do_not_lock_others_out_for_ever(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
        peers = [socket.create_connection(("127.0.0.1", receiver.port), 5) for _ in range(12)]
        time.sleep(0.5)
        assert len(receiver._server.active_associations) <= 5
        for peer in peers:
            peer.close()
        end = time.monotonic() + 60
        while not (association := associate(receiver.port, VERIFICATION)).is_established:
            assert time.monotonic() < end
        assert association.send_c_echo().Status == 0x0000
        association.release()

    def test_stopping_ends_open_associations(self, receiver: Receiver) -> None:
        association = associate(receiver.port, VERIFICATION)
        receiver.stop()
        end = time.monotonic() + 5
        while association.is_established and time.monotonic() < end:
            time.sleep(0.05)
        assert not association.is_established


def _is_closed(peer: socket.socket) -> bool:
    """Read until the other side closes, perhaps after an abort."""
    try:
        while peer.recv(1024):
            pass
    except ConnectionResetError:
        pass
    return True


def _data_set(path: Path) -> bytes:
    """Return a file's data set without the file meta information."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 132 + 8)
    return content[132 + 12 + length :]


def _send_as(port: int, dataset: Any, kind: uid.UID, content: bytes | None = None) -> int:
    """Send a data set, or bytes, under another SOP class, in a context for CR."""
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.dsutils import encode

    association = associate(port, uid.ComputedRadiographyImageStorage)
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = kind
    request.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    request.Priority = 2
    (context,) = association.accepted_contexts
    implicit = context.transfer_syntax[0].is_implicit_VR
    request.DataSet = io.BytesIO(
        encode(dataset, implicit, True) or b"" if content is None else content or b"\0\0"
    )
    association._reactor_checkpoint.clear()  # or its thread takes the answer
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return int(response.Status)
