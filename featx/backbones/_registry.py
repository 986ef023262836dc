"""The networks of ``keras.applications`` and featx-mini, by name."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from featx.backbones._mini import MINI, build_mini
from featx.backbones._settings import own_keras_settings
from featx.errors import InputError


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network: the function that builds it, and its own preprocessing of values 0..255."""

    name: str
    build: Callable[..., Any]
    preprocess_input: Callable[..., Any]


def list_backbones(pattern: str = "*") -> list[str]:
    """List the names of the networks: featx-mini, and then those of ``keras.applications``.

    Parameters
    ----------
    pattern
        Pattern of names, with ``*`` for any letters.

    Examples
    --------
    >>> from featx.backbones import list_backbones
    >>> list_backbones("vgg*")  # doctest: +SKIP
    ['vgg16', 'vgg19']
    """
    return fnmatch.filter((network.name for network in in_order()), pattern.lower())


def in_order() -> list[Architecture]:
    """List featx-mini, and then the others by their names."""
    found = architectures().values()
    return sorted(found, key=lambda network: (network.name != MINI, network.name))


@own_keras_settings()
def architectures() -> dict[str, Architecture]:
    """List every network under its lower-case name without hyphens."""
    import keras

    found = {_key(MINI): Architecture(MINI, build_mini, _unchanged)}
    for module in vars(keras.applications).values():
        if not isinstance(module, ModuleType) or not hasattr(module, "preprocess_input"):
            continue
        for name, build in inspect.getmembers(module, inspect.isfunction):
            if name[0].isupper():
                found[name.lower()] = Architecture(name.lower(), build, module.preprocess_input)
    return found


def architecture(name: str) -> Architecture:
    """Return one network."""
    known = architectures()
    key = _key(name)
    if key in known:
        return known[key]
    near = [known[each].name for each in difflib.get_close_matches(key, known, n=3)]
    raise InputError(
        f"there is no backbone {name!r}",
        f"Did you mean {' or '.join(near)}?"
        if near
        else "`featx.backbones.list_backbones` lists them. A saved model is a .keras or an "
        ".onnx file.",
    )


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _unchanged(images: Any) -> Any:
    """Return values 0..255 as they are: the network has its own layer for them."""
    return images
