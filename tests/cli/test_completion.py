"""What a shell offers for a half-typed command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from featx.backbones import list_backbones
from featx.data._fetch import DATA_SETS
from featx.heads import HEADS
from featx.heads._spec import Calibration
from featx.images._augment import PRESETS
from featx.tuning._spec import OBJECTIVES, PRUNERS, SAMPLERS
from featx_cli import completion

EXTRACT = "featx extract d --cache c"
HEAVY = {"keras", "tensorflow", "numpy", "pandas", "h5py", "sklearn"}


def offered(typed: str, shell: str = "bash") -> list[str]:
    """Return what a shell is given for what was typed, as Typer's scripts for shells ask."""
    variables = {
        "_FEATX_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(f"{typed}.".split()) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "featx"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in modules
    assert not HEAVY & modules
    return done.stdout.split("\n")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("featx ca", ["calibrate", "cache"]),
        ("featx data s", ["split", "show"]),
        ("featx extract --aug", ["--augment"]),
        (f"{EXTRACT} --backbone featx-m", ["featx-mini"]),
        ("featx demo --backbone featx-m", ["featx-mini"]),
        (f"{EXTRACT} --precision b", ["bfloat16"]),
        ("featx fit c --head logreg,l", ["logreg,lda"]),
        ("featx predict r images/", []),  # file names, which the shell knows itself
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_commands_options_and_values_are_offered(typed: str, expected: list[str]) -> None:
    found = offered(typed)
    assert [value for value in found if value] == expected


def test_other_shells_are_given_the_same() -> None:
    assert offered("featx heads s", "fish") == ["svm", ""]
    assert "".join(offered("featx heads s", "zsh")) == """_arguments '*: :(("svm"))'"""


def test_the_names_are_the_library_s() -> None:
    assert completion.HEADS == HEADS
    assert set(completion.PRESETS) == set(PRESETS)
    assert get_args(Calibration) == completion.CALIBRATIONS
    assert completion.DATA_SETS == DATA_SETS
    assert (completion.OBJECTIVES, completion.SAMPLERS) == (OBJECTIVES, SAMPLERS)
    assert completion.PRUNERS == PRUNERS
    assert completion.backbones("") == list_backbones()
    assert completion.backbones("VGG") == ["vgg16", "vgg19"]


def test_what_stands_before_the_last_comma_is_kept_and_not_offered_again() -> None:
    assert completion.several_of("a", "b", "c")("b,a,") == ["b,a,c"]


@pytest.mark.skipif(os.name != "posix", reason="the home folder isn't told by a variable")
def test_settings_of_the_shell_that_cannot_be_written_are_one_line(read_only_folder: Path) -> None:
    # A shell asks: featx looks at the process that started it.
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m featx --install-completion; exit $?"],
        env={**os.environ, "HOME": str(read_only_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("featx: error: can't write the settings of your shell: ")
    assert "`featx --show-completion`" in done.stderr
    assert done.stderr.count("\n") == 1
