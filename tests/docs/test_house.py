"""The drawing of the house shows the import contracts."""

from __future__ import annotations

import tomllib
from xml.etree import ElementTree

from tests.docs.blocks import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> list[str]:
    """The packages of the drawing, from top to bottom."""
    tree = ElementTree.parse(ROOT / "docs/images/house.svg")
    rooms = {}
    for group in tree.iter(f"{SVG}g"):
        box, name = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert box is not None
        assert name is not None
        assert name.text == group.attrib["data-package"]
        rooms[float(box.attrib["y"])] = group.attrib["data-package"]
    return [rooms[y] for y in sorted(rooms)]


def contracts() -> list[str]:
    """The packages in the order of the contracts, from the one that may import all."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    whole, library, _ = settings["tool"]["importlinter"]["contracts"]
    assert whole["layers"] == ["featx_cli", "featx", "featx_cache"]
    assert library["containers"] == ["featx"]
    rooms = [f"featx.{layer.strip('()')}" for layer in library["layers"]]
    return ["featx_cli", *rooms, "featx_cache"]


def test_rooms_are_drawn_in_the_order_of_the_contracts() -> None:
    assert drawn() == contracts()


def test_every_room_of_the_library_is_there() -> None:
    folders = {f"featx.{path.parent.name}" for path in (ROOT / "featx").glob("*/__init__.py")}
    assert folders == {name for name in drawn() if "." in name}


def test_the_architecture_shows_it() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert page.count("](images/house.svg)") == 1
