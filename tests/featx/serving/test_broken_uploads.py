"""Thousands of uploads with something wrong: each has an answer, and the server stays as it is."""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

from featx.serving import Service
from tests.dicoms import dicom
from tests.featx.serving.conftest import new_png

NUMBER = 5000
URL = "/api/v1/predictions?wait=0"
EDGE = b"edge"
MAX_GROWTH = 300
"""MB by which the server may have grown in the end."""


def contents(folder: Path) -> list[bytes]:
    """Files that a worklist takes, and some that unfold to gigabytes."""
    png, jpeg, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    image.save(png, "PNG")
    image.save(jpeg, "JPEG")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", b"\0" * 10**7)
    header = b"IHDR" + (65000).to_bytes(4) * 2 + b"\x08\0\0\0\0"
    huge = png.getvalue()[:12] + header + zlib.crc32(header).to_bytes(4) + png.getvalue()[33:]
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    plain = dicom(folder / "a.dcm", pixels)
    deflated = dicom(folder / "b.dcm", pixels, syntax=DeflatedExplicitVRLittleEndian)
    head = deflated.read_bytes()
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A private element of 400 MB of zeros.
    element = b"\x09\x00\x10\x00OB\0\0" + (400 * 2**20).to_bytes(4, "little")
    body = squeeze.compress(element) + b"".join(squeeze.compress(bytes(2**20)) for _ in range(400))
    at = head.index(DeflatedExplicitVRLittleEndian.encode()) + 22
    bomb = head[:at] + body + squeeze.flush()
    return [
        png.getvalue(), jpeg.getvalue(), plain.read_bytes(), head, huge, archive.getvalue(), bomb,
        b"", b"\0" * 1000, b"DICM" * 50,
    ]  # fmt: skip


def part(chance: random.Random, content: bytes) -> bytes:
    """A part of a form, often with something wrong in its head."""
    name = chance.choice(
        [b"images", b"images", b"images", b"Images", b"", b"a" * 3000, b"\0", b'"']
    )
    file = chance.choice(
        [
            b"a.png",
            b"../../etc/passwd",
            b"x.dcm",
            b"\xff\xfe\0",
            b"a" * 5000,
            b'a"; x="',
            b"",
        ]
    )
    disposition = b'Content-Disposition: form-data; name="%s"; filename="%s"' % (name, file)
    head = chance.choice(
        [
            *[disposition] * 10,
            disposition + b"\r\nX: " + b"x" * chance.choice([10, 5000, 10**5]),
            disposition + b"\r\nX: y" * chance.choice([3, 100]),
            disposition + b"\r\nContent-Type: \0",
            b'Content-Disposition: form-data; name="images"',
            b"Content-Disposition: form-data",
            b"Content-Disposition",
            b": ",
            b"",
            b"Content-Disposition: form-data; name*=utf-8''images; filename*=utf-8''%ff",
        ]
    )
    return b"\r\n".join([b"--" + EDGE, head, b"", content, b""])


def spoiled(chance: random.Random, body: bytes) -> bytes:
    """A body with something wrong in its bytes."""
    kind, at = chance.randrange(9), chance.randrange(len(body) + 1)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + bytes(chance.choices(range(256), k=chance.randrange(1, 40))) + body[at:]
    if kind == 2:
        return body[:at] + body[at + chance.randrange(1, 100) :]
    if kind == 3:
        return body.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\r\n\r\n"]))
    if kind == 4:
        return body.replace(EDGE, chance.choice([b"egde", b"edge" * 30, b"\0"]), 1)
    if kind == 5:
        return body + body
    return body


def upload(chance: random.Random, files: list[bytes]) -> tuple[str, bytes]:
    """Type and body of an upload."""
    small = files[:-4] if chance.random() < 0.98 else files
    if chance.random() < 0.1:
        kind = chance.choice(
            ["image/png", "application/dicom", "image/", "application/octet-stream"]
        )
        return kind, spoiled(chance, chance.choice(files[:5]))
    kind = chance.choice(
        ["multipart/form-data; boundary=edge"] * 8
        + [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=edge",
        ]
        + ['multipart/form-data; boundary="edge', "multipart/form-data; boundary=" + "e" * 500]
        + ["", ";;;", "multipart/form-data; charset=\x01; boundary=edge", "text/plain"]
    )
    parts = [part(chance, chance.choice(small)) for _ in range(chance.choice([0, 1, 1, 2, 5]))]
    return kind, spoiled(chance, b"".join(parts) + b"--" + EDGE + b"--\r\n")


@pytest.mark.long
@pytest.mark.usefixtures("unharmed")
def test_have_an_answer_each(tiny_run: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    chance, files = random.Random(22), contents(tmp_path)
    with Service(
        tiny_run, port=0, state=tmp_path / "s", runtime="ncnn", report=reports.append
    ) as service:
        port = service.station.options.port
        before = psutil.Process().memory_info().rss
        statuses: Counter[int] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(NUMBER):
            kind, body = upload(chance, files)
            connection.request("POST", URL, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            said = answer.read()
            statuses[answer.status] += 1
            found = json.loads(said)
            assert isinstance(found, list) or set(found["error"]) == {"code", "what", "hint"}
            for secret in (b"Traceback", b"Doe^Jane", str(tmp_path).encode()):
                assert secret not in said
        assert set(statuses) <= {200, 202, 400, 413, 415, 422, 429}, statuses
        assert min(statuses[status] for status in (202, 400, 415, 422)) > 100, statuses
        for head in (b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 10**6,
                     b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):  # fmt: skip
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(head)
                assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
        # It works as before, and nothing is left.
        connection.request("POST", URL, new_png(), {"Content-Type": "image/png"})
        assert connection.getresponse().status in (200, 202)
        assert psutil.Process().memory_info().rss - before < MAX_GROWTH * 2**20
        assert all(path.is_dir() for path in (tmp_path / "s" / "images").iterdir())
    assert reports == []
