"""Heads on disk: what goes out comes back, and nothing foreign comes in."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from featx._arguments import names_of_types
from featx.errors import InputError
from featx.heads import (
    CalibratedHead,
    HeadSpec,
    KerasHead,
    KerasSettings,
    build,
    load_head,
    save_head,
)
from featx.heads._keras_network import build_network
from featx.training._data import TrainingData
from featx.training._scoring import fit_head
from tests.refusing import refused

SHAPE = (3, 3, 8)


class Foreign(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that featx doesn't know."""

    def fit(self, X: Any, y: Any = None) -> Foreign:  # noqa: ARG002
        return self

    def transform(self, X: Any) -> Any:
        return X


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def embeddings() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.normal(size=(40, *SHAPE)).astype("f4")


def fitted(name: Any, embeddings: NDArray[np.float32]) -> Any:
    if name == "keras":
        head = KerasHead()
        head.model_ = build_network(SHAPE, KerasSettings(), 0)
        head.classes_, head.n_features_in_ = np.array([0, 1]), SHAPE[0]
        return head
    import pandas as pd

    table = pd.DataFrame({"group": [f"p{n}" for n in range(40)], "copy": 0})
    data = TrainingData(embeddings, np.arange(40) % 2, table, np.arange(40))
    return fit_head(HeadSpec(name=name), data, np.arange(40))


def refusal(path: Path) -> str:
    return refused(load_head, path)


@pytest.mark.parametrize(
    ("name", "file"), [("keras", "head.keras"), ("svm", "head.skops"), ("logreg", "head.skops")]
)
def test_a_head_scores_the_same_after_a_round_trip(
    name: str, file: str, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    head = fitted(name, embeddings)
    assert save_head(head, tmp_path) == file
    assert [path.name for path in tmp_path.iterdir()] == [file]
    back = load_head(tmp_path / file)
    assert np.array_equal(back.predict_proba(embeddings), head.predict_proba(embeddings))
    assert back.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["head.skops", "head.keras"])
def test_a_pickle_by_another_name_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()
    assert "can't be loaded safely" in refusal(path)
    assert not (tmp_path / "exploded").exists()


def test_a_keras_model_with_a_lambda_inside_a_skops_file_is_refused_and_named(
    tmp_path: Path,
) -> None:
    """A calibrated Keras head lies in a .skops file, its network as the bytes of a .keras file."""
    from keras import Input, Sequential, layers

    head = KerasHead()
    head.model_ = Sequential([Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(1)])
    head.classes_, head.n_features_in_ = np.array([0, 1]), 4
    path = tmp_path / "head.skops"
    skops.io.dump(CalibratedHead(head), path)
    assert "ambda" in refusal(path)


def test_a_skops_file_with_a_foreign_estimator_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "head.skops"
    X, y = np.eye(4), [0, 1, 0, 1]
    steps = [("foreign", Foreign()), ("classifier", LogisticRegression())]
    skops.io.dump(Pipeline(steps).fit(X, y), path)
    assert "Foreign" in refusal(path)


@pytest.mark.parametrize("function", [os.system, functools.partial(os.system, "true")])
def test_a_skops_file_with_a_function_is_refused_and_named(function: Any, tmp_path: Path) -> None:
    path = tmp_path / "head.skops"
    skops.io.dump(Pipeline([("pooling", FunctionTransformer(function))]), path)
    assert "system" in refusal(path)


def test_a_type_hidden_in_a_head_that_is_otherwise_known_is_refused(
    embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    head = fitted("logreg", embeddings)
    head.note = Foreign()
    skops.io.dump(head, tmp_path / "head.skops")
    assert "Foreign" in refusal(tmp_path / "head.skops")
    with pytest.raises(InputError, match="Foreign"):
        save_head(head, tmp_path)


CLASSES = {
    "SpatialPooling": ("featx.heads.pooling", "SpatialPooling"),
    "LimitedPCA": ("featx.heads.reduction", "Reduction"),
    "CalibratedHead": ("featx.heads._calibration", "CalibratedHead"),
    "LimitedKNeighbors": ("featx.heads.neighbors", "NearestNeighbors"),
    "ShrunkLDA": ("featx.heads._discriminant", "Discriminant"),
    "KerasHead": ("featx.heads.keras_head", "KerasHead"),
}
"""Classes of featx in files -> where they were in files of earlier versions."""


def with_old_paths(content: bytes) -> tuple[bytes, set[str]]:
    """Give the classes of featx in a skops file their old paths. Return today's paths, too."""
    found: set[str] = set()

    def rename(node: dict[str, Any]) -> dict[str, Any]:
        if str(node.get("__module__")).startswith("featx"):
            found.add(f"{node['__module__']}.{node['__class__']}")
            node["__module__"], node["__class__"] = CLASSES[node["__class__"]]
        return node

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json":
                data = json.dumps(json.loads(data, object_hook=rename)).encode()
            target.writestr(name, data)
    return made.getvalue(), found


@pytest.mark.parametrize("name", ["logreg", "svm", "knn", "lda", "hgb", "calibrated keras"])
def test_files_name_public_classes_and_those_of_earlier_versions_still_open(
    name: str, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    if name == "calibrated keras":
        spec = HeadSpec.choose(
            "keras", calibration="sigmoid", settings={"architecture": "gap", "epochs": 1}
        )
        head: Any = build(spec).fit(embeddings, np.arange(40) % 2)
    else:
        head = fitted(name, embeddings)
    path = tmp_path / save_head(head, tmp_path)
    content, found = with_old_paths(path.read_bytes())
    assert found <= {f"featx.heads.{each}" for each in CLASSES}
    assert found
    path.write_bytes(content)
    assert np.array_equal(load_head(path).predict_proba(embeddings), head.predict_proba(embeddings))


@pytest.mark.parametrize("length", [0, -200], ids=["empty", "truncated"])
@pytest.mark.parametrize("name", ["keras", "logreg"])
def test_a_truncated_file_is_refused(
    name: str, length: int, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    path = tmp_path / save_head(fitted(name, embeddings), tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert "can't be loaded safely" in refusal(path)


def test_a_missing_head_is_named_with_what_to_do(tmp_path: Path) -> None:
    assert "featx.fit" in refusal(tmp_path / "head.skops")


def test_an_unfitted_head_builds_but_a_run_never_holds_one(tmp_path: Path) -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        save_head(build(HeadSpec(name="keras")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_trusted_type_is_a_name_and_trust_in_all_is_refused() -> None:
    assert names_of_types("a.B") == names_of_types(["a.B"]) == ("a.B",)
    for wrong in (True, [1]):
        with pytest.raises(InputError, match="`trusted` can't be"):
            names_of_types(wrong)  # type: ignore[arg-type]
