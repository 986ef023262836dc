"""`featx serve` under load: nothing lost, memory, the time of one image, a long list.

    python benchmarks/serve.py load RUN [--images 2000]
    python benchmarks/serve.py latency RUN [--images 60] [--runtime ncnn]
    python benchmarks/serve.py open RUN [--images 20]
    python benchmarks/serve.py list [--images 50000]

`load` sends drawn images over HTTP by 8 clients at once, every tenth of them twice, to a service of
its own. Its folder is looked into afterwards. `latency` sends one image after another, and computes
the bare forward pass of one image in between, by the same runtime. `open` asks for the pixels and
the explanation of an image while the queue is full. `list` asks a worklist of so many images for
the newest ones. The state is in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
from markdown_table import show
from PIL import Image

CLIENTS, SIDE, TWICE = 8, 300, 10
BOUNDARY = "featx-benchmark"
MEMORY_WINDOW = (0.1, 0.2)
"""Part of the images after which memory is measured for the first time."""


@dataclass
class Service:
    """A `featx serve` that answers."""

    process: subprocess.Popen[str]
    address: str
    state: Path

    def post(self, content: bytes, wait: float = 60.0) -> tuple[int, list[dict[str, Any]]]:
        """Send an image, again while the queue is full. Return the status and the rows."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.png"'
            "\r\nContent-Type: image/png\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while True:
            status, found = self.ask("POST", f"/api/v1/predictions?wait={wait}", body, headers)
            if status != 429:
                return status, found
            time.sleep(0.2)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Ask for something that is answered in JSON."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def megabytes(self) -> tuple[float, float]:
        """Return the resident memory of the process that answers and of the one that scores."""
        mine = psutil.Process(self.process.pid)
        scoring = sum(child.memory_info().rss for child in mine.children())
        return mine.memory_info().rss / 1e6, scoring / 1e6


@contextlib.contextmanager
def serving(run: Path, *arguments: str) -> Iterator[Service]:
    """Start `featx serve` with a state of its own, and wait until it has scored an image."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "featx",
                "serve",
                run,
                "--port",
                "0",
                "--state",
                state,
                *arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = urlsplit(process.stdout.readline().split()[-1]).netloc
            service = Service(process, address, state)
            status, _ = service.post(draw(10**6))
            assert status in (200, 202), status
            yield service
        finally:
            process.terminate()
            process.wait()


def draw(number: int) -> bytes:
    """Draw an image that is no other's."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    draws = np.random.default_rng(number)
    waves = sum(
        np.sin(draws.uniform(2, 20) * rows + draws.uniform(2, 20) * columns) for _ in range(4)
    )
    noise = draws.normal(0, 4, (SIDE, SIDE))
    content = io.BytesIO()
    pixels = (127 + 25 * waves + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def load(run: Path, images: int, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Send images by 8 clients at once, as fast as the queue takes them."""
    acknowledged: dict[int, str] = {}
    memory: list[tuple[int, tuple[float, float]]] = []
    numbers = [number for number in range(images) for _ in range(1 + (number % TWICE == 0))]
    with serving(run, *arguments) as service:
        started = time.monotonic()

        def send(number: int) -> None:
            status, rows = service.post(draw(number), wait=0)
            assert status in (200, 202), (status, rows)
            assert acknowledged.setdefault(number, rows[0]["id"]) == rows[0]["id"]

        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.25):
                memory.append((scored(service.state), service.megabytes()))

        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            watcher = pool.submit(watch)
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(send, numbers))
            sent = time.monotonic() - started
            while scored(service.state) < images + 1:
                assert service.process.poll() is None
                time.sleep(0.2)
            taken = time.monotonic() - started
            time.sleep(1.0)
            done.set()
            watcher.result()
        found = look_into(service.state)
    lost = set(acknowledged.values()) - found.scored
    low, high = (share * images for share in MEMORY_WINDOW)
    early = [used for number, used in memory if low <= number <= high]
    ratios = [
        statistics.mean(used[part] for _, used in memory[-8:]) / max(used[part] for used in early)
        for part in range(2)
    ]
    last = memory[-1][1]
    return [
        {
            "images": len(acknowledged),
            "sent": len(numbers),
            "lost": len(lost),
            "doubled": found.rows - 1 - len(acknowledged),
            "out of order": found.out_of_order,
            "images/s taken": len(numbers) / sent,
            "images/s scored": images / taken,
            "MB, answering": last[0],
            "growth, answering": ratios[0],
            "MB, scoring": last[1],
            "growth, scoring": ratios[1],
        }
    ]


@dataclass
class Found:
    """What the database of a state says."""

    rows: int
    scored: set[str]
    out_of_order: int


def look_into(state: Path) -> Found:
    """Count the rows, and the batches that were scored after a later one."""
    with contextlib.closing(sqlite3.connect(state / "worklist.sqlite")) as database:
        rows = database.execute("SELECT id, state FROM images").fetchall()
        times = database.execute(
            "SELECT scored FROM images JOIN predictions ON image = images.id ORDER BY number"
        ).fetchall()
    backwards = sum(after < before for (before,), (after,) in itertools.pairwise(times))
    return Found(len(rows), {row[0] for row in rows if row[1] == "scored"}, backwards)


def scored(state: Path) -> int:
    """Return the number of images that don't wait."""
    with contextlib.closing(sqlite3.connect(state / "worklist.sqlite", timeout=10)) as database:
        found = database.execute("SELECT count(*) FROM images WHERE state != 'waiting'").fetchone()
    return int(found[0])


def latency(run: Path, images: int, arguments: Sequence[str], runtime: Any) -> list[dict[str, Any]]:
    """Send one image after another, and compute the bare pass of one in between."""
    from featx.runs import FittedRun

    backbone = FittedRun(run, runtime=runtime).backbone()
    size = backbone.spec.input_size
    pixels = np.random.default_rng(0).uniform(0, 255, (1, size, size, 1)).astype(np.float32)
    posts, passes = [], []
    with serving(run, *arguments) as service:
        for number in range(images + 5):
            content = draw(number)
            posts.append(timed(partial(service.post, content)))
            passes.append(timed(partial(backbone.embed, pixels)))
    posts, passes = sorted(posts[5:]), sorted(passes[5:])
    bare = statistics.median(passes)
    return [
        {
            "network": backbone.spec.name,
            "runtime": backbone.spec.runtime,
            "bare pass, ms": 1000 * bare,
            "POST, median, ms": 1000 * statistics.median(posts),
            "POST, p95, ms": 1000 * posts[int(0.95 * len(posts))],
            "bar: 1.3 passes + 150 ms": 1000 * (1.3 * bare) + 150,
        }
    ]


def timed(task: Callable[[], Any]) -> float:
    """Return the seconds that a task takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def opened(run: Path, images: int) -> list[dict[str, Any]]:
    """Ask for the pixels and the explanation of an image while others are scored."""
    from featx.serving._options import make_options
    from featx.serving._station import Station

    seconds: dict[str, list[float]] = {"picture": [], "explanation": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        Station(make_options(run, state=Path(folder) / "state")) as station,
    ):
        contents = iter([draw(number) for number in range(60 * images + 60)])
        item, _ = station.worklist.add(next(contents), "a.png", "upload")
        assert item.path is not None
        path = item.path
        while station.worklist.count_waiting():
            time.sleep(0.1)
        first = timed(lambda: station.process.explain(path))
        for _ in range(images):
            while station.worklist.count_waiting() < 50:
                station.worklist.add(next(contents), "a.png", "upload")
            seconds["picture"].append(timed(lambda: station.process.picture(path, 1024)))
            seconds["explanation"].append(timed(lambda: station.process.explain(path)))
    return [
        {
            "what": what,
            "median, s": statistics.median(taken),
            "longest, s": max(taken),
            "first, idle, s": first if what == "explanation" else "",
        }
        for what, taken in seconds.items()
    ]


def listed(images: int) -> list[dict[str, Any]]:
    """Ask a long worklist for what pages and clients ask."""
    from featx.worklist import RunFacts, Worklist

    runs = [RunFacts(name, name, name, "logreg", ("NORMAL", "PNEUMONIA"), 0.4) for name in "ab"]
    now = time.time()
    with tempfile.TemporaryDirectory() as folder:
        with Worklist(Path(folder) / "state") as worklist:
            worklist.use_runs(runs)
            ids = [f"{number:032x}"[::-1] for number in range(images)]
            with worklist._database.transaction() as change:
                for number, identifier in enumerate(ids):
                    change(
                        "INSERT INTO images (id, received, origin, format, suffix, patient, study, "
                        "state) VALUES (?, ?, 'upload', 'PNG', '.png', '', '', 'scored')",
                        (identifier, now - images + number),
                    )
                    for run in runs:
                        change(
                            "INSERT INTO predictions (image, run, score, threshold, prediction, "
                            "error, scored) VALUES (?, ?, 0.5, 0.4, 'PNEUMONIA', '', 0)",
                            (identifier, run.id),
                        )
            for identifier in ids:
                file = worklist._files.path(identifier, ".name")
                file.parent.mkdir(exist_ok=True)
                file.write_text("a name.png")
        opening = time.perf_counter()
        with Worklist(Path(folder) / "state") as worklist:
            opening = time.perf_counter() - opening
            tasks: dict[str, Callable[[], Any]] = {
                "newest 500": worklist.items,
                "one": lambda: worklist.get(ids[0]),
                "8 that wait": lambda: worklist.waiting(8),
                "count those that wait": worklist.count_waiting,
                "all": lambda: worklist.items(limit=images),
            }
            seconds = {name: min(timed(task) for _ in range(5)) for name, task in tasks.items()}
    rows = {"open the folder": opening} | seconds
    return [{"question": name, "ms": 1000 * taken} for name, taken in rows.items()]


def main() -> None:
    """Print the table of a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("load", "latency", "open", "list"))
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--images", type=int)
    parser.add_argument("--runtime", choices=("tensorflow", "ncnn"))
    given = parser.parse_args()
    if given.run is None and given.part != "list":
        parser.error("give a run")
    arguments = ["--runtime", given.runtime] if given.runtime else []
    print(f"{os.cpu_count()} cores.\n")
    if given.part == "load":
        show(load(given.run, given.images or 2000, arguments))
    elif given.part == "latency":
        show(latency(given.run, given.images or 60, arguments, given.runtime))
    elif given.part == "open":
        show(opened(given.run, given.images or 20))
    else:
        show(listed(given.images or 50_000))


if __name__ == "__main__":
    main()
