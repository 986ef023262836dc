"""Tokens: their file, programs that send one, and browsers that log in with one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from featx.errors import InputError
from featx.serving import Service, _login
from featx.serving._audit import AuditLog
from featx.serving._login import MAX_SESSIONS, MAX_WRONG, Access
from featx.serving._tokens import Tokens, read_tokens
from tests.featx.serving.conftest import Variant, form, new_png

URL = "/api/v1/predictions"
TOKEN, OTHER = "correct-horse-battery-staple", "another-token-of-the-file"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tokens", f"# of the PACS\n{TOKEN}\n\n  {OTHER}\r\n")


@pytest.fixture
def guarded(variant: Variant, file: Path) -> Iterator[httpx.Client]:
    with variant(token_file=file) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(client: httpx.Client, token: str = TOKEN) -> httpx.Response:
    return client.post("/login", data={"token": token})


class TestFile:
    def test_has_a_token_a_line(self, file: Path) -> None:
        tokens = Tokens(file)
        assert [tokens.number(t) for t in (TOKEN, OTHER, "", TOKEN[:-1])] == [1, 2, None, None]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "has no token"),
            ("# nothing\n\n", "has no token"),
            ("short\n", "line 1 of"),
            (f"{TOKEN}\nwith spaces within it\n", "line 2 of"),
            (f"{TOKEN}é\n", "line 1 of"),
        ],
    )
    def test_must_have_usable_ones(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            read_tokens(write(tmp_path / "tokens", text))
        assert caught.value.parameter == "token_file"
        assert "spaces within" not in str(caught.value)

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
    def test_must_be_closed_to_others(self, tmp_path: Path, mode: int) -> None:
        path = write(tmp_path / "tokens", TOKEN, mode)
        with pytest.raises(InputError, match=f"Run `chmod 600 {path}`"):
            read_tokens(path)

    def test_must_be_a_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe", 0o600)  # which nobody writes to
        for path in (tmp_path, tmp_path / "none", tmp_path / "pipe", Path("/dev/null")):
            with pytest.raises(InputError):
                read_tokens(path)

    def test_is_read_again_when_it_changes(self, file: Path) -> None:
        reports: list[str] = []
        tokens = Tokens(file, reports.append)
        write(file, f"{OTHER}\n")
        assert [tokens.number(TOKEN), tokens.number(OTHER)] == [None, 1]
        file.unlink()
        assert [tokens.number(OTHER), tokens.number(OTHER)] == [None, None]
        assert len(reports) == 1
        assert "Nobody can log in" in reports[0]
        write(file, TOKEN)
        assert tokens.number(TOKEN) == 1


class TestPrograms:
    def test_need_a_token(self, guarded: httpx.Client) -> None:
        for path in (URL, "/metrics", "/api/v1/openapi.json", "/", "/nowhere"):
            answer = guarded.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["error"]["code"] == "token"
        assert guarded.post(URL, files=form(("a.png", new_png()))).status_code == 401
        assert guarded.get("/healthz").status_code == 200

    def test_come_in_with_one(self, guarded: httpx.Client) -> None:
        for token in (TOKEN, OTHER):
            for path in (URL, "/metrics", "/api/v1/openapi.json"):
                assert guarded.get(path, headers=bearer(token)).status_code == 200
            answer = guarded.post(URL, headers=bearer(token), files=form(("a.png", new_png())))
            assert answer.status_code == 200

    @pytest.mark.parametrize(
        "value", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff"]
    )
    def test_stay_outside_with_another(self, guarded: httpx.Client, value: str) -> None:
        headers = {"Authorization": value.encode("latin-1")}
        assert guarded.get(URL, headers=headers).status_code == 401  # type: ignore[arg-type]

    def test_may_guess_a_few_times(
        self, guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert guarded.get(URL, headers=bearer(TOKEN)).status_code == 200
        found = [
            guarded.get(URL, headers=bearer(f"a-wrong-token-{number}")).status_code
            for number in range(MAX_WRONG + 1)
        ]
        assert found == [401] * MAX_WRONG + [429]
        # A right one doesn't show that it is, unless it came in before.
        assert guarded.get(URL, headers=bearer(OTHER)).status_code == 429
        assert log_in(guarded, OTHER).status_code == 429
        assert guarded.get(URL, headers=bearer(TOKEN)).status_code == 200
        monkeypatch.setattr(_login, "WRONG_SECONDS", 0.0)
        assert guarded.get(URL, headers=bearer(OTHER)).status_code == 200

    def test_are_told_by_the_api_s_description(self, guarded: httpx.Client) -> None:
        found = guarded.get("/api/v1/openapi.json", headers=bearer(TOKEN)).json()
        assert found["security"] == [{"token": []}]


class TestBrowsers:
    def test_are_sent_to_the_form(self, guarded: httpx.Client) -> None:
        answer = guarded.get("/", headers={"Accept": "text/html,*/*"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        page = guarded.get("/login")
        assert page.status_code == 200
        assert "<form" in page.text
        assert "<script" not in page.text
        assert 'href="/"' not in page.text  # it would lead back here
        assert "style=" not in page.text

    def test_log_in_and_out(self, guarded: httpx.Client) -> None:
        answer = log_in(guarded)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert guarded.get(URL).status_code == 200
        kept = dict(guarded.cookies)
        origin = {"Origin": f"http://127.0.0.1:{guarded.base_url.port}"}
        assert guarded.post("/logout", headers=origin).headers["Location"] == "/login"
        guarded.cookies.update(kept)  # who copied it can't use it any more
        assert guarded.get(URL).status_code == 401

    def test_never_send_a_session_without_tls_if_they_had_it(self, guarded: httpx.Client) -> None:
        headers = {"X-Forwarded-Proto": "https"}
        answer = guarded.post("/login", data={"token": TOKEN}, headers=headers)
        assert "Secure" in answer.headers["Set-Cookie"]

    def test_change_something_from_own_pages_only(self, guarded: httpx.Client) -> None:
        log_in(guarded)
        files = form(("a.png", new_png()))
        for headers in ({}, {"Authorization": "Basic eDp5"}):
            assert guarded.post(URL, files=files, headers=headers).status_code == 403
        for origin, status in (
            ("http://evil.example", 403),
            (f"http://127.0.0.1:{guarded.base_url.port}", 200),
        ):
            answer = guarded.post(URL, files=files, headers={"Origin": origin})
            assert answer.status_code == status

    def test_stay_outside_with_a_wrong_token(self, guarded: httpx.Client) -> None:
        for body in (b"token=wrong-token-of-mine", b"", b"\xff\x00&&==", b"token=" + b"a" * 60000):
            answer = guarded.post("/login", content=body)
            assert answer.status_code == 401
            assert "Set-Cookie" not in answer.headers
            assert "wrong-token-of-mine" not in answer.text

    def test_lose_the_session_with_its_token(self, guarded: httpx.Client, file: Path) -> None:
        log_in(guarded)
        write(file, f"{OTHER}\n")
        assert guarded.get(URL).status_code == 401

    def test_lose_it_after_a_day_of_work(
        self, guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_login, "SESSION_SECONDS", -1)
        log_in(guarded)
        assert guarded.get(URL).status_code == 401

    def test_need_no_form_if_there_are_no_tokens(self, client: httpx.Client) -> None:
        assert client.get("/login").headers["Location"] == "/"
        assert log_in(client).headers["Location"] == "/"


def test_sessions_are_bounded(file: Path) -> None:
    access = Access(Tokens(file), "c")
    for _ in range(MAX_SESSIONS + 5):
        access.open_session(TOKEN)
    assert len(access._sessions) == MAX_SESSIONS


def test_audit_log_says_who(guarded: httpx.Client, service: Service) -> None:
    path = service.station.options.state / "audit.log"
    before = len(path.read_text().splitlines()) if path.exists() else 0
    (row,) = guarded.post(URL, headers=bearer(OTHER), files=form(("Doe.png", new_png()))).json()
    guarded.post(URL, headers=bearer(OTHER), files=form(("Doe.png", b"")))
    for address in (row["id"], f"{row['id']}/picture.png"):
        guarded.get(f"{URL}/{address}", headers=bearer(TOKEN))
    log_in(guarded, "wrong-token-of-mine")
    guarded.get(URL, headers=bearer("wrong-token-of-mine"))
    log_in(guarded)
    lines = [json.loads(line) for line in path.read_text().splitlines()[before:]]
    assert [(line["who"], line["action"], line["image"]) for line in lines] == [
        ("token 2", "received", row["id"]),
        ("token 2", "refused", None),
        ("token 1", "opened", row["id"]),
        ("token 1", "opened", row["id"]),
        ("127.0.0.1", "login failed", None),
        ("127.0.0.1", "login failed", None),
        ("token 1", "login", None),
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    for secret in ("Doe", "wrong-token-of-mine", TOKEN):
        assert secret not in path.read_text()


def test_audit_log_that_cannot_be_written_is_said_each_time_it_begins(tmp_path: Path) -> None:
    said: list[str] = []
    (place := tmp_path / "state").mkdir()
    log = AuditLog(place / "audit.log", said.append)
    for attempt in (1, 2):
        place.rename(tmp_path / "away")
        for _ in range(3):
            log.write("opened", "loopback")
        assert said == ["the audit log can't be written"] * attempt
        (tmp_path / "away").rename(place)
        log.write("opened", "loopback")
        log.close()
    assert len((place / "audit.log").read_text().splitlines()) == 2
