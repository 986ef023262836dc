"""Requests that are for another server, or that another site sends."""

from __future__ import annotations

import httpx
import pytest

from featx.serving._guard import HEADERS
from tests.featx.serving.conftest import Variant, form, new_png

URL = "/api/v1/predictions"


class TestHosts:
    @pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:9", "LOCALHOST", "[::1]:1"])
    def test_of_this_machine_are_answered(self, client: httpx.Client, host: str) -> None:
        headers = {"Host": host.format(port=client.base_url.port)}
        assert client.get("/healthz", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example/127.0.0.1",
            "evil.example, localhost",
            "192.0.2.1",
            "[::1",
            "",
        ],
    )
    def test_of_others_are_not(self, client: httpx.Client, host: str) -> None:
        for path in ("/healthz", "/", URL, "/login", "/static/style.css"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "host"

    def test_of_a_proxy_are_allowed(self, variant: Variant) -> None:
        with variant(allowed_hosts=("X-Ray.Example",)) as client:
            for host, status in (("x-ray.example", 200), ("other.example", 403)):
                assert client.get("/healthz", headers={"Host": host}).status_code == status
            # The proxy speaks TLS, and forwards the name without a port.
            headers = {"Host": "x-ray.example", "Origin": "https://x-ray.example"}
            answer = client.post(URL, headers=headers, files=form(("a.png", new_png())))
            assert answer.status_code == 200


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "http://localhost:1"},
            {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ],
    )
    def test_change_nothing(self, client: httpx.Client, headers: dict[str, str]) -> None:
        before = client.get(URL).json()
        for path in (URL, "/login", "/logout"):
            answer = client.post(path, headers=headers, files=form(("a.png", new_png())))
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] in ("origin", "site")
        assert client.get(URL).json() == before

    def test_read_nothing(self, client: httpx.Client) -> None:
        for site in ("cross-site", "same-site"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
            assert client.get(URL, headers=headers).status_code == 403

    def test_may_link_to_a_page(self, client: httpx.Client) -> None:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/healthz", headers=headers).status_code == 200

    def test_own_pages_may_do_everything(self, client: httpx.Client) -> None:
        headers = {
            "Origin": f"http://127.0.0.1:{client.base_url.port}",
            "Sec-Fetch-Site": "same-origin",
        }
        answer = client.post(URL, headers=headers, files=form(("a.png", new_png())))
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        ("GET", "/healthz", "localhost"),
        ("HEAD", "/healthz", "localhost"),
        ("GET", "/healthz", "evil.example"),
        ("GET", "/nowhere", "localhost"),
        ("POST", URL, "localhost"),
        ("GET", "/metrics", "localhost"),
        ("OPTIONS", URL, "localhost"),
    ],
)
def test_every_answer_says_what_a_browser_may_do(
    client: httpx.Client, method: str, path: str, host: str
) -> None:
    answer = client.request(method, path, headers={"Host": host})
    for name, value in (HEADERS | {"Cache-Control": "no-store"}).items():
        assert answer.headers.get_list(name) == [value]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control")]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
