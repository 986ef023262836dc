"""Which files beside a page are of a report that featx wrote, so that it may replace them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from featx.errors import InputError
from featx_cache.files import open_regular

LISTING_NAME = ".featx.json"
"""In the folder of figures: name -> SHA-256 of the others."""

_BEGINNINGS = (
    re.compile(rb"# .*\n\nfeatx \S+, \d{4}-\d\d-\d\dT"),  # of report.md
    re.compile(rb"---\nlibrary_name: featx\n"),  # of model_card.md
)
_BEGINNING_BYTES = 4096


def write_listing(folder: Path) -> None:
    """List the figures of a report."""
    hashes = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / LISTING_NAME).write_text(json.dumps(hashes, indent=1) + "\n")


def require_own_text(path: Path) -> None:
    """Refuse to replace a Markdown file that isn't of a report.

    Raises
    ------
    InputError
        When it isn't.
    """
    with open_regular(path) as file:
        start = file.read(_BEGINNING_BYTES)
    if not any(beginning.match(start) for beginning in _BEGINNINGS):
        raise InputError(
            f"{path} isn't of a report that featx wrote, and is not replaced",
            "Move it elsewhere, or give another `out`.",
        )


def require_own_figures(folder: Path, markdown: Path) -> None:
    """Refuse to replace a folder that isn't of a report, or has something else in it.

    Parameters
    ----------
    folder
        Of the figures.
    markdown
        The text that shows them; reports of earlier versions have no other list.

    Raises
    ------
    InputError
        Naming the first foreign file.
    """
    hint = "Move it elsewhere, or give another `out`."
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, and is not replaced", hint)
    listed = _listed(folder / LISTING_NAME)
    text = b""
    if listed is None and markdown.is_file():
        with open_regular(markdown) as file:
            text = file.read()
    for path in sorted(folder.iterdir()):
        if path.name == LISTING_NAME and listed is not None:
            continue
        whole = path.is_file() and not path.is_symlink()
        if listed is not None:
            known = whole and listed.get(path.name) == _sha256(path)
        else:
            known = whole and f"]({folder.name}/{path.name})".encode() in text
        if not known:
            raise InputError(
                f"{path} isn't of a report that featx wrote, and would be deleted", hint
            )


def _listed(path: Path) -> dict[str, str] | None:
    """Read a listing; None where there is none."""
    try:
        with open_regular(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.sha256(file.read()).hexdigest()
