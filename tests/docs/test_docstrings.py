"""Docstrings have examples that run, modules are private, and nobody reads an error's text."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import pytest
from threadpoolctl import threadpool_limits

from tests.docs.blocks import ROOT

PACKAGES = ("featx", "featx_cache", "featx_cli")
ROOMS = [
    "featx",
    *(f"featx.{path.parent.name}" for path in sorted((ROOT / "featx").glob("[!_]*/__init__.py"))),
    "featx.errors",
    "featx_cache",
    "featx_cache.files",
]
NOT_IMPORTED = {"featx.__main__", "featx_cli.__main__"}
"""Programs: importing one runs it, or changes signals and streams."""
NO_EXAMPLE: dict[str, str] = {}
"""Public classes and functions without an example, as ``room.name``, and why."""
COMMAND_WRITERS = {"featx/reports/_commands.py", "featx/serving/_commands.py"}
"""Modules whose job is to print commands: they may speak of options."""
PUBLIC_MODULES = {"featx/__main__.py", "featx/errors.py"}
"""Modules of the library that aren't private: ``python -m featx``, and the page of errors."""

TEXT_READERS = {"cli/featx_cli/memory_errors.py"}
"""TensorFlow, HDF5 and the linker have no error of their own for memory that isn't there."""

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_ERROR = re.compile(r"(Error|Exception)\b")
_TEXTS_OF_AN_ERROR = {"str", "repr", "first_line", "format_exception_only"}


def modules() -> list[str]:
    """Names of all modules of the three packages."""
    found = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found += [package, *(each.name for each in pkgutil.walk_packages(path, f"{package}."))]
    return [name for name in found if name not in NOT_IMPORTED]


def sources(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the syntax tree of each file below a folder."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), _tree(path)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(room: ModuleType) -> list[str]:
    return list(getattr(room, "__all__", [name for name in dir(room) if name[0] != "_"]))


class TestExamples:
    @pytest.mark.parametrize("name", modules())
    def test_run(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with threadpool_limits(1):
            result = doctest.testmod(importlib.import_module(name), verbose=False)
        assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name}"
        assert not list(tmp_path.iterdir()), f"the examples of {name} leave files"

    @pytest.mark.parametrize("room", ROOMS)
    def test_are_in_the_docstring_of_every_public_class_and_function(self, room: str) -> None:
        module = importlib.import_module(room)
        without = []
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                text = value.__doc__ or ""
                has = re.search(r"^\s*Examples\n\s*-{8}\n", text, re.MULTILINE) and ">>> " in text
                if not has and f"{room}.{name}" not in NO_EXAMPLE:
                    without.append(name)
        assert not without, f"{room} has no examples of: {', '.join(without)}"

    def test_exceptions_are_still_needed(self) -> None:
        for name in NO_EXAMPLE:
            room, _, what = name.rpartition(".")
            assert what in public_names(importlib.import_module(room)), name


def test_the_library_speaks_of_parameters_and_not_of_options() -> None:
    """The command line renders `accuracy_floor` as its option, in one place."""
    found = [
        f"{path}:{node.lineno} {option}"
        for folder in ("featx", "cache")
        for path, tree in sources(folder)
        if path not in COMMAND_WRITERS
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if "python benchmarks/" not in node.value
        for option in _OPTION.findall(node.value)
    ]
    assert not found, "\n".join(found)


def test_no_module_decides_by_the_text_of_an_error() -> None:
    """Codes, classes and attributes decide: texts change."""
    found = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for folder in ("featx", "cache", "cli")
        for path, tree in sources(folder)
        if path not in TEXT_READERS
        for scope in ast.walk(tree)
        for error in _errors_of(scope)
        for node in ast.walk(scope)
        if _decides_by_text(node, error)
    ]
    assert not found, "\n".join(found)


def _errors_of(scope: ast.AST) -> list[str]:
    """Return the names that hold errors in a handler or a function."""
    if isinstance(scope, ast.ExceptHandler):
        return [scope.name] if scope.name else []
    if not isinstance(scope, ast.FunctionDef):
        return []
    arguments = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
    return [a.arg for a in arguments if a.annotation and _ERROR.search(ast.unparse(a.annotation))]


def _decides_by_text(node: ast.AST, error: str) -> TypeGuard[ast.expr]:
    """Say whether the text of an error is compared, searched or taken apart."""
    if isinstance(node, ast.Compare):
        return any(_is_text(each, error) for each in (node.left, *node.comparators))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    method, text = node.func.attr, _is_text(node.func.value, error)
    if method in {"search", "match", "fullmatch"}:
        return any(_is_text(each, error) for each in node.args)
    # Without an argument `split` takes out line breaks only.
    return text and (
        method in {"startswith", "endswith", "partition"} or (method == "split" and bool(node.args))
    )


def _is_text(node: ast.expr, error: str) -> bool:
    """Say whether an expression is the text of an error, or made of it."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value  # str(error).lower()
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            return node.func.id in _TEXTS_OF_AN_ERROR and _names(node.args[0], error)
        elif isinstance(node, ast.Subscript):
            node = node.value  # error.args[0]
        else:
            return (
                isinstance(node, ast.Attribute)
                and node.attr in {"args", "what", "hint"}
                and _names(node.value, error)
            )


def _names(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@pytest.mark.parametrize(
    ("code", "decides"),
    [
        ("if 'label' in str(error): pass", True),
        ("if str(error).lower().startswith('no'): pass", True),
        ("x = str(error).split(':')[0]", True),
        ("if error.args[0] == 'x': pass", True),
        ("if re.search('x', str(error)): pass", True),
        ("one_line = ' '.join(str(error).split())", False),
        ("if 'x' in first_line(error): pass", True),
        ("if error.code == 'input': pass", False),
        ("if error.errno in (1, 2): pass", False),
        ("raise ValueError(str(error)) from error", False),
    ],
)
def test_the_check_of_texts_knows_them(code: str, decides: bool) -> None:
    found = [node for node in ast.walk(ast.parse(code)) if _decides_by_text(node, "error")]
    assert bool(found) is decides


def test_modules_of_the_library_are_private_by_name() -> None:
    """A room is a folder: `featx.<TAB>` is the table of contents."""
    public = {
        path.relative_to(ROOT).as_posix()
        for folder in ("featx", "cache/featx_cache")
        for path in (ROOT / folder).rglob("*.py")
        if not path.stem.startswith("_")
    }
    assert public == PUBLIC_MODULES - {"featx/__main__.py"}
