"""Draws the house of rooms into the page on architecture, from the table on it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = "architecture.md"
PLACE = "<!-- house -->"
WIDTH, LEFT, GAP, LINE = 600, 44, 5, 16
"""In pixels: the drawing, the margin at both sides, between boxes, a line of text."""

_ROW = re.compile(r"^\| `(featx[\w.]*)` \| (.*?) \| (.*?) \|$", re.MULTILINE)
_TITLE = "The rooms of featx: each may import the rooms below it, and an X-ray walks upwards."
_STYLE = """
.house { --ink: var(--md-default-fg-color, #222); --pale: var(--md-default-fg-color--light, #555); --line: #00897b; height: auto; display: block; margin: 0 auto; font-family: Helvetica, Arial, sans-serif; }
.house rect { fill: var(--md-default-bg-color, #fff); stroke: var(--line); stroke-width: 1; }
.house .floor rect, .house .walls { fill: var(--md-code-bg-color, #f4f5f6); stroke-width: 2; }
.house .name { fill: var(--ink); font-size: 14px; font-weight: bold; }
.house .what { fill: var(--pale); font-size: 13px; }
.house .arrow { stroke: var(--line); stroke-width: 2; fill: none; }
.house .head { fill: var(--line); }
"""  # noqa: E501


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the drawing where the page says so (called by mkdocs)."""
    return markdown.replace(PLACE, drawing(markdown)) if page.file.src_uri == PAGE else markdown


def layers() -> list[list[str]]:
    """Return the packages of the import contracts; the first may import all others.

    Private modules are no rooms, but `featx.Run` is drawn as one.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    whole, library, *_ = settings["tool"]["importlinter"]["contracts"]
    top, _, bottom = whole["layers"]
    rows = [re.findall(r"\b[a-z]\w*", re.sub(r"\b_run\b", "run", x)) for x in library["layers"]]
    named = [[f"featx.{'Run' if room == 'run' else room}" for room in row] for row in rows if row]
    return [[top], *named, [bottom]]


def rooms(markdown: str) -> dict[str, tuple[str, str]]:
    """Return what goes into each room of the table and what comes out, in its order."""
    return {name: (given, made) for name, given, made in _ROW.findall(markdown)}


def drawing(markdown: str) -> str:
    """Return the house as SVG: a row a layer, a box a room."""
    said, parts, y = rooms(markdown), [], 8
    *house, cache = layers()
    parts.append(_row(house[0], said, y, 0))
    top = y = y + _height(house[0]) + 24
    y += 28
    for layer in house[1:]:
        parts.append(_row(layer, said, y, 10))
        y += _height(layer) + GAP
    bottom = y + GAP
    parts.append(_row(cache, said, bottom + 24, 0))
    end = bottom + 24 + _height(cache) + 8
    middle, right = WIDTH / 2, WIDTH - LEFT / 2
    walls = (
        f'<rect class="walls" x="{LEFT}" y="{top}" width="{WIDTH - 2 * LEFT}" '
        f'height="{bottom - top}" rx="6"/>\n'
        f'<text class="name" x="{LEFT + 12}" y="{top + 19}">featx, the library</text>'
    )
    arrows = [
        _arrow(middle, top - 24, top),
        _arrow(middle, bottom, bottom + 24),
        _arrow(LEFT / 2, bottom - 10, top + 10, "an X-ray walks up"),
        _arrow(right, top + 10, bottom - 10, "imports point down"),
    ]
    return "\n".join(
        [
            f'<div>\n<svg class="house" xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'viewBox="0 0 {WIDTH} {end}" role="img">',
            f"<title>{_TITLE}</title>\n<style>{_STYLE}</style>",
            walls,
            *parts,
            *arrows,
            "</svg>\n</div>",
        ]
    )


def _height(layer: list[str]) -> int:
    return 10 + LINE * (2 if len(layer) == 1 else 3)


def _row(layer: list[str], said: dict[str, tuple[str, str]], y: int, inset: int) -> str:
    """Draw the boxes of a layer beside one another."""
    whole = WIDTH - 2 * LEFT - 2 * inset
    width = (whole - GAP * (len(layer) - 1)) / len(layer)
    boxes = []
    for number, name in enumerate(layer):
        x = LEFT + inset + number * (width + GAP)
        given, made = (re.sub("[`*]", "", text) for text in said[name])
        lines = [f"{given} → {made}"] if len(layer) == 1 else [given, f"→ {made}"]
        boxes += [
            f'<g class="{"room" if inset else "floor"}" data-package="{name}">',
            f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{_height(layer)}" rx="5"/>',
            f'<text class="name" x="{x + 12:g}" y="{y + 18}">{name}</text>',
        ]
        for at, line in enumerate(lines, start=2):
            boxes.append(f'<text class="what" x="{x + 12:g}" y="{y + 2 + at * LINE}">{line}</text>')
        boxes.append("</g>")
    return "\n".join(boxes)


def _arrow(x: float, start: float, end: float, text: str = "") -> str:
    """Draw an arrow straight down or up; its text stands beside it, turned."""
    back = -10 if end > start else 10
    drawn = (
        f'<path class="arrow" d="M{x:g} {start}V{end + back}"/>\n'
        f'<path class="head" d="M{x:g} {end}l-6 {back}h12z"/>'
    )
    if text:
        turn, side = (90, 7) if end > start else (-90, -7)
        at = f"translate({x + side:g} {(start + end) / 2:g}) rotate({turn})"
        drawn += f'\n<text class="what" text-anchor="middle" transform="{at}">{text}</text>'
    return drawn
