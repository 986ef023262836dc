"""Heads of scikit-learn and arrays made to do harm: refused in one line, and nothing was done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from featx.backbones._standardization import load_standardization
from featx.errors import FeatxError
from featx.heads import load_head
from tests.archives import (
    Members,
    Spoil,
    explode,
    member,
    members,
    npy,
    objects_in_npy,
    untouched,
    without,
    write,
)
from tests.refusing import refused

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("unharmed")]


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a ``.skops`` file with a good head."""
    path = tmp_path_factory.mktemp("regression") / "head.skops"
    skops.io.dump(LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]), path)
    return members(path)


def refusal(path: Path) -> str:
    """Load a head. Return what was said."""
    return refused(load_head, path)


def schema(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(content: Members, folder: Path) -> Members:
        del folder
        described = json.loads(content["schema.json"])
        change(described)
        return content | {"schema.json": json.dumps(described).encode()}

    return spoil


def attribute(value: dict[str, Any]) -> Spoil:
    """Put one thing more into the estimator."""
    return schema(lambda whole: whole["content"]["content"].update(foreign=value))


def node(module: str, name: str, loader: str, **more: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": 77, **more}


def every_array(data: bytes) -> Spoil:
    return lambda content, folder: {  # noqa: ARG005
        name: data if name.endswith(".npy") else old for name, old in content.items()
    }


SKOPS: dict[str, Spoil] = {
    "a function": attribute(node("os", "system", "FunctionNode", content="system")),
    "a function of NumPy": attribute(node("numpy", "load", "FunctionNode", content="load")),
    "a class": attribute(node("subprocess", "Popen", "TypeNode")),
    "an object": attribute(node("subprocess", "Popen", "ObjectNode", content=None)),
    "an object by its constructor": attribute(
        node(
            "subprocess",
            "Popen",
            "ReduceNode",
            reduce={"args": ["true"]},
            content=None,
            constructor="",
        )
    ),
    "a method": attribute(
        node("os", "system", "MethodNode", content={"func": "system", "obj": None})
    ),
    "a loader that isn't one": attribute(node("builtins", "dict", "OsNode", content={})),
    "a protocol of text": schema(lambda whole: whole.update(protocol="zero")),
    "no content": schema(lambda whole: whole.pop("content")),
    "no class": schema(lambda whole: whole.pop("__class__")),
    "arrays of pickled objects": every_array(objects_in_npy()),
    "arrays of 10^12 numbers": every_array(npy((10**12,))),
    "arrays of objects": every_array(npy((1,), "|O")),
    "arrays that are none": every_array(b"harm"),
    "arrays missing": lambda content, folder: {"schema.json": content["schema.json"]},  # noqa: ARG005
    "slip": member("../escaped", b"harm"),
    "no JSON": member("schema.json"),
    "null": member("schema.json", b"null"),
    "a list": member("schema.json", b"[]"),
    "deep JSON": member("schema.json", b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "no schema": without("schema.json"),
}
"""Faults of a ``.skops`` file."""


class TestSkops:
    @pytest.mark.parametrize("harm", SKOPS)
    def test_is_refused(self, regression: Members, tmp_path: Path, harm: str) -> None:
        path = write(tmp_path / "head.skops", SKOPS[harm](regression, tmp_path))
        refusal(path)
        assert untouched(tmp_path, "head.skops")

    @pytest.mark.parametrize("name", ["schema.json", "1.npy"])
    def test_that_explodes_is_refused(self, regression: Members, tmp_path: Path, name: str) -> None:
        refusal(explode(tmp_path / "head.skops", regression, name))

    @pytest.mark.parametrize("thing", ["text", [1, 2], StandardScaler(), {"predict_proba": 1}])
    def test_of_something_else_than_a_classifier_is_refused(
        self, tmp_path: Path, thing: Any
    ) -> None:
        skops.io.dump(thing, tmp_path / "head.skops")
        assert "not a classifier" in refusal(tmp_path / "head.skops")


class TestStandardization:
    @pytest.mark.parametrize(
        "content",
        [objects_in_npy(), npy((10**12,)), npy((1,), "|O"), b"harm", b""],
        ids=["pickle", "huge", "objects", "text", "empty"],
    )
    @pytest.mark.parametrize("name", ["spec.npy", "mean.npy", "../mean.npy"])
    def test_that_is_hostile_is_refused(self, tmp_path: Path, name: str, content: bytes) -> None:
        path = write(tmp_path / "standardization.npz", {name: content})
        with pytest.raises(FeatxError, match=r"standardization\.npz"):
            load_standardization(path)
        assert untouched(tmp_path, "standardization.npz")

    def test_that_explodes_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FeatxError, match=r"standardization\.npz"):
            load_standardization(explode(tmp_path / "standardization.npz", {}, "mean.npy"))
