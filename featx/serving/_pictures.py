"""Pictures of an image and its explanation: made by the scoring process, kept beside the image.

What is kept begins with the image's identifier, so that it goes when the image does.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from featx.errors import StorageError
from featx.explain._figure import MAP_CAUTION
from featx.worklist import Item, ScoringProcess
from featx.worklist._messages import Shown
from featx.worklist._state_folder import require_space
from featx_cache.files import atomic_path

PICTURE_SIDE = 1600
"""Pixels of a picture's longer side."""

REPLACED = "The run was replaced: the map is of the new one, and the score is of the one before."
_EXPLAINED = ".explained.json"


class Pictures:
    """Pictures and explanations of images that are still kept.

    Parameters
    ----------
    process
        What decodes and explains.
    """

    def __init__(self, process: ScoringProcess) -> None:
        self.process = process
        # The process answers one at a time. Who waits here finds what the other had made.
        self._one = threading.Lock()

    def picture(self, item: Item) -> bytes:
        """Return a PNG file of the image.

        Raises
        ------
        FeatxError
            If it can't be decoded, or the scoring process died.
        """
        path = _image(item)
        kept = path.with_name(f"{item.id}.picture.png")
        if (found := _read(kept)) is not None:
            return found
        with self._one:
            if (found := _read(kept)) is None:
                found = self.process.picture(path, PICTURE_SIDE)
                _keep(kept, found, path)
        return found

    def explanation(self, item: Item, run: str) -> dict[str, Any]:
        """Return what explains the first run's verdict, with pictures in base64.

        Parameters
        ----------
        item
            Image.
        run
            Identifier of the first run.

        Raises
        ------
        FeatxError
            If it can't be explained, or the scoring process died.
        """
        path = _image(item)
        if (found := _explained(item.id, path, run)) is not None:
            return found
        with self._one:
            if (found := _explained(item.id, path, run)) is not None:
                return found
            shown = self.process.explain(path)
            for old in path.parent.glob(f"{item.id}.*{_EXPLAINED}"):
                old.unlink(missing_ok=True)
            made = _as_json(shown)
            if shown.run != run:
                made["notes"].insert(0, REPLACED)
            else:
                kept = path.with_name(f"{item.id}.{run}{_EXPLAINED}")
                _keep(kept, json.dumps(made).encode(), path)
        return made


def as_png(text: str | None) -> bytes | None:
    """Return the content of a picture in an explanation."""
    try:
        return None if text is None else base64.b64decode(text)
    except binascii.Error:
        return None


def _image(item: Item) -> Path:
    assert item.path is not None
    return item.path


def _explained(identifier: str, path: Path, run: str) -> dict[str, Any] | None:
    content = _read(path.with_name(f"{identifier}.{run}{_EXPLAINED}"))
    try:
        return None if content is None else dict(json.loads(content))
    except ValueError:  # it is damaged, so it is made again
        return None


def _as_json(shown: Shown) -> dict[str, Any]:
    return {
        "method": shown.method,
        "unit": shown.unit,
        "meaning": shown.meaning,
        "notes": [*shown.notes, MAP_CAUTION],
        "overlay": _text(shown.overlay),
        "nearest": [
            {"label": each.label, "distance": each.distance, "picture": _text(each.picture)}
            for each in shown.nearest
        ],
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _keep(path: Path, content: bytes, image: Path) -> None:
    """Keep a file beside an image, as long as that is there. A full disk keeps nothing.

    The last room is for readings and scores.
    """
    with contextlib.suppress(StorageError):
        require_space(path.parent)
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(content)
    if not image.exists():  # it was removed in the meantime
        path.unlink(missing_ok=True)
