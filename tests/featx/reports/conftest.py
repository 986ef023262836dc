"""A run whose images are there, its report, and what a page consists of."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from featx.fitting import fit
from featx.heads import HeadSpec
from featx.reports import Report, Written, report
from featx_cache import Cache

if TYPE_CHECKING:
    from tests.featx.conftest import MakeCache

PROMISE: dict[str, Any] = {
    "threshold": 0.5, "confidence": 0.9, "accuracy_floor": 0.6, "patients": 9, "accuracy": 0.7,
    "recall": 0.9,
}  # fmt: skip
CALIBRATED: dict[str, Any] = {
    "from": "x", "method": "labelled images", "images": 9, "patients": 9,
}  # fmt: skip


class Page(HTMLParser):
    """Parts of a page."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.html = report.html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> list[str]:
        """Description of each picture."""
        return [image["alt"] or "" for image in self.all("img")]


@dataclass
class Sample:
    """A cache with its images, a run on it, and the report of the run."""

    cache: Cache
    run: Path
    report: Report
    written: Written
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.page = Page(self.report)

    @property
    def markdown(self) -> str:
        """Without the backslashes that keep text from being read as Markdown."""
        return re.sub(r"\\(.)", r"\1", self.written.markdown.read_text(encoding="utf-8"))


def draw_images(cache: Cache, folder: Path) -> None:
    """Put an image where the cache says each is, of the content that it says."""
    import h5py

    from featx_cache._index import INDEX_NAME

    hashes = []
    for number, path in enumerate(cache.images["path"]):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48), np.uint8)
        Image.fromarray(pixels).save(file)
        hashes.append(hashlib.sha256(file.read_bytes()).hexdigest())
    with h5py.File(cache.path / INDEX_NAME, "r+") as index:
        index.attrs["data"] = str(folder)
        index["images/sha256"][...] = hashes


@pytest.fixture(scope="session")
def made(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The report of a logistic regression on embeddings of a trained backbone. Only read it."""
    from featx_cache import open_cache

    folder = tmp_path_factory.mktemp("report")
    draw_images(make_cache(folder / "cache"), folder / "data")
    cache = open_cache(folder / "cache")
    run = fit(cache, HeadSpec.choose("logreg"), folder / "logreg", accuracy_floor=0.6).path
    page = report(run, anonymous=False, progress=False)
    return Sample(cache, run, page, page.save(folder / "out" / "report.html"))
