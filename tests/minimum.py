"""Print constraints that take the lowest version of everything that pyproject.toml allows."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("dask", "dicom", "dicomnet", "onnx")
"""Extras that users may install. Tools of developers aren't held to their lowest versions."""


def lowest(pyproject: Path) -> list[str]:
    """Turn ``name[extra]>=1.2`` into ``name==1.2`` for all that featx needs, and its extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    needed = list(project["dependencies"])
    for extra in EXTRAS:
        needed += project["optional-dependencies"][extra]
    pinned = []
    for requirement in needed:
        found = re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if found is None:
            raise SystemExit(f"{requirement!r} in {pyproject} doesn't say its lowest version")
        pinned.append(f"{found[1]}=={found[2]}")
    return pinned


if __name__ == "__main__":
    print("\n".join(lowest(Path(sys.argv[1]))))
