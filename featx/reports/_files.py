"""Files of a report: where they are, whether they may be replaced, and how they are written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featx.errors import InputError
from featx_cache.files import atomic_folder, lock, open_regular, output_path

CARD_NAME = "model_card.md"
DEFAULT_STEM = "report"
LISTING_NAME = ".featx.json"
"""File in the folder of figures: name -> SHA-256 of the others."""

_BEGINNINGS = (
    re.compile(rb"# .*\n\nfeatx \S+, \d{4}-\d\d-\d\dT"),  # of report.md
    re.compile(rb"---\nlibrary_name: featx\n"),  # of model_card.md
)
_BEGINNING_BYTES = 4096
_PAGE = "Give one that ends in .html to `out`."
_OTHER_PATH_ADVICE = "Move it elsewhere, or give another `out`."


@dataclass(frozen=True, slots=True, repr=False)
class Written:
    """Files of a report.

    Attributes
    ----------
    html
        Page that needs no other file.
    markdown, figures
        The same as Markdown, and the folder of its figures.
    model_card
        Model card.

    Examples
    --------
    >>> files = Written.beside("results/knn.html")
    >>> files
    Written(results/knn.html, knn.md, knn_files, knn_model_card.md)
    >>> files.figures.name, files.model_card.name
    ('knn_files', 'knn_model_card.md')
    """

    html: Path
    markdown: Path
    figures: Path
    model_card: Path

    def __repr__(self) -> str:
        beside = (path.name for path in (self.markdown, self.figures, self.model_card))
        return f"Written({self.html}, {', '.join(beside)})"

    @classmethod
    def beside(cls, out: str | Path) -> Written:
        """Say where the files of a report are whose page is `out`.

        Beside ``report.html`` the card is ``model_card.md``. Beside a page of another name, the
        card has that name, too, so that two reports in a folder have one each.
        """
        page = Path(out)
        if not page.name:
            raise InputError(f"{page} is not the name of a page", _PAGE, parameter="out")
        card = CARD_NAME if page.stem == DEFAULT_STEM else f"{page.stem}_{CARD_NAME}"
        figures = page.with_name(f"{page.stem}_files")
        return cls(page, page.with_suffix(".md"), figures, page.with_name(card))

    def require_free(self, *, force: bool = False) -> None:
        """Refuse to replace files unasked, and files that aren't of a report.

        Raises
        ------
        InputError
            If a file is there and `force` is not, if a file isn't of a report, or if the page's
            name doesn't end in ``.html``.
        """
        if self.html.suffix.lower() not in (".html", ".htm"):
            raise InputError(
                f"{self.html} is not the name of a page",
                _PAGE,
                parameter="out",
            )
        for path in (self.html, self.markdown, self.figures, self.model_card):
            if path.exists() and path.is_dir() != (path == self.figures):
                kind = "a folder" if path.is_dir() else "a file"
                raise InputError(f"{path} is {kind}", "Give another `out`.")
            if path.exists() and not force:
                raise InputError(
                    f"{path} exists already",
                    "Give another file, or `force=True` to replace the report.",
                )
        for path in (self.markdown, self.model_card):
            if path.exists():
                _require_own_text(path)
        if self.figures.exists():
            _require_own_figures(self.figures, self.markdown)

    def write(
        self, texts: tuple[str, str, str], figures: Mapping[str, bytes], *, force: bool
    ) -> None:
        """Write everything under other names first. The page gets its own last.

        Parameters
        ----------
        texts
            Page, Markdown and model card.
        figures
            Contents of the figures by name.
        force
            See `require_free`.
        """
        paths = (self.html, self.markdown, self.model_card)
        with contextlib.ExitStack() as stack:
            for path in (*paths, self.figures):
                stack.enter_context(lock(path))
            self.require_free(force=force)  # somebody else's may be there by now
            files = [stack.enter_context(output_path(path, replace=force)) for path in paths]
            folder = stack.enter_context(atomic_folder(self.figures, replace=force))
            for name, content in figures.items():
                (folder / name).write_bytes(content)
            hashes = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
            (folder / LISTING_NAME).write_text(json.dumps(hashes, indent=1) + "\n")
            for file, text in zip(files, texts, strict=True):
                file.write_text(text, encoding="utf-8", errors="replace")
            # The old text would show the new figures, if this process were killed in between.
            Path(os.path.realpath(self.markdown)).unlink(missing_ok=True)


def _require_own_text(path: Path) -> None:
    """Refuse to replace a Markdown file that isn't of a report."""
    with open_regular(path) as file:
        start = file.read(_BEGINNING_BYTES)
    if not any(beginning.match(start) for beginning in _BEGINNINGS):
        raise InputError(
            f"{path} isn't of a report that featx wrote, and is not replaced", _OTHER_PATH_ADVICE
        )


def _require_own_figures(folder: Path, markdown: Path) -> None:
    """Refuse to replace a folder that isn't of a report, or has something else in it.

    Reports of earlier versions have no listing: their figures are those that the Markdown shows.
    """
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, and is not replaced", _OTHER_PATH_ADVICE)
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
                f"{path} isn't of a report that featx wrote, and would be deleted",
                _OTHER_PATH_ADVICE,
            )


def _listed(path: Path) -> dict[str, str] | None:
    """Read a listing. None if there is none."""
    try:
        with open_regular(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.sha256(file.read()).hexdigest()
