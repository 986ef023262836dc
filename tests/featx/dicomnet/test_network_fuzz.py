"""Broken bytes to the DICOM port: each connection ends, nothing is printed, and it goes on."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest

from tests.featx.dicomnet.conftest import XRay, associate, send

INPUTS = 2500
CLIENTS = 8
SECONDS = 10.0
"""Time after which a connection counts as forgotten."""

LARGER = 150
"""MB that the process may grow by. A peer may send one message of 96 MB."""

PROGRAM = """
import sys, time
from featx.dicomnet import DicomNode, Receiver
from featx.worklist import Worklist
with Worklist(sys.argv[1]) as worklist:
    receiver = Receiver(worklist, DicomNode(port=0), lambda line: print(line, file=sys.stdout))
    receiver.start()
    print(receiver.port, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[str], Path]]:
    """A node in a process of its own: its port, the process, and what it wrote to stderr."""
    errors = tmp_path / "stderr"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "state")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    yield int(process.stdout.readline()), process, errors
    process.kill()
    process.communicate()


@pytest.fixture
def conversation(node: tuple[int, Any, Path], xray: XRay) -> tuple[bytes, list[bytes]]:
    """What a peer says that sends an X-ray: the request of an association, and the rest."""
    from pynetdicom import AE, evt

    said: list[bytes] = []
    entity = AE(ae_title="XRAY")
    entity.add_requested_context("1.2.840.10008.1.1")
    dataset = pydicom.dcmread(xray())
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    handlers = [(evt.EVT_DATA_SENT, lambda event: said.append(event.data))]
    association = entity.associate("127.0.0.1", node[0], ae_title="FEATX", evt_handlers=handlers)
    assert association.send_c_store(dataset).Status == 0
    association.release()
    assert len(said) == 4
    return said[0], said[1:]


@pytest.mark.long
def test_broken_inputs(
    node: tuple[int, subprocess.Popen[str], Path],
    conversation: tuple[bytes, list[bytes]],
    xray: XRay,
) -> None:
    port, process, errors = node
    before = psutil.Process(process.pid).memory_info().rss
    with ThreadPoolExecutor(CLIENTS) as pool:
        ends = Counter(pool.map(lambda seed: _talk(port, seed, *conversation), range(INPUTS)))
    assert ends["forgotten"] == 0, ends
    # Most were worked on, and not just turned away at the door.
    assert ends["answered"] > INPUTS / 4, ends
    assert errors.read_text() == ""
    assert process.poll() is None
    larger = (psutil.Process(process.pid).memory_info().rss - before) / 2**20
    assert larger < LARGER, f"{larger:.0f} MB"
    end = time.monotonic() + 15
    while not (association := associate(port, "1.2.840.10008.1.1")).is_established:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert association.send_c_echo().Status == 0
    association.release()
    assert send(port, xray()) == 0
    print(ends, f"{larger:.0f} MB")


def _talk(port: int, seed: int, request: bytes, rest: list[bytes]) -> str:
    """Say something broken, and return how it ended."""
    dice = random.Random(seed)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(SECONDS)
        heard = b""
        try:
            for part in _broken(dice, request, rest):
                peer.sendall(part)
                if part is request:
                    heard += peer.recv(4096)  # the association is accepted
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(4096):
                heard += part
        except TimeoutError:
            return "forgotten"
        return "answered" if heard else "closed"
    return "closed"


def _broken(dice: random.Random, request: bytes, rest: list[bytes]) -> list[bytes]:
    kind = dice.randrange(6)
    if kind == 0:
        return [dice.randbytes(dice.choice([0, 1, 5, 6, 7, 100, 5000]))]
    if kind == 1:
        return [_mutated(dice, request)]
    if kind == 2:
        length = dice.choice([0, 1, 2**16, 2**18, 2**31, 2**32 - 1])
        return [struct.pack(">BBL", dice.randrange(10), 0, length) + dice.randbytes(300)]
    if kind == 3:
        everything = b"".join(rest)
        return [request, everything[: dice.randrange(len(everything))]]
    if kind == 4:
        return [request, *(dice.choice([_mutated(dice, part), part]) for part in rest)]
    # A data set that is none, under a command that is one.
    values = dice.randbytes(dice.choice([1, 2, 50, 3000]))
    item = struct.pack(">LBB", len(values) + 2, rest[1][10], 2) + values
    return [request, rest[0], struct.pack(">BBL", 4, 0, len(item)) + item, rest[-1]]


def _mutated(dice: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 8])):
        place = dice.randrange(len(changed))
        how = dice.randrange(5)
        if how == 0:
            changed[place] = dice.randrange(256)
        elif how == 1:
            changed[place] ^= 1 << dice.randrange(8)
        elif how == 2:
            del changed[place : place + dice.choice([1, 2, 10])]
        elif how == 3:
            changed[place:place] = dice.randbytes(dice.choice([1, 4, 100]))
        else:
            changed[place : place + 4] = dice.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
        if not changed:
            return b""
    return bytes(changed)
