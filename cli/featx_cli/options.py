"""Parameters of the library are options of a command: messages call them as they are typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

ALIASES = {"rows_per_shard": "shard_rows", "settings": "set", "augmentation": "augment"}
"""Parameters of the library whose option has another name."""

COMMANDS = {
    "featx.split_manifest": "data split",
    "featx.inspect": "data check",
    "featx.backbones.list_backbones": "backbones",
    "cache.verify": "cache verify",
    "run.stress_protocol": "evaluate RUN --protocol stress --json FILE",
    **{f"featx.{verb}": verb for verb in ("distill", "extract", "fit", "tune", "report", "serve")},
    **{f"run.{verb}": verb for verb in ("evaluate", "calibrate", "predict")},
    "run.estimate": "evaluate",
    "run.suggest_labels": "calibrate --suggest",
}
"""Functions and methods of the library, and the commands that do the same."""

_FUNCTION = re.compile(r"(?<![^\s(])`([a-z_.]+)`(?=[.,;:?)]*(?:\s|$))")
_PARAMETER = re.compile(r"(?<![^\s(])`([a-z_]+)(?:=([^`]*))?`(?=[.,;:?)]*(?:\s|$))")
"""A parameter is a word of its own: what is in backticks within a path is part of a name."""

_typed: dict[str, tuple[str, str]] = {}
"""Parameter -> its option, and the option that switches it off."""


def use_options_of(command: Any, others: Iterable[Any] = ()) -> None:
    """Let messages speak of the options and arguments of a command from now on.

    Parameters
    ----------
    command
        Command that runs.
    others
        Further commands: a message may say what to do with them. The options of `command` come
        first, and then the options of the first of the others that has one.
    """
    _typed.clear()
    for other in reversed([command, *others]):
        options = [p for p in other.params if p.param_type_name == "option"]
        if other is command:
            arguments = (p for p in other.params if p.param_type_name == "argument")
            _typed.update((p.name, (p.metavar or p.name.upper(), "")) for p in arguments)
        for each in options:
            _typed[each.name] = (_long(each.opts), _long(each.secondary_opts))
        for each in options:  # --run of `new_run` is what a message about `run` means
            _typed[_long(each.opts).lstrip("-").replace("-", "_")] = _typed[each.name]


def _long(options: list[str]) -> str:
    return max(options, key=len, default="")


def option_of(parameter: str) -> str:
    """Return the option of a parameter of the library, or nothing if no command has one."""
    option = _find(parameter)[0]
    return option if option.startswith("--") else ""


def _find(parameter: str) -> tuple[str, str]:
    return _typed.get(parameter) or _typed.get(ALIASES.get(parameter, ""), ("", ""))


def with_options(message: str) -> str:
    """Turn the library's functions and parameters in a message into commands and options.

    Examples
    --------
    >>> from featx_cli.app import make_command
    >>> use_options_of(make_command().commands["fit"])
    >>> with_options("Lower `accuracy_floor`, or give `force=True`.")
    'Lower --accuracy-floor, or give --force.'
    >>> with_options("Make new splits, `featx.split_manifest`.")
    'Make new splits, `featx data split`.'
    """
    return _PARAMETER.sub(_as_typed, _FUNCTION.sub(_as_command, message))


def _as_command(found: re.Match[str]) -> str:
    command = COMMANDS.get(found[1])
    return found[0] if command is None else f"`featx {command}`"


def _as_typed(found: re.Match[str]) -> str:
    name, value = found.groups()
    yes, no = _find(name)
    if not yes:
        return found.group()
    if value is None or value == "True":
        return yes
    if value in ("False", "None"):
        return no or f"no {yes}"
    return f"{yes} {value.strip(chr(39) + chr(34))}"
