"""``featx backbones``: the networks that there are."""

from __future__ import annotations

import dataclasses
import json as json_module
from typing import Annotated

import typer

from featx_cli import completion
from featx_cli.console import TerminalProgress, output
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

EPILOG = "\b\nExample:  featx backbones featx-mini vgg19 --input-size 224"


def backbones(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Networks to list. Default: all of them.",
            autocompletion=completion.backbones,
        ),
    ] = None,
    input_size: Annotated[int, typer.Option(help="Side of the square input in pixels.")] = 300,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """List the networks, their sizes, and when to take which.

    They are featx-mini, which comes with featx, and those of keras.applications. All of them take
    half a minute. A saved model is a backbone too: a .keras or an .onnx file.
    """
    from featx.backbones import describe_backbones, list_backbones
    from featx.errors import InputError

    if input_size < 1:
        raise InputError(f"--input-size must be at least 1, not {input_size}")
    import_quietly()
    names = names or list_backbones()
    entries = []
    with TerminalProgress().task("Looking at networks", len(names), "network") as advance:
        for entry in describe_backbones(names, input_size):
            entries.append(entry)
            advance(1)
    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
        return
    columns = ("backbone", "input", "parameters", "embedding", "kB an image", "")
    table = plain_table("Networks without their top, embeddings in float16", columns, words=(0, 5))
    for entry in entries:
        shape = "x".join(map(str, entry.embedding_shape))
        size = f"{entry.input_size}x{entry.input_size}"
        numbers = (
            ("", "", "")
            if entry.problem
            else (f"{entry.parameters:,}", shape, f"{entry.embedding_bytes / 1000:,.1f}")
        )
        table.add_row(entry.name, size, *numbers, entry.problem or entry.purpose)
    output().print(table)
