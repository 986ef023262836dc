"""Groups of options that several commands share, given to a command as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

Command = Callable[..., None]
Options = Mapping[str, tuple[Any, Any]]
"""Name of an option's parameter -> its annotation and its default."""


def with_options_for(
    keyword: str, options: Options, collect: Callable[..., Any]
) -> Callable[[Command], Command]:
    """Give a command a group of options in the place of one of its keywords.

    Parameters
    ----------
    keyword
        Parameter of the command that gets what `collect` makes of the options.
    options
        Options of the group.
    collect
        Function that takes the options as keywords.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            typed = {name: given.pop(name) for name in options}
            command(**given, **{keyword: collect(**typed)})

        parameters: list[inspect.Parameter] = []
        names = {"ReadingOptions": object}  # which modules import for type checkers only
        signature = inspect.signature(command, locals=names, eval_str=True)
        for parameter in signature.parameters.values():
            if parameter.name != keyword:
                parameters.append(parameter)
                continue
            for name, (annotation, default) in options.items():
                parameters.append(
                    inspect.Parameter(name, parameter.kind, default=default, annotation=annotation)
                )
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate
