"""Embeddings that are read when they are used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from featx_cache import Cache, InputError, LazyEmbeddings, open_cache
from featx_cache._embeddings import all_finite

if TYPE_CHECKING:
    from tests.cache.conftest import Sample


@pytest.fixture
def cache(made: Sample) -> Cache:
    return open_cache(made.folder)


@pytest.fixture
def lazy(cache: Cache) -> LazyEmbeddings:
    return cache.as_arrays(("train", "val"), copies=None)[0]


@pytest.fixture
def whole(made: Sample) -> NDArray[Any]:
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

        def read(self: Cache, rows: NDArray[np.intp]) -> NDArray[Any]:
            sizes.append(len(rows))
            return original(self, rows)

        monkeypatch.setattr(Cache, "read", read)
        assert np.array_equal(cross_val_predict(head, X, y, groups=groups, cv=folds), in_memory)
        assert len(sizes) == 6
        assert max(sizes) < len(X)


class TestToNumpyAndFrames:
    def test_the_untouched_images_of_all_splits_are_read(self, cache: Cache, made: Sample) -> None:
        X, y, groups = cache.to_numpy()
        untouched = [row for row, (_, copy) in enumerate(made.pairs) if copy == 0]
        np.testing.assert_array_equal(X, made.embeddings[untouched])
        assert (len(y), len(groups)) == (6, 6)
        assert len(cache.to_numpy("train", copies=1)[0]) == 8

    def test_a_frame_has_one_row_an_image_and_the_mean_of_each_channel(
        self, cache: Cache, made: Sample
    ) -> None:
        frame = cache.to_frame("train", pooled=True)
        assert frame["path"].tolist() == made.images["path"].tolist()[:4]
        means = made.embeddings[[0, 3, 6, 9]].astype(np.float32).mean(axis=(1, 2))
        names = [f"embedding_{number}" for number in range(8)]
        np.testing.assert_allclose(frame[names].to_numpy(), means, rtol=1e-6)
        assert cache.to_frame().columns.tolist() == made.images.columns.tolist()

    def test_parquet_holds_the_frame_and_is_not_replaced_by_chance(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        cache.to_parquet(tmp_path / "new" / "x.parquet", pooled=True)
        held = pd.read_parquet(tmp_path / "new" / "x.parquet")
        pd.testing.assert_frame_equal(held, cache.to_frame(pooled=True), check_dtype=False)
        with pytest.raises(InputError, match="exists already"):
            cache.to_parquet(tmp_path / "new" / "x.parquet")
        cache.to_parquet(tmp_path / "new" / "x.parquet", split="val", force=True)
        assert len(pd.read_parquet(tmp_path / "new" / "x.parquet")) == 1
        with pytest.raises(InputError, match=r"Name it \.parquet"):
            cache.to_parquet(cache.path / "index.h5", force=True)

    def test_a_cache_shows_what_it_holds(self, cache: Cache) -> None:
        assert repr(cache) == "Cache(none, 6 images, 14 embeddings of 3x3x8 float16)"
        assert cache.counts().index.tolist() == ["train", "val", "test"]
        html = cache._repr_html_()
        assert "<td>up to 2</td>" in html
        assert "<th>train</th>" in html


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
