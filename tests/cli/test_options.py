"""The library's parameters are shown as the options of the command that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from featx.errors import FeatxError, InputError
from featx_cli import options
from featx_cli.__main__ import _message
from featx_cli.app import make_command
from featx_cli.options import option_of, use_options_of, with_options


@pytest.fixture(autouse=True)
def _no_command_after() -> Iterator[None]:
    yield
    options._typed.clear()


def start(words: str) -> None:
    """Begin a command, as the command line does before it runs it."""
    root = make_command()
    command: Any = root
    for word in words.split():
        command = command.commands[word]
    others = command.invoke.args[1]
    use_options_of(command, others)


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        ("fit", "Lower `accuracy_floor`.", "Lower --accuracy-floor."),
        ("fit", "Give `force=True`.", "Give --force."),
        ("fit", "Give `use_copies=True`.", "Give --use-copies."),
        ("fit", "Give `use_copies=False`.", "Give --no-use-copies."),
        ("fit", "Give `resume=False`.", "Give no --resume."),
        ("fit", "`seed=3` and `head='lda'`", "--seed 3 and --head lda"),
        ("fit", "`settings` and `set`", "--set and --set"),
        ("fit", "`cache` holds none", "CACHE holds none"),
        ("fit", "`best_accuracy` isn't a parameter", "`best_accuracy` isn't a parameter"),
        ("fit", "`featx fit` and `C`", "`featx fit` and `C`"),
        ("fit", "See `run.evaluate` and `featx.heads`.", "See `featx evaluate` and `featx.heads`."),
        ("extract", "`copies=4`, `rows_per_shard`", "--copies 4, --shard-rows"),
        ("extract", "`group_regex=None`", "no --group-regex"),
        ("report", "`names=False`", "--anonymous"),
        ("data split", "`folds` or `test=0.2`", "--folds or --test 0.2"),
        ("data split", "fit it with `resume=True`", "fit it with --resume"),
        ("calibrate", "Give another `run`.", "Give another --run."),
        ("calibrate", "`data` has no images", "DATA_OR_CACHE has no images"),
        ("evaluate", "extract with `copies_of='all'`", "extract with --copies-of all"),
        ("cache info", "Lower `batch_size`.", "Lower --batch-size."),
    ],
)
def test_a_parameter_is_shown_as_it_is_typed(command: str, message: str, shown: str) -> None:
    start(command)
    assert with_options(message) == shown


def test_without_a_command_a_message_stays_as_it_is() -> None:
    assert with_options("Give `force=True`.") == "Give `force=True`."


def test_arguments_are_no_options() -> None:
    start("evaluate")
    assert (option_of("split"), option_of("run"), option_of("nothing")) == ("--split", "", "")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            InputError("2 is no share", parameter="accuracy_floor"),
            "--accuracy-floor: 2 is no share",
        ),
        (
            InputError("`accuracy_floor` is 2", parameter="accuracy_floor"),
            "--accuracy-floor is 2",
        ),
        (InputError("there is no cache at x", parameter="cache"), "there is no cache at x"),
        (InputError("no such thing", parameter="nothing"), "no such thing"),
        (FeatxError("it failed", "Give `force=True`."), "it failed. Give --force."),
    ],
)
def test_an_error_names_the_option_of_its_parameter_once(error: FeatxError, shown: str) -> None:
    start("fit")
    assert _message(error) == shown


def test_an_option_that_begins_alike_is_not_the_option() -> None:
    start("tune")
    error = InputError("it needs `study_name` or --storage-of-all", parameter="storage")
    assert _message(error).startswith("--storage: ")


def test_notes_of_an_error_are_shown_too() -> None:
    start("fit")
    error = InputError("no room")
    error.add_note("Try `seed=1`.")
    assert _message(error) == "no room Try --seed 1."


@pytest.mark.parametrize("name", ["x/`force=True`", "`seed`.png", "a`seed`", "`run`/`cache`"])
def test_backticks_in_a_name_stay(name: str) -> None:
    use_options_of(make_command().commands["fit"])
    assert with_options(f"there is no run at {name}. Give `run`.") == (
        f"there is no run at {name}. Give --run."
    )
