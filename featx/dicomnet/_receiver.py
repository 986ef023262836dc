"""The receiver of the DICOM network: X-rays come in by C-STORE."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from featx.dicomnet._libraries import require_libraries
from featx.dicomnet._marks import is_own
from featx.dicomnet._node import DicomNode, addresses_of
from featx.errors import FeatxError, InputError, StorageError
from featx.worklist import FullQueueError, RefusedImageError, Worklist

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
WRONG_DATA_SET = 0xA900
CANNOT_UNDERSTAND = 0xC000
FAILED_INSIDE = 0xC001
"""Statuses of C-STORE (PS3.4 table B.2-1, PS3.7 annex C)."""

Audit = Callable[[Literal["received", "refused"], str, str], None]

_ADDING = 2
"""Images that are written at once. More wait in their connections."""

_ACSE_SECONDS, _SILENT_SECONDS, _ENDING_SECONDS = 10.0, 60.0, 5.0


def accepted_classes() -> list[Any]:
    """Return the SOP classes that are taken: one image that is made to be looked at.

    DX for processing isn't: its pixels are the detector's, and nobody reads X-rays of them. Of
    secondary captures those of several frames aren't: which of them would be scored?
    """
    from pydicom import uid

    return [
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.SecondaryCaptureImageStorage,
    ]


def accepted_syntaxes() -> list[Any]:
    """Return the transfer syntaxes that featx decodes here, uncompressed ones first.

    Deflated data sets aren't taken: a small one can be very large.
    """
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    compressed = [
        uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless,
        uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless,
        uid.JPEG2000,
    ]  # fmt: skip
    plain = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
    return plain + [syntax for syntax in compressed if get_decoder(syntax).is_available]


class Receiver:
    """A C-STORE provider that puts X-rays into a worklist. It answers C-ECHO, too.

    What was answered with success is on the disk.

    Parameters
    ----------
    worklist
        Where images go.
    node
        Name and address of this node, and who may send.
    report
        Function that is told in a line what goes wrong. The lines name nobody.
    audit
        Function that is told whether an image was ``received`` or ``refused``, its identifier, and
        of a refused one the kind of the reason.

    Raises
    ------
    InputError
        If pynetdicom isn't installed.

    Examples
    --------
    >>> receiver = Receiver(worklist, DicomNode(port=11112))  # doctest: +SKIP
    >>> receiver.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        worklist: Worklist,
        node: DicomNode,
        report: Callable[[str], None] = lambda _: None,
        audit: Audit = lambda *_: None,
    ) -> None:
        require_libraries()
        self.worklist, self.node = worklist, node
        self.counts: Counter[str] = Counter()
        """Images by what became of them: ``taken``, ``known``, ``own``, ``refused``, ``failed``."""

        self._report, self._audit, self._said = report, audit, ""
        self._callers = node.callers()
        self._turns = threading.Semaphore(_ADDING)
        self._ending = False
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Port that it listens at."""
        return int(self._server.server_address[1]) if self._server else self.node.port

    def listen(self) -> None:
        """Take the address. Who connects waits until `start`.

        Raises
        ------
        InputError
            If the address can't be listened at.
        """
        from pynetdicom import AE, evt
        from pynetdicom.sop_class import Verification

        from featx.dicomnet import _connections as limits

        node = self.node
        entity = AE(ae_title=node.ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = limits.MAX_ASSOCIATIONS
        entity.maximum_pdu_size = limits.PDU_BYTES
        entity.acse_timeout = _ACSE_SECONDS
        entity.dimse_timeout = entity.network_timeout = _SILENT_SECONDS
        for kind in accepted_classes():
            entity.add_supported_context(kind, accepted_syntaxes())
        entity.add_supported_context(Verification)
        handlers = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_STORE, self._on_store),
        ]
        try:
            self._server = entity.make_server(
                (addresses_of(node.host)[0], node.port),
                evt_handlers=handlers,
                server_class=limits.Server,
            )
        except OSError as error:
            raise InputError(
                f"can't listen at {node.host}:{node.port}: {error.strerror}",
                "Give another `dicom_port`.",
            ) from error
        self._server.addresses = {address for _, address in self._callers}

    def start(self) -> None:
        """Answer those who connect. See `listen`, which is done first if it wasn't."""
        if self._server is None:
            self.listen()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="dicom", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End, after the images at hand. Connections that are open are aborted."""
        self._ending = True
        if self._server is not None:
            for _ in range(_ADDING):
                self._turns.acquire(timeout=_ENDING_SECONDS)
            self._turns.release(_ADDING)
            self._server.stop(is_serving=self._thread is not None)
            self._server = None

    def _on_connection(self, event: Any) -> None:
        """Bound what a connection can make this process read."""
        self._server.bound(event.assoc, self.worklist.limits.file_bytes, self._on_too_large)

    def _on_too_large(self) -> None:
        self._audit("refused", "", "size")
        self.counts["refused"] += 1
        self._say(f"refused a data set of more than {self.worklist.limits.file_bytes // 2**20} MiB")

    def _on_request(self, event: Any) -> None:
        """Refuse an association with somebody who isn't named."""
        association = event.assoc
        if self._callers and self._caller(association) not in self._callers:
            # PS3.8 table 9-21: rejected for good by the user, calling AE title not recognized.
            association.acse.send_reject(1, 1, 3)
            association.kill()

    def _caller(self, association: Any) -> tuple[str, str]:
        title = association.requestor.primitive.calling_ae_title
        return str(title).strip(), association.requestor.address.removeprefix("::ffff:")

    def _on_store(self, event: Any) -> int:
        """Answer C-STORE with a status."""
        try:
            with self._turns:
                return OUT_OF_RESOURCES if self._ending else self._store(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the peer gets an answer
            self.counts["failed"] += 1
            self._say(f"an image wasn't taken: {type(error).__name__}, which is a bug of featx")
            return FAILED_INSIDE

    def _store(self, event: Any) -> int:
        asked = event.request.AffectedSOPClassUID
        if asked not in accepted_classes() or asked != event.context.abstract_syntax:
            return self._refuse(SOP_CLASS_NOT_SUPPORTED, "it is of a SOP class that isn't taken")
        if event.request.DataSet is None:
            return self._refuse(CANNOT_UNDERSTAND, "there is no data set")
        content = io.BytesIO(event.encoded_dataset())
        header = _start_of(content)
        if header is not None:
            if is_own(header):
                # With a failure, what forwards all images would send it again for ever.
                self.counts["own"] += 1
                return SUCCESS
            if header.get("SOPClassUID") not in (None, "", asked):
                return self._refuse(WRONG_DATA_SET, "its data set is of another SOP class")
        content.seek(0)
        try:
            item, new = self.worklist.add(content, "", "dicom")
        except RefusedImageError as error:
            return self._refuse(CANNOT_UNDERSTAND, error.what, error.kind)
        except FeatxError as error:
            is_full = isinstance(error, FullQueueError | StorageError)
            return self._refuse(OUT_OF_RESOURCES if is_full else FAILED_INSIDE, error.what, "busy")
        self._audit("received", item.id, "")
        self.counts["taken" if new else "known"] += 1
        self._said = ""
        return SUCCESS

    def _refuse(self, status: int, why: str, kind: str = "unreadable") -> int:
        self._audit("refused", "", kind)
        self.counts["refused"] += 1
        self._say(f"refused an image: {why}")
        return status

    def _say(self, line: str) -> None:
        """Report a line, once until something else happens."""
        if line != self._said:
            self._said = line
            self._report(f"DICOM: {line}")


def _start_of(content: io.BytesIO) -> Any:
    """Read what a data set says of itself. None if it can't be read."""
    import pydicom

    names = ["SOPClassUID", "Manufacturer", "ManufacturerModelName"]
    try:
        found = pydicom.dcmread(content, stop_before_pixels=True, specific_tags=names)
        for _ in found:  # now, and not where a damaged value would be met
            pass
    except Exception:  # noqa: BLE001 - pydicom has many words for damage
        return None
    return found
