"""Serving a page on this machine until Ctrl-C."""

from __future__ import annotations

import io
import socketserver
import threading
import webbrowser
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from featx._addresses import is_loopback
from featx.errors import InputError
from featx.serving._listening import cant_listen
from featx_cli.console import say, set_serving
from featx_cli.web_guard import guarded

LOCALHOST = "127.0.0.1"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers several requests at once: a browser keeps some connections open."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing: browsers close connections as they like."""


class _Handler(WSGIRequestHandler):
    """Keeps a line for each request to itself, and errors to those who want details."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def get_stderr(self) -> TextIO:
        """Return where an application's errors go."""
        return Details()


class Details(io.StringIO):
    """Says what libraries report, a line at a time and only when verbose."""

    def write(self, text: str) -> int:
        """Say it."""
        for line in text.splitlines():
            say(line, detail=True)
        return len(text)


def warn_if_open(host: str, what: str) -> None:
    """Say so when others can reach an address that asks nobody for a password."""
    if not is_loopback(host):
        say(
            f"featx: warning: {what} has no log-in: everybody who can reach {host} can see it, and "
            "change or delete studies."
        )


def serve(
    application: Any, host: str, port: int, path: str, *, title: str, open_browser: bool
) -> None:
    """Serve a WSGI application until Ctrl-C. `featx_cli.web_guard.guarded` says what is refused."""
    try:
        server = make_server(host, port, guarded(application, host), _Server, _Handler)
    except OverflowError as error:
        raise InputError(f"there is no port {port}", "Ports go from 0 to 65535.") from error
    except OSError as error:
        raise cant_listen(error, host, port) from error
    with server:
        announce(f"http://{host}:{server.server_port}{path}", title, open_browser)
        server.serve_forever()


def announce(url: str, title: str, open_browser: bool) -> None:
    """Say where the page is, and open it if that is wanted."""
    print(f"{title}: {url}", flush=True)  # noqa: T201
    say("Ctrl-C ends it.")
    set_serving(True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
