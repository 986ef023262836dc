"""The batch size: found by trying, and cut when memory runs out."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx._progress import Silent
from featx._run import load_run
from featx.backbones import Backbone, load_backbone
from featx.errors import OutOfMemoryError
from featx.extraction import ExtractionOptions, extract
from featx.extraction import _batch_size as batching
from featx.extraction._batch_size import probe_batch_size
from featx.extraction._pipeline import embed_filled
from featx.fitting import fit
from featx.heads import HeadSpec


def small_memory(backbone: Backbone, room: int, batches: list[int]) -> Backbone:
    """A backbone with room for so many images. It notes its batches, refused ones below zero."""
    import tensorflow as tf

    def forward(images: NDArray[np.float32]) -> Any:
        if len(images) > room:
            batches.append(-len(images))
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        batches.append(len(images))
        return backbone._forward(images)

    return dataclasses.replace(backbone, _forward=forward)


class TestOutOfMemory:
    def test_batches_are_halved_and_stay_so(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        batches: list[int] = []
        tight = small_memory(tiny_backbone, 3, batches)
        options = ExtractionOptions(batch_size=4)
        one, other = (
            extract(small_data, tmp_path / name, backbone, copies=1, options=options)
            for name, backbone in (("tight", tight), ("roomy", tiny_backbone))
        )
        assert {size for size in batches if size > 0} == {2}
        # The next batch may be on its way when the first of four turns out to be too large.
        assert 1 <= sum(size < 0 for size in batches) <= 2
        np.testing.assert_allclose(
            one.read(np.arange(16)).astype(np.float32),
            other.read(np.arange(16)).astype(np.float32),
            rtol=2e-3,
            atol=1e-3,
        )

    def test_where_not_even_one_image_fits_the_error_says_what_to_do(
        self, small_data: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        with pytest.raises(OutOfMemoryError, match=r"memory.* smaller `batch_size`"):
            extract(small_data, tmp_path / "c", small_memory(tiny_backbone, 0, []))
        assert not (tmp_path / "c").exists()


class TestCompany:
    """Whatever else is in its batch, an image has the same embedding, bit for bit."""

    @pytest.fixture(scope="class")
    def mobile(self) -> Backbone:
        """A network that computes a batch of one in another way than a batch of eight."""
        return load_backbone(
            "mobilenetv2",
            weights="random",
            input_size=64,
            precision="float32",
            runtime="tensorflow",
        )

    def test_alone_or_among_others_in_any_order(self, mobile: Backbone) -> None:
        random = np.random.default_rng(0)
        images = [random.integers(0, 256, (64, 64, 1)).astype(np.float32) for _ in range(8)]
        together = embed_filled(mobile, images, 8)
        for number, image in enumerate(images):
            np.testing.assert_array_equal(embed_filled(mobile, [image], 8)[0], together[number])
        np.testing.assert_array_equal(embed_filled(mobile, images[::-1], 8)[::-1], together)
        coloured = [*images[:3], np.zeros((64, 64, 3), np.float32)]
        np.testing.assert_array_equal(embed_filled(mobile, coloured, 8)[:3], together[:3])

    def test_grey_beside_colour_in_a_network_of_one_channel(self, tmp_path: Path) -> None:
        import keras

        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        model.save(tmp_path / "model.keras")
        one = load_backbone(str(tmp_path / "model.keras"), precision="float32")
        random = np.random.default_rng(0)
        drawn = [random.uniform(0, 255, (8, 8, channels)) for channels in (1, 3, 1)]
        images = [image.astype(np.float32) for image in drawn]
        together = embed_filled(one, images, 4)
        for image, embedding in zip(images, together, strict=True):
            np.testing.assert_array_equal(embed_filled(one, [image], 4)[0], embedding)

    def test_in_whatever_shard(self, small_data: Path, mobile: Backbone, tmp_path: Path) -> None:
        caches = []
        for rows in (16, 9, 3):
            options = ExtractionOptions(rows_per_shard=rows)
            folder = tmp_path / str(rows)
            cache = extract(
                small_data, folder, mobile, copies=1, storage_dtype="float32", options=options
            )
            caches.append(cache.read(np.arange(16)))
        np.testing.assert_array_equal(caches[1], caches[0])
        np.testing.assert_array_equal(caches[2], caches[0])

    def test_in_a_prediction(self, small_data: Path, mobile: Backbone, tmp_path: Path) -> None:
        cache = extract(small_data, tmp_path / "cache", mobile, copies=0, storage_dtype="float32")
        given: list[NDArray[np.floating]] = []
        run = load_run(
            fit(cache, HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.5).path
        )

        def noting(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
            given.append(embeddings.copy())
            return scores(embeddings)

        scores, run.head_scores = run.head_scores, noting  # type: ignore[method-assign, assignment]
        paths = [small_data / path for path in cache.images["path"]]
        together = list(run.predict(paths, backbone=mobile))
        np.testing.assert_array_equal(np.concatenate(given)[:10], cache.read(np.arange(10)))
        assert [run.predict(path, backbone=mobile)[0] for path in paths] == together
        assert list(run.predict(paths[::-1], backbone=mobile))[::-1] == together


class TestProbe:
    @pytest.fixture
    def timed(self, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Makes backbones of given speed: the clock goes by what their passes are said to take."""
        clock = [0.0]
        monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

        def make(seconds: Any) -> Backbone:
            def forward(images: NDArray[np.float32]) -> Any:
                clock[0] += seconds(len(images))
                return tiny_backbone._forward(images[:1])

            return dataclasses.replace(tiny_backbone, _forward=forward)

        return make

    def test_grows_as_long_as_it_pays(self, timed: Any) -> None:
        # A fixed cost a pass, up to 16 images; beyond it every image costs.
        slow = timed(lambda rows: 0.2 + max(0, rows - 16) * 0.05)
        size, speeds = probe_batch_size(slow)
        assert size == 16
        assert list(speeds) == [4, 8, 16, 32]

    def test_stops_at_once_where_size_is_no_matter(self, timed: Any) -> None:
        size, speeds = probe_batch_size(timed(lambda rows: 0.06 * rows))
        assert size == 4
        assert list(speeds) == [4, 8]

    def test_ends_where_memory_ends(self, timed: Any) -> None:
        slow = timed(lambda _: 0.1)
        assert probe_batch_size(small_memory(slow, 8, []))[0] == 8
        assert probe_batch_size(small_memory(slow, 2, []))[0] == 1

    def test_is_made_where_there_is_enough_to_do_and_said(
        self,
        small_data: Path,
        tiny_backbone: Backbone,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        notes: list[str] = []

        class Recorder(Silent):
            def note(self, message: str) -> None:
                notes.append(message)

        extract(small_data, tmp_path / "a", tiny_backbone, progress=Recorder())
        assert notes == []
        module = sys.modules["featx.extraction._extract_images"]
        monkeypatch.setattr(module, "ROWS_PER_PROBED_ROW", 1)
        extract(small_data, tmp_path / "b", tiny_backbone, progress=Recorder())
        assert len(notes) == 1
        assert notes[0].startswith("Batch size ")
