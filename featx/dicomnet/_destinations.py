"""Places that results go to: a folder, a DICOM node, a DICOMweb service."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from featx._addresses import is_loopback
from featx.dicomnet._node import addresses_of, require_title
from featx.errors import FeatxError, InputError, StorageError
from featx_cache._text import printable
from featx_cache.files import atomic_path, make_folder, open_regular

AUTHORIZATION_VARIABLE = "FEATX_DICOMWEB_AUTHORIZATION"
"""Environment variable with the ``Authorization`` header for a DICOMweb service."""

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
_DUPLICATE = 0x0111
_LARGEST_ANSWER = 2**20
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


class DeliveryError(FeatxError):
    """A result didn't reach its destination. The text names no patient. It is tried again."""

    code = "delivery"


class UnreachableError(DeliveryError):
    """A destination can't be reached, so that it needs no other result for a while, either."""

    code = "unreachable"


class Destination(Protocol):
    """A place that results go to."""

    def send(self, objects: Sequence[Any], name: str) -> None:
        """Bring objects there. `name` names the result, and nobody else."""


@dataclass(frozen=True)
class Folder:
    """A folder."""

    path: Path

    def send(self, objects: Sequence[Any], name: str) -> None:
        """Write a file for each object. A file of something else is left alone."""
        try:
            make_folder(self.path)
            for made in objects:
                file = self.path / f"{name}-{made.Modality}.dcm"
                if file.exists() and not _is_same(file, made):
                    raise DeliveryError(f"another file is at {file}")
                with atomic_path(file) as temporary:
                    temporary.write_bytes(encoded(made))
        except (StorageError, OSError) as error:
            what = error.what if isinstance(error, FeatxError) else error.strerror
            raise UnreachableError(f"can't write into {self.path}: {what}") from error


def _is_same(file: Path, made: Any) -> bool:
    import pydicom

    try:
        with open_regular(file) as content:
            found = pydicom.dcmread(content, specific_tags=["SOPInstanceUID"])
            return bool(found.SOPInstanceUID == made.SOPInstanceUID)
    except Exception:  # noqa: BLE001 - whatever it is, it isn't ours
        return False


@dataclass(frozen=True)
class Node:
    """A node of the DICOM network, which is sent to by C-STORE."""

    ae_title: str
    host: str
    port: int
    own_title: str

    def send(self, objects: Sequence[Any], name: str) -> None:
        """Send objects in one association."""
        del name
        try:
            association = self._associate({made.SOPClassUID: None for made in objects})
            try:
                self._store(association, objects)
            finally:
                if association.is_established:
                    association.release()
        except (ValueError, RuntimeError) as error:  # pynetdicom's, of what the node said
            raise UnreachableError("its answers can't be understood") from error

    def _associate(self, classes: Iterable[Any]) -> Any:
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
        from pynetdicom import AE, evt

        from featx.dicomnet._connections import bound

        entity = AE(ae_title=self.own_title)
        entity.connection_timeout = CONNECT_SECONDS
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        for kind in classes:
            entity.add_requested_context(kind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        try:
            address = addresses_of(self.host)[0]
        except InputError as error:
            raise UnreachableError(error.what) from error
        association = entity.associate(
            address,
            self.port,
            ae_title=self.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: bound(event.assoc))],
        )
        if association.is_established:
            return association
        why = "it can't be reached"
        if association.is_rejected:
            why = "it refuses this node (check both AE titles)"
        elif association.rejected_contexts:
            why = "it takes no Structured Reports"
        raise UnreachableError(why)

    def _store(self, association: Any, objects: Sequence[Any]) -> None:
        """Send what the node takes, and then say what it doesn't take."""
        from pynetdicom.status import code_to_category

        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        for made in objects:
            if made.SOPClassUID not in accepted:
                continue
            status = association.send_c_store(made).get("Status")
            if status is None:
                raise UnreachableError("it broke the connection off")
            if code_to_category(status) == "Failure" and status != _DUPLICATE:
                raise DeliveryError(f"it answered with the status 0x{status:04X}")
        for made in objects:
            if made.SOPClassUID not in accepted:
                raise DeliveryError(f"it takes no {made.SOPClassUID.name}")


@dataclass(frozen=True)
class Service:
    """A DICOMweb service, which is sent to by STOW-RS."""

    url: str
    authorization: str = ""

    def send(self, objects: Sequence[Any], name: str) -> None:
        """Send objects in one request. It is never sent on to another address."""
        del name
        import requests
        from urllib3.exceptions import HTTPError

        boundary = secrets.token_hex(16)
        body = b"".join(
            b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n"
            % (boundary.encode(), encoded(made))
            for made in objects
        )
        headers = {
            "Accept": "application/dicom+json",
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        }
        if self.authorization:
            headers["Authorization"] = self.authorization
        try:
            with requests.Session() as session:
                # Neither a proxy nor a password from files of the user.
                session.trust_env = False
                with session.post(
                    self.url,
                    data=body + b"--%b--\r\n" % boundary.encode(),
                    headers=headers,
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,
                    stream=True,
                    verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
                ) as answer:
                    status, kind = answer.status_code, answer.headers.get("Content-Type", "")
                    content = answer.raw.read(_LARGEST_ANSWER, decode_content=True)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise UnreachableError(_reason(error)) from error
        if kind.lower().startswith("text/html") and 200 <= status < 300:
            raise UnreachableError("it answered with a web page, as a login does")
        failures = _failures(content)
        if failures and failures <= {_DUPLICATE}:
            return
        if failures:
            reasons = ", ".join(f"0x{reason:04X}" for reason in sorted(failures))
            raise DeliveryError(f"it answered {status} with the failure {reasons}")
        if not 200 <= status < 300:
            is_down = status >= 500 or status in (401, 403, 429)
            raise (UnreachableError if is_down else DeliveryError)(f"it answered {status}")


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "it doesn't answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate isn't trusted"
    return "it can't be reached"


def _failures(content: bytes) -> set[int]:
    """Return the reasons of failures in an answer (PS3.18 table 10.5.3-1)."""
    try:
        found = json.loads(content)
        found = found[0] if isinstance(found, list) else found
        items = found.get("00081198", {}).get("Value", [])
        return {int(item.get("00081197", {}).get("Value", [0])[0]) for item in items}
    except (ValueError, AttributeError, LookupError, TypeError):
        return set()


def encoded(dataset: Any) -> bytes:
    """Return the content of a DICOM file."""
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def parse_destination(text: str, own_title: str) -> Destination:
    """Read a destination.

    Raises
    ------
    InputError
        If it isn't one, or it has a password in it.
    """
    if text.startswith("dicom://"):
        return _node(text, own_title)
    if text.startswith(("http://", "https://")):
        return _service(text)
    if not text or _SCHEME.match(text):
        raise _refusal(text.partition("/")[0], "isn't a place that featx can send to")
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise _refusal(text, "is a file")
    return Folder(path)


def _node(text: str, own_title: str) -> Node:
    title, at, address = text.removeprefix("dicom://").rstrip("/").rpartition("@")
    try:
        parts = urllib.parse.urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not at or not host or not port or parts.path or parts.query or parts.fragment:
        raise _refusal("dicom://", "isn't dicom://AE_TITLE@HOST:PORT")
    require_title(title, "results")
    return Node(title, host, port, own_title)


def _service(text: str) -> Service:
    try:
        parts = urllib.parse.urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise _refusal(text.partition("@")[0], "isn't the address of a service")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"the address of the service at {printable(host)[:80]} has more in it than a path",
            f"Put a password or token into {AUTHORIZATION_VARIABLE}: addresses are kept.",
            parameter="results",
        )
    authorization = os.environ.get(AUTHORIZATION_VARIABLE, "").strip()
    if authorization and not (authorization.isascii() and authorization.isprintable()):
        raise InputError(f"{AUTHORIZATION_VARIABLE} isn't the value of a header")
    if authorization and parts.scheme == "http" and not is_loopback(host):
        raise InputError(
            f"{AUTHORIZATION_VARIABLE} would go to {printable(host)[:80]} where others can read it",
            "Use https.",
        )
    url = text.rstrip("/")
    return Service(url if url.endswith("/studies") else f"{url}/studies", authorization)


def _refusal(text: str, why: str) -> InputError:
    return InputError(
        f"the destination {printable(text)[:120]!r} {why}",
        "Give a folder, dicom://AE_TITLE@HOST:PORT, or the http address of a DICOMweb service.",
        parameter="results",
    )
