"""Python 3.11, 3.12 and 3.13: what is promised, what compiles, and what runs where they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

VERSIONS = ("3.11", "3.12", "3.13")
CODE = ("featx", "cache", "cli")
COMPILE = """
import pathlib, sys
for folder in sys.argv[1:]:
    for path in pathlib.Path(folder).rglob("*.py"):
        compile(path.read_bytes(), str(path), "exec")
"""


def interpreter(version: str) -> str:
    """Find a Python of a version. Skips where there is none."""
    name = f"python{version}"
    on_path = shutil.which(name)
    found = Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")
    for place in [*([on_path] if on_path else []), *map(str, sorted(found))]:
        answer = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)
        if answer.stdout.startswith(f"Python {version}."):
            return place
    pytest.skip(f"there is no Python {version} on this machine")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_all_say_the_same_of_the_versions(project: dict[str, Any]) -> None:
    lowest = VERSIONS[0]
    assert project["project"]["requires-python"] == f">={lowest}"
    assert project["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    assert project["tool"]["mypy"]["python_version"] == lowest
    named = [
        found[1]
        for line in project["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert tuple(named) == VERSIONS
    assert f"Python {lowest} or newer" in (REPOSITORY / "README.md").read_text()
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_the_code_compiles(version: str) -> None:
    command = [interpreter(version), "-W", "error", "-c", COMPILE, *CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


@pytest.mark.torture
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_job_runs(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [f"{tmp_path}/venv/bin/python", "-m", "pip", "install", "--quiet"]
    wanted = ["-c", f"{REPOSITORY}/constraints.txt", str(REPOSITORY)]
    got = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    if got.returncode != 0 and "No matching distribution" not in got.stderr:
        pytest.skip(f"the packages can't be had: {got.stderr.splitlines()[-1]}")
    assert got.returncode == 0, got.stderr
    command = [f"{tmp_path}/venv/bin/featx", "demo", "--tiny", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert next((tmp_path / "demo-output").rglob("report.html"))
