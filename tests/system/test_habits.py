"""The habits of whoever works on featx: one set of tools, known versions, known vulnerabilities."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from _pytest.mark.expression import Expression
from packaging.requirements import Requirement

from tests.minimum import lowest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
OPTIONS = PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"]
PINNED = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
)


def plain(name: str) -> str:
    """Return the one name of a package that has many (PEP 503)."""
    return re.sub("[-_.]+", "-", name.lower())


def make(*words: str) -> subprocess.CompletedProcess[str]:
    # These tests may have been started by make, which would tell this one how to print.
    own = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=own, capture_output=True, text=True, timeout=60, check=False
    )


class TestVersions:
    def test_what_is_pinned_is_allowed(self) -> None:
        pinned = {plain(name): version for name, version in PINNED.items()}
        extras = PROJECT["optional-dependencies"]
        wanted = PROJECT["dependencies"] + extras["dev"] + extras["docs"] + extras["onnx"]
        for requirement in map(Requirement, wanted):
            if requirement.name != "featx":
                assert requirement.specifier.contains(pinned[plain(requirement.name)]), requirement

    def test_everything_that_featx_needs_has_a_lowest_version(self) -> None:
        pins = lowest(ROOT / "pyproject.toml")
        assert {pin.split("==")[0] for pin in pins} >= {
            Requirement(wanted).name for wanted in PROJECT["dependencies"]
        }

    def test_a_requirement_without_one_is_told(self, tmp_path: Path) -> None:
        pyproject = tmp_path / "pyproject.toml"
        pyproject.write_text(
            '[project]\ndependencies = ["numpy<3"]\n[project.optional-dependencies]\n'
            "dask = []\ndicom = []\ndicomnet = []\nonnx = []\n"
        )
        with pytest.raises(SystemExit, match=r"'numpy<3' .* doesn't say its lowest version"):
            lowest(pyproject)


def _marked(marks: set[str], name: str, /, **_: object) -> bool:
    return name in marks


class TestMake:
    def test_hooks_before_a_commit_are_steps_of_make_test(self) -> None:
        config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
        hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
        steps = re.search(r"^STEPS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert steps is not None
        assert len(hooks) == 3
        assert {hook.removeprefix("make ") for hook in hooks} <= set(steps[1].split())

    def test_each_test_is_run_by_one_of_its_three_targets(self) -> None:
        """`make test`, what else `make test-all` runs, and `make torture`."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        said = [re.search(r"-m '(.*?)'", text) for text in (OPTIONS, makefile)]
        chosen = [Expression.compile(found[1]) for found in said if found is not None]
        chosen.append(Expression.compile("torture"))
        for marks in (set(), {"long"}, {"torture"}, {"long", "torture"}):
            ways = [each.evaluate(functools.partial(_marked, marks)) for each in chosen]
            assert ways.count(True) == 1, marks
        assert "-m torture" in makefile
        steps = re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
        assert steps == ["test", "long-tests"]

    def test_it_says_where_the_time_went(self) -> None:
        done = make("test", "STEPS=help")
        assert done.returncode == 0
        assert re.search(r"Where the time went\n  help +\d+ s\n$", done.stdout)

    def test_it_stops_at_the_first_step_that_fails(self) -> None:
        done = make("test", "STEPS=help no-such-step help")
        assert done.returncode != 0
        assert done.stdout.count("The whole main job") == 1
        assert "Where the time went" not in done.stdout


UNKNOWN = "\n".join(f"{n}  Dependency not found and could not be audited: {n}" for n in PINNED)
AUDITS = {
    "nothing known": ("No known vulnerabilities found", 0, 0, "No known vulnerabilities"),
    "a vulnerability": ("pillow 1.0 CVE-2000-0001 1.1", 1, 1, "CVE-2000-0001"),
    "another failure": ("ERROR: no such option", 1, 1, "no such option"),
    "no network": ("Traceback\nrequests.ConnectionError: Max retries exceeded", 1, 0, "skipped"),
    "a mirror": (UNKNOWN, 0, 0, "audit skipped: none of"),
}


@pytest.mark.parametrize("case", AUDITS)
def test_an_audit_fails_for_vulnerabilities_and_says_when_there_was_none(
    case: str, tmp_path: Path
) -> None:
    answer, code, expected, said = AUDITS[case]
    (tmp_path / "answer").write_text(answer + "\n")
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\nexit {code}\n")
    stand_in.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "audit", stand_in], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == expected
    assert said in done.stdout
