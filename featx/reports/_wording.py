"""Numbers, paths and names as a report writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from featx.evaluation import METRIC_NAMES, Metrics
from featx.evaluation import plural as plural
from featx_cache._text import printable

_PATH = re.compile(r"(?<![\w.])(?:~|\.{1,2})?/[^\s,;:()'\"]+")


@dataclass(frozen=True, slots=True)
class DisplayNames:
    """Names of images and folders on the page.

    In an anonymous report, images get numbers and folders placeholders. Messages lose the `paths`
    that they may name.
    """

    anonymous: bool = False
    paths: tuple[str, ...] = ()

    def image(self, path: str, number: int) -> str:
        """Call an image by its path in the manifest, or by its number in the table at hand."""
        return f"image {number}" if self.anonymous else printable(path)

    def folder(self, path: str, placeholder: str) -> str:
        """Call a folder by its path, or by what it is."""
        return placeholder if self.anonymous or not path else printable(path)

    def message(self, text: str) -> str:
        """Return a message, without the paths in it if the report is anonymous."""
        if not self.anonymous:
            return printable(text)
        # The pattern ends at a space, and a name may have spaces in it.
        for path in sorted(filter(None, self.paths), key=len, reverse=True):
            text = text.replace(path, "…")
        return _PATH.sub("…", printable(text))


def number(value: float | None) -> str:
    """Write a metric."""
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def metric_name(name: str) -> str:
    """Return the display name of a metric, or of another number."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def with_interval(metrics: Metrics, name: str) -> str:
    """Write a metric with its 95 % interval, if it has one."""
    interval = metrics.intervals.get(name)
    between = f" ({interval.low:.3f} – {interval.high:.3f})" if interval else ""
    return number(getattr(metrics, name)) + between


def listed(words: Iterable[str]) -> str:
    """Join words as one does in a sentence."""
    *first, last = list(words)
    return f"{', '.join(first)} and {last}" if first else last


def keys(names: Iterable[str]) -> list[str]:
    """Return different names for anchors and files."""
    found: list[str] = []
    for name in names:
        key, number = slug(name), 1
        while key in found:
            number += 1
            key = f"{slug(name)}-{number}"
        found.append(key)
    return found


def slug(text: str) -> str:
    """Return a name for an anchor or a file: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
