"""A document as Markdown, its pictures in files of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featx.reports._document import (
    Block,
    Code,
    Document,
    Gallery,
    Items,
    Notice,
    Picture,
    Section,
    Table,
    Text,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def as_markdown(document: Document, folder: str) -> str:
    """Return the document as GitHub's Markdown."""
    parts = [f"# {escaped(document.title)}", escaped(document.made)]
    parts += [block_as_markdown(block, folder) for block in document.blocks]
    parts.append("\n".join(f"- [{escaped(s.title)}](#{s.anchor})" for s in document.sections))
    parts += [block_as_markdown(section, folder) for section in document.sections]
    return "\n\n".join(part for part in parts if part) + "\n"


def blocks_as_markdown(blocks: Sequence[Block], folder: str, level: int = 2) -> str:
    """Return some blocks as Markdown. Sections among them get headings of that level."""
    return "\n\n".join(block_as_markdown(block, folder, level) for block in blocks)


def block_as_markdown(block: Block, folder: str, level: int = 2) -> str:
    """Return one block as Markdown."""
    match block:
        case Text():
            return f"*{escaped(block.text)}*" if block.small else escaped(block.text)
        case Notice():
            return f"> **{escaped(block.text)}**"
        case Items():
            return "\n".join(f"- {escaped(item)}" for item in block.items)
        case Code():
            return _fenced(block.text)
        case Table():
            return _table(block)
        case Picture():
            return _picture(block, folder)
        case Gallery():
            lines = [escaped(block.caption)] if block.caption else []
            return "\n\n".join([*lines, *(_picture(p, folder) for p in block.pictures)])
        case Section():
            anchor = f'<a id="{block.anchor}"></a>'
            heading = f"{'#' * level} {escaped(block.title)}"
            items = f"*{escaped(block.items)}*" if block.items else ""
            inner = blocks_as_markdown(block.blocks, folder, level + 1)
            return "\n\n".join(part for part in (anchor, heading, items, inner) if part)


def escaped(text: str) -> str:
    """Keep text from being read as Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _table(table: Table) -> str:
    rules = ["---" if number in table.words else "--:" for number in range(len(table.columns))]
    lines = [[escaped(column) for column in table.columns], rules]
    lines += [[escaped(cell) for cell in row] for row in table.rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escaped(table.caption)}\n\n{text}" if table.caption else text


def _picture(picture: Picture, folder: str) -> str:
    text = f"![{escaped(picture.alt)}]({folder}/{picture.file})"
    return f"{text}\n\n*{escaped(picture.caption)}*" if picture.caption else text
