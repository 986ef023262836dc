"""Parameters of the library are options of a command: messages call them as they are typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_PARAMETER = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")

_typed: dict[str, tuple[str, str]] = {}


def use_options_of(command: Any, others: Iterable[Any] = ()) -> None:
    """Let messages speak of the options and arguments of a command from now on.

    Parameters
    ----------
    command
        Command that runs.
    others
        Further commands: a message may say what to do with them.
    """
    _typed.clear()
    for parameter in (p for other in (*others, command) for p in other.params):
        if parameter.param_type_name == "option":
            _typed[parameter.name] = (_long(parameter.opts), _long(parameter.secondary_opts))
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            _typed[parameter.name] = (parameter.metavar or parameter.name.upper(), "")


def _long(options: list[str]) -> str:
    return max(options, key=len, default="")


def option_of(parameter: str) -> str:
    """Return what is typed for a parameter of the library; empty if the command has no such."""
    return _typed.get(parameter, ("", ""))[0]


def with_options(message: str) -> str:
    """Turn the library's parameters in a message into options of the command.

    Examples
    --------
    With the options of ``featx fit``, ``Lower `accuracy_floor`, or give `force=True`.`` becomes
    ``Lower --accuracy-floor, or give --force.``
    """

    def typed(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in _typed:
            return found.group()
        yes, no = _typed[name]
        if value is None or value == "True":
            return yes
        if value == "False" and no:
            return no
        value = value.strip("'\"")
        return f"{yes} {value}"

    return _PARAMETER.sub(typed, message)
