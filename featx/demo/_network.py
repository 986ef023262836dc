"""Network of the demo: VGG with ImageNet weights where they can be had, else featx-mini."""

from __future__ import annotations

import http.client
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import h5py

from featx._progress import Progress
from featx.backbones._mini import MINI
from featx.backbones._registry import architecture
from featx.backbones._weights import has_imagenet_weights, keras_models_folder
from featx.errors import FeatxError, InputError
from featx_cache._text import printable
from featx_cache.files import atomic_path, make_folder

PREFERRED = ("vgg19", "vgg16")
CONNECT_SECONDS = 4.0
"""Seconds to wait for a connection, and for more of a file."""

FETCH_SECONDS = 40.0
"""Seconds that fetching weights may take."""

_BLOCK_BYTES = 2**18
_FAILURES = (OSError, http.client.HTTPException, ValueError, FeatxError)
"""What a fetch may fail with: no connection, an answer that makes no sense, a folder of others."""
_INPUT_SIZES = {MINI: 224}
_LARGE_NETWORK_INPUT = 128
"""Input of other networks: VGG19 takes ten times as long for 300 pixels."""


@dataclass(frozen=True, slots=True)
class DemoNetwork:
    """Name of a network in `featx.backbones`, and why the demo takes it."""

    name: str
    reason: str

    @property
    def input_size(self) -> int:
        """Side of its input in pixels."""
        return _INPUT_SIZES.get(self.name, _LARGE_NETWORK_INPUT)


def choose_network(name: str | None, *, offline: bool, progress: Progress) -> DemoNetwork:
    """Choose the demo's network, and fetch weights of VGG19 if they can be had soon.

    Raises
    ------
    InputError
        If there is no network of that name, or it is offline and has no weights here.
    """
    if name is not None:
        chosen = architecture(name).name
        if offline and chosen != MINI and not has_imagenet_weights(chosen):
            raise InputError(
                f"the ImageNet weights of {chosen} are not on this machine",
                f"Leave out `offline=True`, or take {MINI}.",
                parameter="backbone",
            )
        return DemoNetwork(chosen, "you chose it")
    for preferred in PREFERRED:
        if has_imagenet_weights(preferred):
            return DemoNetwork(preferred, "its ImageNet weights are on this machine")
    if offline:
        return DemoNetwork(MINI, "it comes with featx, and you are offline")
    try:
        _fetch_weights(PREFERRED[0], progress)
    except _FAILURES as error:
        return DemoNetwork(
            MINI, f"it comes with featx, and VGG19's weights can't be fetched ({_why(error)})"
        )
    return DemoNetwork(PREFERRED[0], "its ImageNet weights were fetched now")


def _fetch_weights(name: str, progress: Progress) -> None:
    """Put a network's weights where Keras looks for them, which checks them. One bounded try."""
    build = architecture(name).build
    url = str(sys.modules[build.__module__].WEIGHTS_PATH_NO_TOP)
    folder = keras_models_folder()
    answer, started = _open(url), time.monotonic()
    with answer:
        total = answer.length or 0
        make_folder(folder)
        with (
            atomic_path(folder / url.rsplit("/", 1)[-1]) as temporary,
            temporary.open("wb") as file,
            progress.task("Weights of VGG19", total >> 20, "MB") as advance,
        ):
            received = 0
            while block := answer.read1(_BLOCK_BYTES):  # `read` waits for a whole block
                file.write(block)
                advance(((received + len(block)) >> 20) - (received >> 20))
                received += len(block)
                _require_speed(received, total, time.monotonic() - started)
            if received < total:
                raise OSError("the connection ended early")
            file.flush()
            if not h5py.is_hdf5(temporary):  # such as a page to log in on
                raise OSError("the answer is not a file of weights")


def _why(error: Exception) -> str:
    """Return the reason of a failed connection in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, FeatxError):
        return cause.what
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return printable(text.partition("\n")[0])[:80].lower() or "no answer"


def _require_speed(received: int, total: int, seconds: float) -> None:
    """Give up on a connection on which the rest would take too long."""
    expected = seconds * max(total, received) / received
    if seconds > FETCH_SECONDS or (seconds > CONNECT_SECONDS and expected > FETCH_SECONDS):
        raise TimeoutError("the connection is too slow")


def _open(url: str) -> Any:
    """Open a URL. In a thread, since looking up its host knows no timeout."""
    opened: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def connect() -> None:
        try:
            opened.put(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))
        except _FAILURES as error:
            opened.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = opened.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError("no answer") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
