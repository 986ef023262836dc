"""Parts of a page, whatever it is written in: text, tables, pictures, sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. `small` for remarks."""

    kind: ClassVar[str] = "text"
    text: str
    small: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A paragraph that must not be overlooked."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list of short texts."""

    kind: ClassVar[str] = "items"
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines for a terminal."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows and columns.

    Attributes
    ----------
    columns
        Headings.
    rows
        Texts, one for each column.
    caption
        Description. Empty for none.
    words
        Columns that hold words and not numbers.
    folded
        Whether the table is closed until a reader opens it. In Markdown it is always open.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    words: frozenset[int] = frozenset({0})
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure or an image.

    Attributes
    ----------
    name
        Name of its file without the suffix, unique in a document.
    suffix
        ``svg``, ``png`` or ``jpg``.
    content
        Content of the file.
    alt
        Description for people who can't see it.
    caption
        Text below it.
    """

    kind: ClassVar[str] = "picture"
    name: str
    suffix: str
    content: bytes = field(repr=False)
    alt: str
    caption: str = ""

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.{self.suffix}"


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side, below a caption.

    Attributes
    ----------
    pictures
        Pictures in order.
    size
        ``normal`` for figures, ``small`` for thumbnails, ``wide`` for pairs of these.
    caption
        Text above all of them. Empty for none.
    """

    kind: ClassVar[str] = "gallery"
    pictures: tuple[Picture, ...]
    size: Literal["normal", "small", "wide"] = "normal"
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with blocks below it. `items` names the items of guidelines that it answers."""

    kind: ClassVar[str] = "section"
    title: str
    anchor: str
    blocks: tuple[Block, ...]
    items: str = ""


Block = Text | Notice | Items | Code | Table | Picture | Gallery | Section


@dataclass(frozen=True, slots=True)
class Document:
    """A whole page."""

    title: str
    made: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...]

    def pictures(self) -> list[Picture]:
        """Return all pictures, in order."""
        return _pictures((*self.blocks, *self.sections))


def _pictures(blocks: Sequence[Block]) -> list[Picture]:
    found: list[Picture] = []
    for block in blocks:
        if isinstance(block, Picture):
            found.append(block)
        elif isinstance(block, Gallery):
            found += block.pictures
        elif isinstance(block, Section):
            found += _pictures(block.blocks)
    return found
