"""The page of promises names tests that are there."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.docs.blocks import ROOT

ROWS = [
    line.strip("|").split(" | ")
    for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]


@functools.cache
def names_in(file: str) -> set[str]:
    """Return the tests and classes of a file, methods as ``Class::method``."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            found |= {f"{node.name}::{method.name}" for method in methods}
    return found


def named_in(row: list[str]) -> list[tuple[str, str]]:
    """Return (file, test) of each test that a row names. A test without a file is of the last."""
    found: list[tuple[str, str]] = []
    for name in re.findall(r"`((?:tests/\S+?\.py)?(?:::[\w:]+)?)`", row[1]):
        file, _, test = name.partition("::")
        found.append((file or found[-1][0], test))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:60])
def test_a_promise_is_a_sentence_with_a_test_and_a_count(row: list[str]) -> None:
    promise, _, faults = (cell.strip() for cell in row)
    assert promise.endswith(".")
    assert re.search(r"\d|as many as|all the while", faults)
    assert named_in(row)
    for file, test in named_in(row):
        assert not test or test in names_in(file), f"{file} has no {test}"


def test_every_kind_of_harm_has_its_promises() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    for kind in (
        "Kill",
        "Privacy",
        "Concurrency",
        "Environment",
        "Fuzz",
        "Hostile files and models",
    ):
        assert f"\n## {kind}\n" in text
