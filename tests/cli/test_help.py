"""Help pages, the version, and what the command line says when it is called wrongly."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from featx_cache._errors import FeatxError
from featx_cli.app import make_command

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.conftest import RunFeatx

PAGES = (
    ["extract"],
    ["fit"],
    ["tune"],
    ["dashboard"],
    ["tensorboard"],
    ["evaluate"],
    ["calibrate"],
    ["explain"],
    ["heads"],
    ["predict"],
    ["export"],
    ["report"],
    ["serve"],
    ["data", "check"],
    ["data", "split"],
    ["data", "show"],
    ["data", "fetch"],
    ["cache", "info"],
    ["cache", "verify"],
    ["backbones"],
    ["distill"],
    ["doctor"],
    ["demo"],
)


def commands() -> dict[str, Any]:
    """Every command by the words that call it."""
    found: dict[str, Any] = {}
    for name, command in make_command().commands.items():
        below = getattr(command, "commands", None)
        found |= {f"{name} {n}": c for n, c in below.items()} if below else {name: command}
    return found


def test_the_pages_tested_here_are_all_there_are() -> None:
    assert sorted(commands()) == sorted(" ".join(page) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
class TestEachPage:
    def test_it_has_an_example_that_can_be_copied_as_one_line(
        self, featx: Featx, page: list[str]
    ) -> None:
        answer = featx(*page, "--help")
        assert answer.code == 0
        examples = [line for line in answer.out.splitlines() if "Example:" in line]
        assert len(examples) == 1
        words = examples[0].split("Example:")[1].split()
        assert words[: len(page) + 1] == ["featx", *page]
        assert answer.out.rstrip().endswith(examples[0].strip())

    def test_the_example_s_options_are_the_command_s(self, featx: Featx, page: list[str]) -> None:
        answer = featx(*page, "--help")
        known = {option for p in commands()[" ".join(page)].params for option in p.opts}
        used = re.findall(r"--[a-z-]+", answer.out.split("Example:")[1])
        assert set(used) <= known

    def test_it_tells_what_the_command_does_and_each_option_s_meaning(
        self, featx: Featx, page: list[str]
    ) -> None:
        out = featx(*page, "--help").out
        assert out.startswith(f"Usage: featx {' '.join(page)} ")
        for parameter in commands()[" ".join(page)].params:
            assert parameter.help, parameter.name

    def test_it_gives_every_default(self, featx: Featx, page: list[str]) -> None:
        text = " ".join(featx(*page, "--help").out.split())
        for parameter in commands()[" ".join(page)].params:
            if isinstance(parameter.default, bool) and not parameter.secondary_opts:
                continue  # a switch that is off
            if isinstance(parameter.default, bool):
                on, off = parameter.opts[0], parameter.secondary_opts[0]
                default = (on if parameter.default else off).removeprefix("--")
                assert f"[default: {default}]" in text
            elif parameter.default is not None:
                option = re.escape(parameter.opts[0])
                default = re.escape(str(parameter.default))
                assert re.search(rf"{option}[ ,].*?\[default: {default}\]", text), parameter.name
            elif not parameter.required and "Default" in parameter.help:
                assert " ".join(parameter.help.split()) in text


class TestTheFirstPage:
    def test_it_shows_the_usual_order_of_commands(self, featx: Featx) -> None:
        out = featx("--help").out
        order = [out.index(f"featx {command} ") for command in ("extract", "fit", "evaluate")]
        assert order == sorted(order)
        assert "not a medical device" in out
        assert "Exit codes: 0 success, 1 failure, 2 misuse" in out

    def test_it_lists_every_command(self, featx: Featx) -> None:
        listed = featx("--help").out.split("Commands:")[1]
        for name in make_command().commands:
            assert f"\n  {name} " in listed

    def test_minus_h_is_help_too(self, featx: Featx) -> None:
        assert featx("-h").out == featx("--help").out

    @pytest.mark.parametrize("arguments", [[], ["cache"]], ids=["featx", "featx cache"])
    def test_without_a_command_it_is_shown_as_a_page_not_as_an_error(
        self, featx: Featx, arguments: list[str]
    ) -> None:
        answer = featx(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("Usage: featx")
        assert "featx: error:" not in answer.err
        assert len(answer.err.splitlines()) > 5

    def test_it_imports_nothing_but_the_parser(self) -> None:
        # Imports are the cost of such a page, and can be counted on a busy machine.
        def imported(*arguments: str) -> set[str]:
            command = [sys.executable, "-X", "importtime", *arguments]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            modules = (line.split("|")[-1].strip() for line in done.stderr.splitlines())
            return {module.split(".")[0] for module in modules} - sys.stdlib_module_names

        parser = imported("-c", "import typer, shellingham")
        page = imported("-m", "featx", "--help")
        assert page - parser == {"featx", "featx_cli", "featx_cache", "lazy_loader"}


class TestSharedOptions:
    """``-q``, ``-v`` and ``--debug`` stand before a command or after it."""

    def test_every_command_takes_each_once_and_means_nothing_else_by_it(self) -> None:
        for words, command in commands().items():
            names = [name for p in command.params for name in (*p.opts, *p.secondary_opts)]
            for name in ("-q", "--quiet", "-v", "--verbose", "--debug"):
                assert names.count(name) == 1, (words, name)

    @pytest.mark.parametrize("page", PAGES, ids=" ".join)
    def test_every_page_shows_them(self, featx: Featx, page: list[str]) -> None:
        out = featx(*page, "--help").out
        for words in ("-q, --quiet", "-v, --verbose", "--debug"):
            assert f"\n  {words} " in out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["heads"], "NORMAL"),
            (["-q", "heads"], "QUIET"),
            (["heads", "-q"], "QUIET"),
            (["heads", "svm", "--quiet"], "QUIET"),
            (["heads", "-v", "svm"], "VERBOSE"),
            (["-q", "heads", "-v"], "VERBOSE"),
            (["-q", "heads", "--debug"], "QUIET"),
            (["cache", "-q", "info", "nowhere"], "QUIET"),
            (["cache", "info", "nowhere", "-v"], "VERBOSE"),
            (["cache", "info", "--", "-v"], "NORMAL"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_each_is_heard_wherever_it_stands(
        self, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
    ) -> None:
        from featx_cli import console
        from featx_cli.__main__ import _run

        monkeypatch.setattr(console, "_verbosity", console.Verbosity.NORMAL)
        with contextlib.suppress(FeatxError):
            _run(arguments)
        assert console._verbosity.name == expected

    def test_debug_after_a_command_shows_the_traceback(self, featx: Featx) -> None:
        with pytest.raises(FeatxError, match="there is no cache at nowhere"):
            featx("cache", "info", "nowhere", "--debug")

    def test_what_follows_two_hyphens_is_a_name(self, featx: Featx) -> None:
        answer = featx("cache", "info", "--", "--debug")
        assert answer.code == 2
        assert "there is no cache at --debug" in answer.err


class TestVersion:
    def test_it_is_the_installed_one_and_nothing_else(self, featx: Featx) -> None:
        import importlib.metadata

        assert featx("--version") == (0, importlib.metadata.version("featx") + "\n", "")

    def test_python_minus_m_featx_is_the_same_command_line(self, run_featx: RunFeatx) -> None:
        import importlib.metadata

        done = run_featx(["--version"])
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == importlib.metadata.version("featx") + "\n"


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["fit"], "Missing argument 'CACHE'. See `featx fit --help`."),
            (["fit", "c", "--head", "svm"], "Missing option '--run'. See `featx fit --help`."),
            (["fit", "c", "--ruin", "r"], "No such option: --ruin"),
            (["fit", "c", "--run", "r", "--head", "svm", "--epochs", "ten"], "'--epochs'"),
            (["predict", "r", "i", "--format", "xml"], "'table', 'csv', 'json'"),
            (["heads", "svm", "more"], "unexpected extra argument"),
            (["fitt"], "No such command 'fitt'"),
            (["--loud", "doctor"], "No such option: --loud"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_is_answered_in_one_line_with_exit_code_2(
        self, featx: Featx, arguments: list[str], complaint: str
    ) -> None:
        code, out, err = featx(*arguments)
        assert code == 2
        assert out == ""
        assert err.startswith("featx: error: ")
        assert complaint in err
        assert err.count("\n") == 1
