"""Bars in the code of tables: GitHub wants them escaped, this site's Markdown shows the escape."""

from __future__ import annotations

import re
from typing import Any

_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the escapes out of code in rows of tables (called by mkdocs)."""
    return _ROW.sub(lambda row: _CODE.sub(_unescaped, row[0]), markdown)


def _unescaped(code: re.Match[str]) -> str:
    return code[0].replace(r"\|", "|")
