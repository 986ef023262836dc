"""Downloads from a local HTTP server: whole, altered, cut off, missing."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from featx.data._fetch import ArrayFile, DownloadError, fetch_data, fetch_file
from featx.errors import InputError, StorageError
from tests.featx.data.conftest import Recorder

CONTENT = b"an archive " * 20_000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Server(ThreadingHTTPServer):
    """Gives what a test says, and counts how often."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.content, self.announced, self.status, self.requests = CONTENT, 0, 200, 0
        self.fail_first = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/sets/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests += 1
        if server.requests <= server.fail_first:
            self.send_error(503)
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(server.announced or len(server.content)))
        self.send_header("Content-Type", "application/zip")
        self.end_headers()
        self.wfile.write(server.content)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def known(server: Server, content: bytes = CONTENT) -> ArrayFile:
    return ArrayFile("set.npz", server.url, "md5:" + hashlib.md5(content).hexdigest())


class TestArrayFile:
    def test_comes_whole(self, server: Server, tmp_path: Path) -> None:
        path = fetch_file(known(server), tmp_path / "a" / "b")
        assert path == tmp_path / "a" / "b" / "set.npz"
        assert path.read_bytes() == CONTENT
        assert names(path.parent) == ["set.npz"]

    def test_shows_how_much_has_come(self, server: Server, tmp_path: Path) -> None:
        progress = Recorder()
        fetch_file(known(server), tmp_path, progress)
        assert progress.tasks == [("Downloading set.npz", "byte", len(CONTENT))]
        assert progress.done == len(CONTENT)

    def test_is_not_loaded_again(self, server: Server, tmp_path: Path) -> None:
        fetch_file(known(server), tmp_path)
        fetch_file(known(server), tmp_path)
        assert server.requests == 1

    def test_another_file_of_its_name_is_kept(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "set.npz").write_bytes(b"mine")
        with pytest.raises(InputError, match=r"set\.npz is there already"):
            fetch_file(known(server), tmp_path)
        assert (tmp_path / "set.npz").read_bytes() == b"mine"

    def test_a_server_that_is_busy_is_asked_again(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        server.fail_first = 1
        assert fetch_file(known(server), tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("fault", ["altered", "cut off", "missing", "no server"])
    def test_a_failed_download_leaves_nothing_behind(
        self, server: Server, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        file = known(server)
        if fault == "altered":
            server.content = CONTENT[:-1] + b"?"
        elif fault == "cut off":
            server.content, server.announced = CONTENT[:100], len(CONTENT)
        elif fault == "missing":
            server.status = 404
        else:
            file = ArrayFile("set.npz", "http://127.0.0.1:9/", file.known_hash)
        with pytest.raises(DownloadError) as caught:
            fetch_file(file, tmp_path / "new" / "folder")
        assert "set.npz" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert names(tmp_path) == []

    def test_a_folder_that_cannot_be_written(self, server: Server, read_only_folder: Path) -> None:
        with pytest.raises(StorageError):
            fetch_file(known(server), read_only_folder)


def test_a_mirror_must_have_the_publisher_s_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(DownloadError, match="pinned hash md5:28209eda62fecd6e6a2d98b1501bb15f"):
        fetch_data("pneumoniamnist", tmp_path / "new", mirror=server.url)
    assert names(tmp_path) == []


def test_unknown_names_and_mirrors_of_kaggle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean pneumoniamnist"):
        fetch_data("pneumonia-mnist", tmp_path)
    with pytest.raises(InputError, match="`mirror` is for"):
        fetch_data("chest-xray-pneumonia", tmp_path, mirror="http://127.0.0.1")


class TestKaggle:
    """The real kagglehub, which has a test environment: a server on port 7777 of this machine."""

    @pytest.fixture
    def kaggle(self) -> Iterator[Server]:
        pytest.importorskip("kagglehub")
        try:
            running = Server(7777)
        except OSError:
            pytest.skip("port 7777 is taken")
        with running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            yield running
            running.shutdown()

    def archive(self, *names: str) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            for name in names:
                file.writestr(name, name)
        return content.getvalue()

    def fetch(self, folder: Path) -> subprocess.CompletedProcess[str]:
        # A process of its own: kagglehub reads its environment once.
        environment = {**os.environ, "KAGGLE_API_ENVIRONMENT": "TEST", "HOME": str(folder.parent)}
        program = "import sys; from featx_cli.__main__ import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", program, "data", "fetch", "chest-xray-pneumonia", "--out",
             str(folder)],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def test_is_unpacked_and_found(self, kaggle: Server, tmp_path: Path) -> None:
        kaggle.content = self.archive("chest_xray/train/A/a.jpeg", "chest_xray/test/A/b.jpeg")
        answer = self.fetch(tmp_path / "data")
        assert answer.returncode == 0, answer.stderr
        found = tmp_path / "data" / "chest-xray-pneumonia" / "chest_xray"
        # Before that line kagglehub's test environment prints its requests.
        assert answer.stdout.splitlines()[-1] == str(found)
        assert (found / "train" / "A" / "a.jpeg").is_file()
        assert names(tmp_path / "data") == ["chest-xray-pneumonia"]
        requests = kaggle.requests
        again = self.fetch(tmp_path / "data")
        assert again.stdout.strip() == str(found)
        assert kaggle.requests == requests

    @pytest.mark.parametrize("fault", ["no archive", "forbidden"])
    def test_a_failed_download_leaves_nothing_behind(
        self, kaggle: Server, tmp_path: Path, fault: str
    ) -> None:
        kaggle.content = b"no archive"
        kaggle.status = 403 if fault == "forbidden" else 200
        answer = self.fetch(tmp_path / "data")
        assert answer.returncode == 1
        assert "Traceback" not in answer.stderr
        assert "kagglehub can't download" in answer.stderr.splitlines()[-1]
        assert not (tmp_path / "data").exists()
