"""`featx serve` killed while images arrive: none that was acknowledged is lost or doubled."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.featx.worklist.conftest import picture
from tests.ports import free_port, listens
from tests.processes import Command, Server

CLIENTS = 4


class Clients:
    """Send images at once, each one again until it is acknowledged."""

    def __init__(self, port: int, pause: float) -> None:
        self.acknowledged: dict[str, int] = {}
        self._port, self._pause, self._ending = port, pause, threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._futures = [self._pool.submit(self._send, client) for client in range(CLIENTS)]

    def stop(self) -> None:
        self._ending.set()
        for future in self._futures:
            future.result()
        self._pool.shutdown()

    def _send(self, client: int) -> None:
        number = client
        while not self._ending.is_set():
            content = picture(number, 16)
            while (found := self._post(content)) is None:
                time.sleep(0.02)
            assert found == hashlib.sha256(content).hexdigest()[:32]
            self.acknowledged[found] = number
            # Some come twice.
            number += CLIENTS if number % 7 or found in self.acknowledged else 0
            time.sleep(self._pause)

    def _post(self, content: bytes) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(
                "POST", "/api/v1/predictions?wait=0", content, {"Content-Type": "image/png"}
            )
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        assert answer.status in (200, 202, 429), text
        return None if answer.status == 429 else str(json.loads(text)[0]["id"])


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("goal", "scored_every", "pause"),
    [(10, 5, 0.5), pytest.param(100, 20, 2.0, marks=pytest.mark.torture)],
)
def test_no_acknowledged_image_is_lost_or_doubled(
    request: pytest.FixtureRequest,
    commands: Server,
    tiny_ncnn_run: Path,
    tmp_path: Path,
    goal: int,
    scored_every: int,
    pause: float,
) -> None:
    """In one of `scored_every` rounds, images are scored before the kill."""
    state, chance = tmp_path / "state", random.Random(goal)
    port = free_port()
    arguments = ("serve", tiny_ncnn_run, "--port", port, "--state", state)
    clients = Clients(port, pause)
    kills, killed_scoring, acknowledged = 0, 0, 0
    scoring: list[psutil.Process] = []
    try:
        while kills < goal:
            service = commands.start(*arguments)
            wait_until_it_answers(service, port)
            if kills % scored_every == scored_every - 1:
                before = count(state, "scored")
                while count(state, "scored") == before:
                    assert service.works, service.err
                    time.sleep(0.05)
                killed_scoring += 1
            time.sleep(chance.uniform(0.0, 0.8))
            assert service.works, service.err
            scoring += psutil.Process(service.pid).children()
            # At times the process that answers is killed alone, and the other one has to notice.
            if kills % 2:
                os.kill(service.pid, signal.SIGKILL)
            else:
                service.kill()
            assert service.wait() == -signal.SIGKILL
            assert "Traceback" not in service.err
            kills += 1
            acknowledged = len(clients.acknowledged)
    finally:
        service = commands.start(*arguments)
        request.addfinalizer(service.kill)
        clients.stop()
    assert acknowledged > 2 * goal
    assert killed_scoring == goal // scored_every
    psutil.wait_procs(scoring, timeout=5.0)
    assert not [each for each in scoring if each.is_running()]
    while count(state, "waiting"):
        assert service.works, service.err
        time.sleep(0.2)
    service.kill()
    service.wait()

    with sqlite3.connect(state / "worklist.sqlite") as database:
        rows = database.execute("SELECT id, state, suffix FROM images").fetchall()
        predicted = database.execute("SELECT image FROM predictions").fetchall()
    assert {row[0] for row in rows} == set(clients.acknowledged)
    assert {row[1] for row in rows} == {"scored"}
    assert sorted(row[0] for row in predicted) == sorted(row[0] for row in rows)
    for identifier, _, suffix in rows:
        content = (state / "images" / identifier[:2] / f"{identifier}{suffix}").read_bytes()
        assert hashlib.sha256(content).hexdigest().startswith(identifier)
    files = [path for path in (state / "images").rglob("*") if path.is_file()]
    assert len(files) == len(rows)


def wait_until_it_answers(service: Command, port: int) -> None:
    while not listens(port):
        assert service.works, service.err
        time.sleep(0.01)


def count(state: Path, which: str) -> int:
    with sqlite3.connect(state / "worklist.sqlite", timeout=10) as database:
        found = database.execute("SELECT count(*) FROM images WHERE state = ?", (which,))
        return int(found.fetchone()[0])
