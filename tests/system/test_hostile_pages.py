"""Pages that featx serves, other web sites that would use them, studies with pages of their own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from featx.tuning._dashboard import make_dashboard
from featx.tuning._storage import JOURNAL_NAME, StudyLocation, open_storage
from featx_cli.serving import _Handler, _Server
from featx_cli.web_guard import guarded
from tests.studies import use_study

Ask = Callable[..., http.client.HTTPResponse]
SECRET = b"nobody's business"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with files that look like an image, a page, and what lies elsewhere."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "secret").write_bytes(SECRET)
    place = StudyLocation(folder, None, "study")
    use_study(place)
    study = optuna.load_study(study_name="study", storage=open_storage(place))
    (folder / "artifacts").mkdir()
    store = FileSystemArtifactStore(str(folder / "artifacts"))
    for name in NAMES:
        (folder / name).write_text("<script>fetch('/api/studies/0', {method: 'DELETE'})</script>")
        upload_artifact(
            artifact_store=store,
            file_path=str(folder / name),
            study_or_trial=study,
            mimetype=NAMES[name],
        )
    return folder


NAMES = {
    "a.png": "image/png",
    "a.html": "text/html",
    "a.svg": "image/svg+xml",
    "a.js": "text/javascript",
    "a.xml": "application/xml",
    "a.odd": "image/png, text/html",
}


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def artifacts(folder: Path) -> dict[str, str]:
    """Return the study's artifacts: where they are, by name."""
    study = optuna.load_study(
        study_name="study", storage=open_storage(StudyLocation(folder, None, "study"))
    )
    found = optuna.artifacts.get_all_artifact_meta(study)
    return {meta.filename: meta.artifact_id for meta in found}


@pytest.fixture
def ask(folder: Path) -> Iterator[Ask]:
    """Serve the dashboard of the study. Gives a function that asks it."""
    place = StudyLocation(folder, None, "study")
    application, _ = make_dashboard(place, folder / "artifacts")
    with make_server(
        "127.0.0.1", 0, guarded(application, "127.0.0.1"), _Server, _Handler
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def ask(path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            headers = {name: v.format(port=server.server_port) for name, v in headers.items()}
            body = "{}" if method != "GET" else None
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            return connection.getresponse()

        ask("/dashboard").read()
        yield ask
        server.shutdown()


HERE = "127.0.0.1:{port}"


class TestHosts:
    @pytest.mark.parametrize(
        "host", [HERE, "localhost:{port}", "LOCALHOST:9000", "[::1]:{port}", "127.0.0.1"]
    )
    def test_of_this_machine_are_answered(self, ask: Ask, host: str) -> None:
        assert ask("/api/studies", Host=host).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:{port}",
            "127.0.0.1.evil.example:{port}",
            "localhost.evil.example",
            "127.0.0.1@evil.example",
            "evil.example/127.0.0.1",
            "evil.example, localhost",
            "192.0.2.1:{port}",
            "[::1",
            "",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_of_others_are_refused(self, ask: Ask, host: str, method: str) -> None:
        """A site whose name was given this machine's address asks under its own name."""
        answer = ask("/api/studies/0", method, Host=host)
        assert answer.status == 403
        assert b"study" not in answer.read()
        assert ask("/api/studies/0").status == 200

    def test_that_were_asked_for_are_answered(self) -> None:
        assert status("ws5.hospital.example", "WS5.hospital.example:80") == 200
        assert status("192.0.2.7", "192.0.2.7:80") == 200
        assert status("192.0.2.7", "192.0.2.8:80") == 403
        assert status("::1", "[::1]:80") == 200

    @pytest.mark.parametrize("every", ["0.0.0.0", "::"])
    def test_are_addresses_and_the_machine_s_name_where_all_addresses_are_listened_at(
        self, every: str
    ) -> None:
        assert status(every, "192.0.2.8:80") == 200
        assert status(every, socket.gethostname()) == 200
        assert status(every, "evil.example") == 403


def status(listening: str, asked: str, method: str = "GET", **headers: str) -> int:
    """Return the status of a request to a page."""
    said: list[str] = []

    def page(_: object, start: Any) -> list[bytes]:
        start("200 OK", [])
        return []

    environ = {"REQUEST_METHOD": method, "HTTP_HOST": asked, **headers}
    guarded(page, listening)(environ, lambda status, *_: said.append(status))  # type: ignore[arg-type]
    return int(said[0].split()[0])


class TestChanges:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost:1"},
            {"Origin": "https://evil.example/" + HERE},
            {"Origin": "null"},
            {"Origin": ""},
            {"Referer": "http://evil.example/127.0.0.1"},
            {"Referer": "garbage"},
            {"Origin": "http://evil.example", "Referer": "http://" + HERE},
        ],
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [("DELETE", "/api/studies/0"), ("POST", "/api/studies"), ("PUT", "/api/studies/0/note")],
    )
    def test_that_other_sites_ask_for_are_refused(
        self, ask: Ask, folder: Path, headers: dict[str, str], method: str, path: str
    ) -> None:
        before = (folder / JOURNAL_NAME).read_bytes()
        assert ask(path, method, **headers).status == 403
        assert (folder / JOURNAL_NAME).read_bytes() == before

    @pytest.mark.parametrize(
        "headers", [{}, {"Origin": "http://" + HERE}, {"Referer": "http://" + HERE + "/dashboard"}]
    )
    def test_that_its_own_pages_ask_for_are_made(self, ask: Ask, headers: dict[str, str]) -> None:
        assert ask("/api/studies/0", "DELETE", **headers).status == 204
        assert ask("/api/studies/0").status == 404


class TestArtifacts:
    @pytest.mark.parametrize("name", NAMES)
    def test_run_nothing_in_the_dashboard_s_place(self, ask: Ask, folder: Path, name: str) -> None:
        answer = ask(f"/artifacts/0/{artifacts(folder)[name]}", Origin="http://evil.example")
        headers = {key.lower(): value for key, value in answer.getheaders()}
        assert answer.status == 200
        assert not [key for key in headers if key.startswith("access-control")]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert any("sandbox" in value for key, value in answer.getheaders() if "Policy" in key)
        if name == "a.png":
            assert headers["content-type"] == "image/png"
        else:
            assert headers["content-type"] == "application/octet-stream"
            assert headers["content-disposition"] == "attachment"

    def test_that_are_links_pipes_or_folders_are_not_there(self, ask: Ask, folder: Path) -> None:
        found = artifacts(folder)
        makers: list[Callable[[Path], object]] = [
            lambda path: path.symlink_to(folder / "secret"),
            lambda path: path.symlink_to("../secret"),
            os.mkfifo,
            Path.mkdir,
            lambda path: path.symlink_to("/dev/zero"),
            lambda path: path.symlink_to(path),
        ]
        for identity, make in zip(found.values(), makers, strict=True):
            path = folder / "artifacts" / identity
            path.unlink()
            make(path)
            answer = ask(f"/artifacts/0/{identity}")
            assert answer.status == 404
            assert SECRET not in answer.read()

    def test_in_a_folder_that_is_a_link_are_not_shown(self, folder: Path) -> None:
        (folder / "mine").mkdir()
        shutil.rmtree(folder / "artifacts")
        (folder / "artifacts").symlink_to(folder / "mine")
        application, _ = make_dashboard(StudyLocation(folder, None, "study"), folder / "artifacts")
        said: list[str] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/artifacts/0/00"}
        list(application(environ, lambda status, *_: said.append(status)))  # type: ignore[arg-type]
        assert said == ["400 Bad Request"]

    @pytest.mark.parametrize("lead", ["way/secret", "../secret", "{folder}/secret"])
    def test_with_names_that_lead_out_are_not_deleted_with_a_study(
        self, ask: Ask, folder: Path, lead: str
    ) -> None:
        """Names of files are what a study says of itself."""
        (folder / "artifacts" / "way").symlink_to(folder)
        study = optuna.load_study(
            study_name="study", storage=open_storage(StudyLocation(folder, None, "study"))
        )
        meta = {"artifact_id": lead.format(folder=folder), "filename": "a", "mimetype": "a"}
        study._storage.set_study_system_attr(study._study_id, "artifacts:0", json.dumps(meta))
        ask("/api/studies/0", "DELETE")
        assert (folder / "secret").read_bytes() == SECRET


@pytest.mark.parametrize("path", ["/dashboard", "/nothing", "/incompatible-rdb-schema", "/"])
def test_each_page_says_what_it_may_load(ask: Ask, path: str) -> None:
    answer = ask(path)
    policies = [value for key, value in answer.getheaders() if key == "Content-Security-Policy"]
    assert policies
    assert any("default-src" in policy for policy in policies)
    assert "http:" not in " ".join(policies)
