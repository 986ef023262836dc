"""Brings the pages that lie beside the README into the site: changes, contributing, security."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
RELIABILITY = "reliability.md"


def on_config(config: Any) -> Any:
    """Lead to the page of promises where it is there (called by mkdocs)."""
    if (ROOT / "docs" / RELIABILITY).exists():
        (project,) = (part["Project"] for part in config["nav"] if "Project" in part)
        if {"Reliability": RELIABILITY} not in project:
            project.insert(1, {"Reliability": RELIABILITY})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages under the names that the navigation has (called by mkdocs)."""
    from mkdocs.structure.files import File

    for name, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=as_page(text)))
    return files


def as_page(text: str) -> str:
    """Return the text with links that start in ``docs/`` rather than beside the README."""
    for name, source in PAGES.items():
        text = text.replace(f"]({source})", f"]({name})")
    return re.sub(r"\]\(docs/", "](", text)
