"""``featx heads``: the heads, and the settings of each."""

from __future__ import annotations

from typing import Annotated

import typer

from featx_cli import completion
from featx_cli.console import output
from featx_cli.tables import plain_table

EPILOG = "\b\nExample:  featx heads keras"


def heads(
    head: Annotated[
        str | None,
        typer.Argument(
            metavar="[HEAD]",
            help="Head whose settings are shown.",
            autocompletion=completion.one_of(*completion.HEADS),
        ),
    ] = None,
) -> None:
    """List the heads, or the settings of one with their defaults.

    `featx fit --set NAME=VALUE` changes a setting, `--head-config FILE` many of them.
    """
    from featx.heads._settings import SETTINGS, TITLES
    from featx.heads._spec import HEADS, require_head

    console = output()
    if head is None:
        table = plain_table("Heads", ("head", "what it is"), words=(0, 1))
        for each in HEADS:
            table.add_row(each, TITLES[each])
        console.print(table)
        console.print("`featx heads HEAD` shows the settings of one.")
        return
    name = require_head(head)
    table = plain_table(
        f"{name}: {TITLES[name]}", ("setting", "default", "meaning"), words=(0, 1, 2)
    )
    for setting, field in SETTINGS[name].model_fields.items():
        words = _choices(field.annotation)
        choices = " | ".join(words) if set(words) != {"none"} else ""
        about = ". ".join(part for part in (choices, field.description or "") if part)
        table.add_row(setting, _shown(field.default), about)
    console.print(table)
    console.print(f"Change one:  featx fit CACHE --head {head} --run RUN --set NAME=VALUE")


def _choices(annotation: object) -> list[str]:
    """List the words that a setting may be, also those in unions and annotations."""
    from typing import Annotated, Literal, Union, get_args, get_origin

    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return [word for part in get_args(annotation) for word in _choices(part)]
    return ["none"] if annotation is type(None) else []


def _shown(value: object) -> str:
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
