"""Embeddings that are read when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from featx_cache import Cache, InputError, LazyEmbeddings, all_finite, open_cache
from featx_cache._shards import read_embeddings

if TYPE_CHECKING:
    from tests.cache.conftest import Made


@pytest.fixture
def cache(made: Made) -> Cache:
    return open_cache(made.folder)


@pytest.fixture
def lazy(cache: Cache) -> LazyEmbeddings:
    return cache.as_arrays(("train", "val"), copies=None)[0]


@pytest.fixture
def whole(made: Made) -> NDArray[Any]:
    return made.embeddings[:13]


class TestIndexing:
    @pytest.mark.parametrize(
        "key",
        [
            3,
            -1,
            np.int64(5),
            slice(4, 12, 3),
            [7, 2, 2, 11],
            np.arange(13) % 3 == 0,
            (slice(0, 6), 1),
            (4, slice(None), 0),
            ([5, 1], slice(None), 1, 2),
            ([5, 1], ...),
            (..., 0),
            ([5, 1], [0, 1]),
            (slice(None), None),
            (),
            None,
            ...,
            True,
            [],
            [[0, 1], [2, 3]],
            [True] * 6 + [False] * 7,
        ],
        ids=str,
    )
    def test_it_gives_what_an_array_gives(
        self, lazy: LazyEmbeddings, whole: NDArray[Any], key: Any
    ) -> None:
        expected = whole[key]
        assert np.array_equal(lazy[key], expected)
        assert lazy[key].shape == expected.shape

    def test_it_has_the_shape_and_dtype_of_the_array(
        self, lazy: LazyEmbeddings, whole: NDArray[Any]
    ) -> None:
        assert (lazy.shape, lazy.dtype, lazy.ndim) == (whole.shape, whole.dtype, whole.ndim)
        assert (len(lazy), lazy.nbytes) == (len(whole), whole.nbytes)
        assert np.array_equal(np.asarray(lazy), whole)
        assert np.asarray(lazy, np.float64).dtype == np.float64
        assert lazy.__array__(np.float64).dtype == np.float64

    def test_an_array_without_a_copy_can_t_be_had(self, lazy: LazyEmbeddings) -> None:
        with pytest.raises(ValueError, match="without a copy"):
            np.array(lazy, copy=False)

    def test_rows_are_chosen_without_reading(
        self, lazy: LazyEmbeddings, whole: NDArray[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = lazy.take(np.array([9, 3, 12])).take([True, False, True])
        assert len(chosen.take([])) == 0
        assert np.array_equal(np.asarray(chosen), whole[[9, 12]])
        monkeypatch.setattr(Cache, "read", None)
        assert len(lazy.take([1, 2])) == 2

    def test_blocks_cover_all_rows_shard_by_shard(
        self, lazy: LazyEmbeddings, whole: NDArray[Any]
    ) -> None:
        seen = np.concatenate([where for where, _ in lazy.blocks()])
        assert sorted(seen) == list(range(len(lazy)))
        assert all(np.array_equal(part, whole[where]) for where, part in lazy.blocks())
        assert all(len(set(lazy.shard[where])) == 1 for where, _ in lazy.blocks())


class TestAsArrays:
    def test_labels_are_1_for_the_positive_class_and_groups_are_patients(
        self, cache: Cache
    ) -> None:
        X, y, groups = cache.as_arrays("train")
        table = cache.table(X.rows)
        assert set(table["split"]) == {"train"}
        assert y.tolist() == (table["label"] == "B").tolist()
        assert groups.tolist() == table["group"].tolist()

    @pytest.mark.parametrize(("copies", "most"), [(0, 0), (1, 1), (2, 2), (None, 2)])
    def test_copies_are_taken_up_to_a_number(
        self, cache: Cache, copies: int | None, most: int
    ) -> None:
        X, y, groups = cache.as_arrays("train", copies=copies)
        assert cache.table(X.rows)["copy"].max() == most
        assert len(X) == len(y) == len(groups) == (most + 1) * len(cache.as_arrays("train")[0])

    def test_every_split_or_some(self, cache: Cache) -> None:
        assert len(cache.as_arrays(None)[0]) == len(cache.images)
        both = cache.as_arrays(("val", "test"))[0]
        assert set(cache.table(both.rows)["split"]) == {"val", "test"}

    def test_a_split_that_is_not_there(self, cache: Cache) -> None:
        with pytest.raises(InputError, match="no image in split 'tset'"):
            cache.as_arrays("tset")

    def test_cross_validation_reads_one_fold_at_a_time(
        self, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        X, y, groups = cache.as_arrays(None, copies=None)
        flat = FunctionTransformer(lambda a: np.asarray(a).reshape(len(a), -1))
        head, folds = make_pipeline(flat, LogisticRegression()), GroupKFold(3)
        in_memory = cross_val_predict(head, np.asarray(X), y, groups=groups, cv=folds)
        sizes: list[int] = []
        original = Cache.read
        monkeypatch.setattr(
            Cache, "read", lambda self, rows: sizes.append(len(rows)) or original(self, rows)
        )
        assert np.array_equal(cross_val_predict(head, X, y, groups=groups, cv=folds), in_memory)
        assert len(sizes) == 6
        assert max(sizes) < len(X)


class TestReadingRowsThatLieApart:
    @pytest.mark.parametrize("rows", [[0, 5], [5, 0, 0], [4, 1], [3, 4, 5], [5], [1, 0]], ids=str)
    def test_they_come_in_the_order_asked_for(self, cache: Cache, rows: list[int]) -> None:
        path = cache.path / "shards" / cache.shard_names[0]
        wanted = np.array(rows)
        assert np.array_equal(read_embeddings(path, wanted), read_embeddings(path)[wanted])


class TestAllFinite:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_one_bad_number_is_found(self, dtype: Any, value: float) -> None:
        X = np.full((3, 4), np.finfo(dtype).max, dtype)
        assert all_finite(X)
        assert all_finite(-X[:, ::2])
        X[1, 2] = value
        assert not all_finite(X)

    def test_nothing_is_finite(self) -> None:
        assert all_finite(np.empty((0, 4), np.float16))
