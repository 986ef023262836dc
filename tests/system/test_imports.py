"""Imports and their time: help without TensorFlow, and arrows that point one way."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "sklearn", "optuna", "h5py", "pandas", "scipy", "matplotlib")
POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
REPOSITORY = Path(__file__).parents[2]


def imported(program: str) -> set[str]:
    """Return the top-level modules that a fresh Python has after running a program."""
    report = "\nimport sys\nprint('MODULES', *{name.split('.')[0] for name in sys.modules})"
    finished = subprocess.run(
        [sys.executable, "-c", program + report], capture_output=True, text=True, check=True
    )
    return set(finished.stdout.split("MODULES")[-1].split())


def heavy(program: str) -> list[str]:
    names = imported(program)
    return [name for name in HEAVY if name in names]


@pytest.mark.parametrize(
    "program",
    [
        "import featx",
        "import featx_cache",
        "import featx_cli.app",
        "import featx.errors, featx_cache._errors",
    ],
)
def test_importing_a_package_imports_nothing_heavy(program: str) -> None:
    assert heavy(program) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["extract", "--help"],
        ["fit", "--help"],
        ["evaluate", "--help"],
        ["predict", "--help"],
        ["cache", "--help"],
        ["cache", "verify", "--help"],
        ["doctor", "--help"],
        ["demo", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = f"from featx_cli.__main__ import _run\nassert _run({arguments}) == 0"
    assert heavy(program) == []


@pytest.mark.parametrize(
    "program",
    [
        "import featx; featx.AugmentationSpec; featx.load_manifest; featx.load_backbone",
        "import featx; featx.extract; featx.load_cache; featx.Manifest",
        "from featx_cache import *",
    ],
)
def test_what_needs_no_tensorflow_does_not_import_it(program: str) -> None:
    assert imported(program).isdisjoint({"tensorflow", "keras", "sklearn"})


def test_the_cache_works_without_tensorflow_keras_and_scikit_learn(tiny_cache: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'sklearn', 'featx')))\n"
        "from featx_cache import open_cache\n"
        f"cache = open_cache({str(tiny_cache)!r})\n"
        "rows = cache.row_numbers(splits=('train',), copies=True)\n"
        "assert cache.read(rows).shape[1:] == cache.embedding_shape\n"
        "assert all(error is None for _, error in cache.verify())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_every_public_name_of_featx_can_be_had() -> None:
    import featx

    for name in dir(featx):
        assert getattr(featx, name) is not None
    with pytest.raises(AttributeError, match="attribute fitt"):
        _ = featx.fitt  # type: ignore[attr-defined]


def needed_at_import(path: Path) -> set[str]:
    """Return the modules without which a file can't be imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:  # not what a `try` holds
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_no_module_needs_what_windows_does_not_have() -> None:
    files = [p for room in ("featx", "cache", "cli") for p in (REPOSITORY / room).rglob("*.py")]
    assert len(files) > 100
    needing = {path: found for path in files if (found := needed_at_import(path) & POSIX_ONLY)}
    assert not needing


def test_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists() and not shutil.which("lint-imports"):
        pytest.skip("import-linter is not installed: pip install -e '.[dev]'")
    finished = subprocess.run(
        [program if program.exists() else "lint-imports", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout
