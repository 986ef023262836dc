"""Findings of the fuzzing, each once: files that ended in something else than one error."""

from __future__ import annotations

import pytest

from tests.fuzz import images
from tests.fuzz.conftest import Limits
from tests.fuzz.mutations import edited
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.timeout(180)
ROWS = b"a.png,NORMAL,train\nb.png,PNEUMONIA,test\n"
FOUND = {
    "a column whose name isn't UTF-8": ("csv", b"path,label,\x8cplit\n" + ROWS),
    "a class whose name isn't UTF-8": ("csv", b"path,label\na.png,A\nb.png,\xafB\n"),
    "a class of two lines": ("csv", b'path,label\na.png,"A\nB"\n'),
    "a zero byte in a path with dots": ("csv", b"path,label\n./a\0.png,A\nb.png,B\n"),
    "YAML's complaint of two lines": ("head config", b"\x1apochs: 4\n"),
    "YAML's dates": ("head config", b"epochs: 2026-13-45\n"),
    "YAML as deep as Python's stack": ("head config", b"[" * 5000),
    "YAML that holds itself": ("head config", b"layers: &a [*a]"),
    "an element of 4 GB": ("dicom", edited(images.all_dicom()[0], [("delete", 0, b"\0")])),
    "a number of odd length": ("dicom", edited(images.all_dicom()[0], [("insert", 266, b"\0")])),
    "a chunk of 4 GB": ("png", edited(images.PNG[0], [("set", 66, b"\xff\xff\0\x0c")])),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_refused(what: str, limits: Limits) -> None:
    name, content = FOUND[what]
    prepared = TARGETS[name](limits.folder)
    with limits():
        assert prepared.outcome(content)
