"""The command line over damaged files: an exit code, and one line where it isn't 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from featx.errors import FeatxError
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity
from tests.fuzz.conftest import LONG, SHORT, Limits, try_all
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.timeout(180)
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "csv": lambda path: ["data", "check", str(path)],
    "npz": lambda path: ["data", "check", str(path), "--classes", "0,1"],
    "head config": lambda path: [
        *("fit", "nowhere", "--head", "keras", "--head-config", str(path), "--run", "nowhere")
    ],
    "run.json": lambda path: ["evaluate", str(path.parent), "--split", "val"],
    "index": lambda path: ["cache", "info", str(path.parent)],
    "shard": lambda path: ["cache", "verify", str(path.parents[1])],
}
"""Reader of each target."""
SLOW = settings(LONG, max_examples=LONG.max_examples // 10)
FORMS = pytest.mark.parametrize(
    "how",
    [
        settings(SHORT, max_examples=8),
        pytest.param(SLOW, marks=[pytest.mark.torture, pytest.mark.timeout(3600)]),
    ],
    ids=["short", "long"],
)


@FORMS
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_end_with_a_code_and_one_line(
    name: str, limits: Limits, how: settings, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = TARGETS[name](limits.folder)
    arguments = ["-q", *COMMANDS[name](prepared.path)]

    def use() -> None:
        capsys.readouterr()
        code = _run(arguments)
        set_verbosity(Verbosity.NORMAL)
        errors = capsys.readouterr().err.splitlines()
        assert code in (0, 1, 2)
        assert len(errors) <= 1
        assert all(each.startswith("featx: error: ") for each in errors)
        assert not any(each.startswith("featx: error: unexpected ") for each in errors)
        assert code != 2 or errors
        if errors:
            raise FeatxError(errors[0])

    for seed in prepared.seeds:  # and what is imported meanwhile isn't held against the first
        replace(prepared, use=use).outcome(seed)
    try_all(limits, how, damaged(prepared.seeds), replace(prepared, use=use))
