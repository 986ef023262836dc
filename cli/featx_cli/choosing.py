"""From what was typed to heads and their settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.heads import HeadSpec


def head_names(head: str) -> list[str]:
    """Split what was typed for --head."""
    from featx.heads._spec import HEADS, require_head

    if head == "all":
        return list(HEADS)
    names = [require_head(name.strip()) for name in head.split(",")]
    return list(dict.fromkeys(names))


def head_settings(config: Path | None, pairs: list[str]) -> dict[str, Any]:
    """Read the settings of the file, then those of the command line over them."""
    from featx.errors import InputError

    settings: dict[str, Any] = {}
    if config is not None:
        from featx.heads._own_layers import read_head_config

        settings = read_head_config(config)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(
                f"--set {pair} has no value", "Write it like --set learning_rate=0.002."
            )
        settings[name.strip().replace("-", "_")] = value.strip()
    return settings


def head_spec(
    name: str,
    settings: dict[str, Any],
    shortcuts: dict[str, Any],
    others: dict[str, Any],
    several: bool,
) -> HeadSpec:
    """Make the spec of one head; among several, each takes the settings that it has."""
    from featx.errors import InputError
    from featx.heads import HEADS, SETTINGS, HeadSpec

    known = SETTINGS[name].model_fields  # type: ignore[index]
    chosen = settings | shortcuts if name == "keras" else dict(settings)
    stray = [setting for setting in shortcuts if name != "keras"]
    if several:
        if unknown := [
            s for s in settings if not any(s in SETTINGS[h].model_fields for h in HEADS)
        ]:
            raise InputError(
                f"no head has a setting {unknown[0]!r}", "`featx heads HEAD` lists those of one."
            )
        chosen = {setting: value for setting, value in chosen.items() if setting in known}
    elif stray:
        raise InputError(
            f"--{stray[0].replace('_', '-')} is for --head keras, not {name}",
            f"`featx heads {name}` lists its settings.",
        )
    return HeadSpec.choose(name, settings=chosen, **others)
