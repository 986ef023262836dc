"""Finds the code of the documentation: fenced blocks, and commands named in a sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (not run|file|printed): ((?:(?!-->).)*) -->\n+\Z", re.DOTALL)
_SPAN = re.compile(r"(?<!`)`(featx [^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    page
        Path of the page below the repository.
    line
        Number of its first line, from 1.
    language, code
        Language of the fence, and the text in it.
    reason
        Why it isn't run: the comment ``not run`` before it. Empty if it is run.
    file
        The name that a reader saves it under: the comment ``file`` before it. Empty if none.
    printed
        Whether it is the output of the program before it, by the comment ``printed``.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str
    file: str
    printed: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def lines(self) -> list[list[str]]:
        """The words of each line of a shell block. Comments are gone, broken lines joined."""
        joined = re.sub(r"\\\n\s*", " ", self.code)
        words = (shlex.split(line, comments=True) for line in joined.splitlines())
        return [line for line in words if line]


def pages() -> list[Path]:
    """Every page that people read, the README first."""
    return [*sorted(ROOT.glob("*.md"), reverse=True), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> Iterator[Block]:
    """Yield every fenced block, page by page in their order."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            before = _COMMENT.search(text, 0, found.start())
            comment: dict[str, str] = {before[1]: before[2]} if before else {}
            yield Block(
                path.relative_to(ROOT).as_posix(),
                text.count("\n", 0, found.start()) + 1,
                language=found[1],
                code=found[2],
                reason=" ".join(comment.get("not run", "").split()),
                file=comment.get("file", ""),
                printed=comment.get("printed", ""),
            )


def commands_in_sentences() -> Iterator[tuple[str, list[str]]]:
    """Yield ``PAGE: COMMAND`` and its words for each command that a sentence or table names."""
    for path in pages():
        text = _FENCE.sub("", path.read_text(encoding="utf-8"))
        for span in sorted(set(_SPAN.findall(text))):
            yield f"{path.relative_to(ROOT)}: {span}", shlex.split(span.replace("\\|", "|"))
