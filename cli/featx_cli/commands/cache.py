"""``featx cache``: look into a cache, and check every byte of it."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from featx_cli.console import TerminalProgress, output, say
from featx_cli.tables import plain_table

app = typer.Typer(
    help="Look into a cache of embeddings, or check every byte of it.", no_args_is_help=True
)

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="Folder that `featx extract` filled.")
]


@app.command(epilog="\b\nExample:  featx cache info embeddings")
def info(
    cache: CacheArgument,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Tell what a cache holds and what made it."""
    from featx._specs import fingerprint_of
    from featx.extraction._spec import parts_of
    from featx_cache import open_cache

    opened = open_cache(cache)
    counts = opened.images.groupby(["split", "label"]).size().reset_index(name="n")
    facts = {
        "path": str(opened.path),
        "images": len(opened.images),
        "patients": int(opened.images["group"].nunique()),
        "embeddings": len(opened.rows),
        "embedding_shape": list(opened.embedding_shape),
        "dtype": str(opened.dtype),
        "shards": len(opened.shard_names),
        "bytes": opened.bytes_on_disk(),
        "classes": list(opened.classes),
        "counts": {
            f"{split}/{label}": n for split, label, n in counts.itertuples(index=False, name=None)
        },
        "skipped": len(opened.skipped),
        "fingerprint": fingerprint_of(opened.spec),
        "spec": opened.spec,
    }
    if json:
        typer.echo(json_module.dumps(facts, indent=2))
        return
    table = plain_table(f"Cache {cache}", ("", ""), words=(0, 1))
    facts["bytes"] = f"{opened.bytes_on_disk() / 1e6:,.1f} MB"
    shape = "x".join(map(str, opened.embedding_shape))
    parts = " + ".join(map(str, parts_of(opened)))
    facts["embedding_shape"] = f"{shape} from {parts}" if parts else shape
    facts["classes"] = f"{opened.classes[0]} (negative), {opened.classes[1]} (positive)"
    del facts["path"]
    for name, value in facts.items():
        if isinstance(value, dict):
            for key, item in value.items():
                for inner, number in item.items() if isinstance(item, dict) else [("", item)]:
                    table.add_row(f"{name}: {key} {inner}".rstrip(), str(number))
        else:
            table.add_row(name.replace("_", " "), str(value))
    output().print(table)
    if opened.spec["backbone"]["weights"] == "random":
        output().print("The embeddings are untrained (random weights).")


@app.command(epilog="\b\nExample:  featx cache verify embeddings")
def verify(cache: CacheArgument) -> None:
    """Recompute the checksum of every shard and report those that are damaged.

    Repair a cache by running the same `featx extract` command again: it computes just the damaged
    shards.
    """
    from featx.errors import DamagedShardError
    from featx_cache import open_cache
    from featx_cache._text import plural

    opened = open_cache(cache)
    damaged = 0
    with TerminalProgress().task("Verifying", len(opened.shard_names), "shard") as advance:
        for _, error in opened.verify():
            if error is not None:
                damaged += 1
                output().print(error.what, soft_wrap=True)
            advance(1)
    if damaged:
        raise DamagedShardError(
            f"{damaged} of {len(opened.shard_names)} shards in {cache} are damaged",
            "Run the same `featx extract` command again: it repairs just those.",
        )
    say(f"Nothing is damaged in {cache}: {plural(len(opened.shard_names), 'shard')}.")
