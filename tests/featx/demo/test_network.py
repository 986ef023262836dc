"""Choice of the demo's network: what is on this machine, what can be fetched soon, or the own."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from featx._progress import SILENT
from featx.backbones._registry import architecture
from featx.backbones._weights import keras_models_folder
from featx.demo import _network as network
from featx.demo._network import choose_network
from featx.errors import InputError

NAME = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _weights() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["weights"] = np.zeros(200_000, np.float32)
    return content.getvalue()


CONTENT = _weights()

Answer = Callable[[BaseHTTPRequestHandler], None]
Serve = Callable[[Answer], list[str]]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder of weights, without any."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("FEATX_WEIGHTS_DIR", raising=False)
    return tmp_path / "keras" / "models"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Answer requests for VGG19's weights on this machine. Gives the paths that are asked for."""
    with contextlib.ExitStack() as stack:

        def start(answer: Answer) -> list[str]:
            asked: list[str] = []

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    asked.append(self.path)
                    with contextlib.suppress(ConnectionError):
                        answer(self)

                def log_message(self, *_: object) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            module = sys.modules[architecture("vgg19").build.__module__]
            url = f"http://127.0.0.1:{server.server_port}/models/{NAME}"
            monkeypatch.setattr(module, "WEIGHTS_PATH_NO_TOP", url)
            return asked

        yield start


def send(to: BaseHTTPRequestHandler, content: bytes, announced: int | str | None = None) -> None:
    to.send_response(200)
    to.send_header("Content-Length", str(announced or len(content)))
    to.end_headers()
    to.wfile.write(content)


def test_weights_that_can_be_fetched_are_put_where_keras_looks(serve: Serve, models: Path) -> None:
    asked = serve(lambda to: send(to, CONTENT))
    chosen = choose_network(None, offline=False, progress=SILENT)
    assert (chosen.name, chosen.reason) == ("vgg19", "its ImageNet weights were fetched now")
    assert asked == [f"/models/{NAME}"]
    assert [path.name for path in models.iterdir()] == [NAME]
    assert (models / NAME).read_bytes() == CONTENT
    again = choose_network(None, offline=False, progress=SILENT)
    assert again.reason == "its ImageNet weights are on this machine"
    assert len(asked) == 1


def stay_silent(_: BaseHTTPRequestHandler) -> None:
    time.sleep(10)


def drip(to: BaseHTTPRequestHandler) -> None:
    send(to, b"w", announced=10**8)
    for _ in range(50):
        to.wfile.write(b"w" * 2**16)


def drop(to: BaseHTTPRequestHandler) -> None:
    send(to, b"w", announced=10**8)
    for _ in range(20):
        to.wfile.write(b"w")


def redirect_to_nowhere(to: BaseHTTPRequestHandler) -> None:
    to.send_response(302)
    to.send_header("Location", "http://[")
    to.end_headers()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (stay_silent, "timed out|no answer"),
        (lambda to: to.send_error(403), "403"),
        (lambda to: send(to, CONTENT, announced=10**6), "ended early|timed out"),
        (drip, "too slow"),
        (drop, "too slow"),
        (lambda to: send(to, b"<html>Log in</html>"), "not a file of weights"),
        (lambda to: send(to, b"", announced="many"), "not a file of weights"),
        (redirect_to_nowhere, "invalid"),
    ],
    ids=["silent", "forbidden", "cut off", "slow", "slower", "page", "no length", "redirect"],
)
def test_one_try_that_fails_is_told_and_leaves_nothing(
    serve: Serve, models: Path, answer: Answer, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is stay_silent:
        monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    if reason == "too slow":  # each look at the clock is 20 seconds after the one before
        clock = SimpleNamespace(monotonic=partial(next, count(0, 20)))
        monkeypatch.setattr(network, "time", clock)
    serve(answer)
    chosen = choose_network(None, offline=False, progress=SILENT)
    assert chosen.name == "featx-mini"
    assert re.search(reason, chosen.reason)
    assert not models.exists() or not list(models.iterdir())


def test_a_folder_of_weights_that_cannot_be_made_is_no_reason_to_stop(
    serve: Serve, models: Path
) -> None:
    models.parent.write_text("a file where Keras's folder would be")
    serve(lambda to: send(to, CONTENT))
    chosen = choose_network(None, offline=False, progress=SILENT)
    assert chosen.name == "featx-mini"
    assert "a file is in the way" in chosen.reason


def test_without_a_home_keras_looks_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/no-such-home")
    assert keras_models_folder() == Path("/tmp/.keras/models")


def test_offline_nothing_is_asked_for(serve: Serve) -> None:
    asked = serve(lambda to: send(to, CONTENT))
    chosen = choose_network(None, offline=True, progress=SILENT)
    assert (chosen.name, asked) == ("featx-mini", [])


@pytest.mark.parametrize("known", [["vgg16"], ["vgg16", "vgg19"]])
def test_weights_in_the_own_folder_are_taken_and_vgg19_first(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: list[str]
) -> None:
    asked = serve(lambda to: send(to, CONTENT))
    for name in known:
        (tmp_path / f"{name}_imagenet_notop.weights.h5").touch()
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    chosen = choose_network(None, offline=False, progress=SILENT)
    assert (chosen.name, asked) == (known[-1], [])


def test_a_network_without_weights_here_is_refused_offline() -> None:
    with pytest.raises(InputError, match="weights of vgg16 are not on this machine"):
        choose_network("VGG16", offline=True, progress=SILENT)
    assert choose_network("featx-mini", offline=True, progress=SILENT).reason == "you chose it"
