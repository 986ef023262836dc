"""Batches for the Keras head: rows in a seeded order, from memory or from disk."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.heads import _batches as module
from featx.heads._batches import Batches, Embeddings, prefetched, rows_of_images
from featx_cache import Cache

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

COPIES = 2


def number(made: Contents) -> None:
    """Write each row's number into its embedding."""
    made.embeddings[:] = 0
    made.embeddings[:, 0, 0, 0] = np.arange(len(made.embeddings))


@pytest.fixture(scope="module")
def cache(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return make_cache(tmp_path_factory.mktemp("batches") / "cache", copies=COPIES, change=number)


@pytest.fixture(params=["memory", "disk"])
def batches(request: pytest.FixtureRequest, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make batches. Those on disk have buffers of 12 rows."""
    X, y, _ = cache.as_arrays("train", copies=None)
    monkeypatch.setattr(module, "BUFFER_BYTES", 12 * X.nbytes // len(X))
    image = cache.rows["image"].to_numpy()[X.rows]
    array: Embeddings = X if request.param == "disk" else np.asarray(X)
    weights = y.astype(np.float32) + 1

    def make(copies: Any = "one", batch_size: int = 4, seed: int = 0) -> Batches:
        rows = rows_of_images(image)
        return Batches(array, y.astype(np.float32), weights, rows, copies, batch_size, seed)

    make.rows, make.image, make.y = X.rows, image, y  # type: ignore[attr-defined]
    return make


def drawn(made: Batches, epoch: int) -> NDArray[Any]:
    """Numbers of the cache's rows that an epoch shows, in its order."""
    return np.concatenate([X[:, 0, 0, 0] for X, _, _ in made.epoch(epoch)]).astype(int)


class TestEpochs:
    def test_all_copies_come_once(self, batches: Any) -> None:
        made = batches("all")
        assert sorted(drawn(made, 0)) == batches.rows.tolist()
        assert made.rows_an_epoch == len(batches.rows)

    def test_one_copy_of_each_image_comes_once_and_others_next_time(
        self, batches: Any, cache: Cache
    ) -> None:
        made = batches("one")
        images = cache.rows["image"].to_numpy()
        epochs = [drawn(made, epoch) for epoch in range(4)]
        for epoch in epochs:
            assert sorted(images[epoch]) == sorted(set(batches.image))
        assert len({tuple(sorted(epoch)) for epoch in epochs}) == 4
        assert set(cache.rows["copy"].to_numpy()[np.concatenate(epochs)]) == set(range(COPIES + 1))

    @pytest.mark.parametrize("copies", ["one", "all"])
    @pytest.mark.parametrize("batch_size", [1, 4, 5, 1000])
    def test_batches_are_full_but_the_last(
        self, batches: Any, copies: str, batch_size: int
    ) -> None:
        made = batches(copies, batch_size)
        sizes = [len(X) for X, _, _ in made.epoch(0)]
        assert len(sizes) == made.steps
        assert set(sizes[:-1]) <= {batch_size}
        assert sum(sizes) == made.rows_an_epoch

    def test_targets_and_weights_are_those_of_the_rows(self, batches: Any) -> None:
        position = {row: n for n, row in enumerate(batches.rows.tolist())}
        for X, targets, weights in batches("all").epoch(0):
            y = batches.y[[position[int(row)] for row in X[:, 0, 0, 0]]]
            assert np.array_equal(targets, y)
            assert np.array_equal(weights, y + 1)

    def test_the_order_depends_on_seed_and_epoch_alone(self, batches: Any) -> None:
        first = drawn(batches(), 3)
        made = batches()
        assert [drawn(made, epoch).tolist() for epoch in (0, 1, 2, 3)][-1] == first.tolist()
        assert drawn(made, 4).tolist() != first.tolist()
        assert drawn(batches(seed=1), 3).tolist() != first.tolist()

    def test_the_same_rows_come_in_another_order_each_epoch(self, batches: Any) -> None:
        made = batches("all")
        orders = [drawn(made, epoch).tolist() for epoch in range(3)]
        assert len({tuple(order) for order in orders}) == 3
        assert batches.rows.tolist() not in orders

    def test_going_on_from_an_epoch_is_its_place_in_the_whole(self, batches: Any) -> None:
        made = batches()
        onward = made.forever(2)
        shown = np.concatenate([next(onward)[0][:, 0, 0, 0] for _ in range(made.steps)])
        assert np.array_equal(shown, drawn(made, 2))


@pytest.mark.parametrize("batches", ["disk"], indirect=True)
class TestOnDisk:
    def test_buffers_are_of_whole_batches_and_mix_the_shards_that_they_span(
        self, batches: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        original = Cache.read

        def read(self: Cache, rows: NDArray[np.intp]) -> NDArray[Any]:
            sizes.append(len(rows))
            return original(self, rows)

        monkeypatch.setattr(Cache, "read", read)
        shards = cache.shard_of(drawn(batches("all", batch_size=5), 0))
        assert set(sizes[:-1]) == {10}  # whole batches; a shard's 48 rows don't fill five buffers
        buffers = [shards[start : start + 10] for start in range(0, len(shards), 10)]
        mixed = [buffer for buffer in buffers if len(set(buffer)) > 1]
        assert len(mixed) == 1
        assert (np.diff(mixed[0]) != 0).sum() > 1

    def test_shards_come_in_another_order_in_another_epoch(
        self, batches: Any, cache: Cache
    ) -> None:
        made = batches("all")
        firsts = {int(cache.shard_of(drawn(made, epoch))[0]) for epoch in range(8)}
        assert len(firsts) == 2


def test_numbers_that_are_not_finite_are_an_error(make_cache: MakeCache, tmp_path: Path) -> None:
    def spoil(made: Contents) -> None:
        made.embeddings[5, 0, 0, 3] = np.nan

    X, y, _ = make_cache(tmp_path / "cache", change=spoil).as_arrays(None, copies=None)
    one = [np.array([row]) for row in range(len(X))]
    targets = y.astype(np.float32)
    made = Batches(X, targets, targets, one, "one", 8, 0)
    with pytest.raises(ValueError, match="NaN"):
        list(zip(range(made.steps), made.forever(0), strict=False))
    assert len(made.failures) == 1


def test_tensorflow_gets_the_batches_as_they_are() -> None:
    X = np.arange(10, dtype=np.float16)[:, None]
    y = np.ones(10, np.float32)
    made = Batches(X, y, 2 * y, [np.array([row]) for row in range(10)], "one", 4, 0)
    one = (None,)
    with prefetched(
        lambda: made.forever(0), ((None, 1), np.float16), (one, np.float32), (one, np.float32)
    ) as data:
        taken = list(data.take(made.steps))
    assert [len(rows) for rows, _, _ in taken] == [4, 4, 2]
    assert (
        sorted(float(row) for rows, _, _ in taken for row in rows.numpy()[:, 0]) == X[:, 0].tolist()
    )
    assert taken[0][0].dtype == "float16"


def test_batches_are_dropped_when_the_block_ends() -> None:
    class Source:
        def __call__(self) -> Iterator[tuple[NDArray[Any], ...]]:
            yield (np.zeros((1, 1), np.float32),)

    source = Source()
    held = weakref.ref(source)
    with prefetched(source, ((None, 1), np.float32)) as data:
        assert len(list(data)) == 1
        del source
        gc.collect()
        assert held() is not None
    gc.collect()
    assert held() is None
