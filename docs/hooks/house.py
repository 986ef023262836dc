"""Puts the drawing of the house into its page, where it takes on the page's colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

IMAGE = re.compile(r"!\[[^\]]*\]\(images/house\.svg\)")
DRAWING = Path(__file__).parents[1] / "images" / "house.svg"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the link to the drawing by the drawing (called by mkdocs)."""
    drawing = DRAWING.read_text(encoding="utf-8").strip()
    return IMAGE.sub(lambda _: f"<div>\n{drawing}\n</div>", markdown)
