"""The house on the page on architecture shows the import contracts."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.docs.blocks import ROOT
from tests.docs.test_reference import hook

SVG = "{http://www.w3.org/2000/svg}"
MARKDOWN = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_table_has_every_room_in_the_order_of_the_contracts() -> None:
    house = hook("house")
    assert list(house.rooms(MARKDOWN)) == [room for layer in house.layers() for room in layer]


def test_every_room_of_the_library_is_in_it() -> None:
    folders = {f"featx.{path.parent.name}" for path in (ROOT / "featx").glob("*/__init__.py")}
    assert folders == {name for name in hook("house").rooms(MARKDOWN) if "." in name} - {
        "featx.Run"
    }


def test_rooms_are_drawn_in_that_order_and_texts_fit_their_boxes() -> None:
    house = hook("house")
    assert MARKDOWN.count(house.PLACE) == 1
    drawing = ElementTree.fromstring(house.drawing(MARKDOWN))
    boxes = {group.attrib["data-package"]: group for group in drawing.iter(f"{SVG}g")}
    assert list(boxes) == list(house.rooms(MARKDOWN))
    for name, group in boxes.items():
        width = float(next(group.iter(f"{SVG}rect")).attrib["width"])
        for line in group.iter(f"{SVG}text"):
            assert 7 * len(line.text or "") < width - 12, f"{name}: {line.text}"
