"""The dump of a real cache in the documentation is what a cache of today looks like."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.docs.blocks import blocks

KINDS = {"f": "floating-point", "i": "STD_I", "S": "STRING", "O": "STRING"}
FREE = {"details"}  # columns of the manifest, whatever they are


def dump(name: str) -> dict[str, tuple[str, int]]:
    """Path -> type and rank of everything in the dump of a file."""
    (text,) = (b.code for b in blocks() if b.code.startswith(f'HDF5 "embeddings/{name}'))
    found: dict[str, tuple[str, int]] = {}
    folders: list[str] = []
    for line in text.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 3
        if opened := re.match(r' *(GROUP|DATASET|ATTRIBUTE) "([^"]*)" {', line):
            folders = [*folders[:depth], opened[2].strip("/")]
        elif "DATATYPE" in line:
            kind = line
        elif "DATASPACE" in line:
            rank = 0 if "SCALAR" in line else line.split("/")[0].count(",") + 1
            found["/".join(folders[1:])] = (kind, rank)
    return found


def contents(path: Path) -> dict[str, tuple[Any, int]]:
    """The same of a file."""
    found: dict[str, tuple[Any, int]] = {}
    with h5py.File(path) as file:
        found |= {
            n: (
                file.attrs.get_id(n).dtype,
                file.attrs.get_id(n).get_space().get_simple_extent_ndims(),
            )
            for n in file.attrs
        }

        def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = (item.dtype, item.ndim)

        file.visititems(visit)
    return found


@pytest.mark.parametrize("name", ["index.h5", "shards/"])
def test_names_types_and_ranks_are_those_of_a_cache_that_is_made_now(
    name: str, tiny_cache: Path
) -> None:
    path = next((tiny_cache / name).glob("*.h5")) if name == "shards/" else tiny_cache / name
    wanted, made = dump(name), contents(path)
    fixed = {key for key in {*wanted, *made} if key.split("/")[0] not in FREE}
    assert len(fixed) > 4
    for key in sorted(fixed):
        kind, rank = wanted[key]
        dtype, ndim = made[key]
        assert KINDS[dtype.kind] in kind, key
        assert rank == ndim, key
