"""Writes the reference of the command line from the commands, so that it can't go stale."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

PAGE = "reference/command-line.md"
PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put every command where the page says so (called by mkdocs)."""
    return markdown.replace(PLACE, commands_page()) if page.file.src_uri == PAGE else markdown


def commands_page() -> str:
    """Return one section a command, in the order of ``featx --help``."""
    from featx_cli.app import make_command

    root = make_command()
    parts = ["## featx", _text(root.help), _options(root.context_class(root, info_name="featx"))]
    for words, command in all_commands(root):
        context = command.context_class(command, info_name=words)
        parts += [f"## {words}", _text(command.help), f"`{_usage(words, context)}`"]
        parts += [_options(context), _example(command.epilog)]
    return "\n\n".join(part for part in parts if part)


def all_commands(group: Any, words: str = "featx") -> Iterator[tuple[str, Any]]:
    """Yield the words that call a command, and the command; groups are followed."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from all_commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def _text(text: str | None) -> str:
    """Return a help text as Markdown; what must keep its lines becomes a block."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(
        f"```sh\n{inspect.cleandoc(p.removeprefix(chr(8)))}\n```"
        if p.startswith("\b")
        else _escaped(" ".join(p.split()))
        for p in paragraphs
    )


def _usage(words: str, context: Any) -> str:
    pieces = [piece.strip("{}") for piece in context.command.collect_usage_pieces(context)]
    needed = [p.get_help_record(context)[0] for p in context.command.params if _needed(p)]
    return " ".join([words, *pieces[1:], *needed, pieces[0]])


def _needed(parameter: Any) -> bool:
    return bool(parameter.required) and parameter.opts[0].startswith("-")


def _options(context: Any) -> str:
    rows = ["| option | what | default |", "|---|---|---|"]
    for parameter in context.command.params:
        name, text = parameter.get_help_record(context)
        text, notes = re.fullmatch(r"(.*?)(?:\s*\[([^\]]*)\])?", text, re.DOTALL).groups()  # type: ignore[union-attr]
        default = (notes or "").split("default: ")[-1].strip("; ")
        name, _, value = name.replace("|", r"\|").partition(" <")
        value = f" `{value.removesuffix('>')}`" if value and name.startswith("-") else ""
        rows.append(f"| `{name}`{value} | {_escaped(' '.join(text.split()))} | {_code(default)} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _code(default: str) -> str:
    return f"`{default}`" if default and default != "required" else default


def _example(epilog: str | None) -> str:
    line = re.sub(
        r"^\s*Example:\s*", "", inspect.cleandoc((epilog or "").replace("\b", "")).strip()
    )
    return f"```sh\n{line}\n```" if line else ""


def _escaped(text: str) -> str:
    """Keep what a help text says in angle brackets and between bars, outside of code."""
    parts = text.split("`")
    parts[::2] = [
        p.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*") for p in parts[::2]
    ]
    return "`".join(parts)
