"""Heads on embeddings of several layers: vectors of a main grid and other parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones._parts import part_slices
from featx.errors import InputError
from featx.heads import HeadSpec, KerasHead, SpatialPooling, as_tensors, build, load_head, save_head
from featx.heads._building import parts_of_head, with_parts
from featx.heads._pooling import POOLINGS

GRID, POOLED, OTHER, TOKEN = (3, 3, 8), (10, 4), (6, 6, 4), (5,)
PARTS = (GRID, POOLED, OTHER, TOKEN)
Y = np.arange(40) % 2
TINY: dict[str, Any] = {
    "architecture": "gap",
    "dense_units": (4,),
    "epochs": 2,
    "precision": "float32",
}


def pieces() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [
        (random.normal(size=(40, *shape)) + Y.reshape(-1, *[1] * len(shape)) / 2).astype(np.float32)
        for shape in PARTS
    ]


@pytest.fixture(name="X", scope="module")
def _embeddings() -> NDArray[np.float32]:
    return np.concatenate([piece.reshape(40, -1) for piece in pieces()], axis=1)


@pytest.mark.parametrize("how", POOLINGS)
def test_parts_are_pooled_by_their_kinds_and_stand_side_by_side(
    X: NDArray[np.float32], how: Any
) -> None:
    grid, pooled, other, token = pieces()
    alone = SpatialPooling(how, standardize=True)
    kept = pooled if how in ("pyramid", "flatten") else pooled[:, :1]
    if how == "flatten":
        kept = kept.reshape(40, 1, -1)
    kept = kept - kept.mean(axis=2, keepdims=True)
    kept /= kept.std(axis=2, keepdims=True) + np.float32(1e-6)
    pooling = SpatialPooling(how, standardize=True, parts=PARTS)
    found = pooling.fit_transform(X)
    parts = [alone.transform(grid), kept.reshape(40, -1), alone.transform(other), token]
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=1))
    assert len(pooling.get_feature_names_out()) == found.shape[1]
    assert pooling.transform(X.astype(np.float16)).dtype == np.float32


def test_what_is_no_embedding_of_these_parts_is_refused(X: NDArray[np.float32]) -> None:
    with pytest.raises(InputError, match=r"the shape \(260,\) don't consist of parts of 72 \+ 40"):
        SpatialPooling(parts=PARTS).fit_transform(X[:, 1:])
    with pytest.raises(InputError, match="don't consist of parts"):
        KerasHead(parts=PARTS, **TINY).fit(X[:, 1:], Y)
    with pytest.raises(ValueError, match=r"a grid or a vector, not \(9, 4\)"):
        SpatialPooling(parts=((9, 4),)).fit(X[:, :36])


OWN = [{"class_name": "Conv2D", "config": {"filters": 3, "kernel_size": 2}}]
OWN += [{"class_name": "Flatten", "config": {}}, {"class_name": "Dense", "config": {"units": 4}}]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("logreg", {}),
        ("svm", {"components": 5}),
        *(("logreg", {"representation": how, "components": 8}) for how in POOLINGS),
        ("keras", TINY | {"architecture": "study"}),
        ("keras", TINY | {"ensemble": 2}),
        ("keras", TINY | {"layers": [{"class_name": "GlobalMaxPooling2D", "config": {}}]}),
        ("keras", TINY | {"layers": OWN, "stopping": "patience"}),
    ],
)
def test_a_head_is_saved_and_loaded_and_written_as_a_graph(
    X: NDArray[np.float32], tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    head = build(HeadSpec.choose(name, settings=settings), parts=PARTS).fit(X, Y)
    scores = head.predict_proba(X)[:, 1]
    assert scores.std() > 1e-4
    back = load_head(tmp_path / save_head(head, tmp_path))
    assert np.array_equal(back.predict_proba(X)[:, 1], scores)
    assert parts_of_head(back) == PARTS
    import tensorflow as tf

    graph = tf.function(as_tensors(back))(tf.constant(X)).numpy()
    assert graph == pytest.approx(scores, abs=1e-5)


def test_a_network_sees_every_part(X: NDArray[np.float32]) -> None:
    head = build(HeadSpec.choose("keras", settings=TINY), parts=PARTS).fit(X, Y)
    for where in part_slices(PARTS):
        changed = X.copy()
        changed[:, where] += 1.0
        assert np.abs(head.predict_proba(changed) - head.predict_proba(X)).max() > 1e-3


def test_a_training_that_was_killed_goes_on(X: NDArray[np.float32], tmp_path: Path) -> None:
    def killed(_: dict[str, float]) -> None:
        raise KeyboardInterrupt

    spec = HeadSpec.choose("keras", settings=TINY)
    head: Any = build(spec, parts=PARTS)
    with pytest.raises(KeyboardInterrupt):
        head.fit(X, Y, work_folder=tmp_path, on_epoch=killed)
    resumed = head.fit(X, Y, work_folder=tmp_path)
    whole: Any = build(spec, parts=PARTS).fit(X, Y)
    assert len(resumed.history_) == 2
    assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))


def test_a_head_fitted_on_pooled_vectors_takes_the_embeddings(X: NDArray[np.float32]) -> None:
    spec = HeadSpec.choose("svm", settings={"components": 5})
    whole: Any = build(spec, parts=PARTS).fit(X, Y)
    head = build(spec).fit(whole.named_steps["pooling"].transform(X), Y)
    again = with_parts(head, PARTS)
    assert np.array_equal(again.predict_proba(X), whole.predict_proba(X))
    assert parts_of_head(head) == ()  # other heads may share its steps
