"""Several extractions of one cache at once: nothing is done twice, nothing is lost."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx._progress import Silent
from featx.backbones import Backbone
from featx.data import load_manifest
from featx.errors import SpecMismatchError
from featx.extraction import ExtractionOptions, ExtractionReport, extract_images
from featx.images import AugmentationSpec
from featx_cache import open_cache
from featx_cache.files import Claims

if TYPE_CHECKING:
    from tests.featx.extraction.conftest import Counting

ONE_COPY = AugmentationSpec(copies=1)
FOUR_ROWS = ExtractionOptions(rows_per_shard=4)


def run(data: Path, cache: Path, backbone: Backbone, **arguments: Any) -> ExtractionReport:
    chosen: dict[str, Any] = {"augmentation": ONE_COPY, "options": FOUR_ROWS} | arguments
    return extract_images(load_manifest(data), cache, backbone, **chosen)


def embeddings(cache: Path) -> NDArray[np.floating]:
    opened = open_cache(cache)
    assert all(error is None for _, error in opened.verify())
    return opened.read(np.arange(len(opened.rows)))


def gated(backbone: Backbone) -> tuple[Backbone, threading.Event, threading.Event]:
    """A backbone that says when it is first used, and then waits to be let go on."""
    started, go = threading.Event(), threading.Event()

    def forward(images: NDArray[np.float32]) -> Any:
        started.set()
        assert go.wait(60)
        return backbone._forward(images)

    return dataclasses.replace(backbone, _forward=forward), started, go


def test_the_second_makes_what_the_first_is_not_making_and_waits_for_the_rest(
    small_data: Path, counted: Counting, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    slow, started, go = gated(tiny_backbone)
    reports: dict[str, ExtractionReport] = {}
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)
            go.set()  # the second has done all it can

    def first() -> None:
        # It decodes four batches ahead, and claims no more than that.
        options = ExtractionOptions(rows_per_shard=4, batch_size=1)
        reports["first"] = run(small_data, tmp_path / "shared", slow, options=options)

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(60)
    reports["second"] = run(small_data, tmp_path / "shared", counted.backbone, progress=Notes())
    thread.join()
    assert len(notes) == 1
    assert "Another featx extract is making" in notes[0]
    one, other = reports["first"], reports["second"]
    assert one.new_rows + other.new_rows == 16, "no row was computed twice"
    assert 0 < one.new_rows < 16
    assert sum(counted.batches) == other.new_rows == one.rows_by_others
    assert other.rows_by_others == one.new_rows
    run(small_data, tmp_path / "alone", tiny_backbone)
    np.testing.assert_array_equal(embeddings(tmp_path / "shared"), embeddings(tmp_path / "alone"))
    assert not list((tmp_path / "shared").rglob(".shard-*"))


def test_one_that_dies_is_stood_in_for(
    small_data: Path, counted: Counting, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    """The first claims shards and never makes them. Its claims end while the second waits."""
    run(small_data, tmp_path / "alone", tiny_backbone)
    shards = open_cache(tmp_path / "alone").shard_names
    folder = tmp_path / "cache" / "shards"
    folder.mkdir(parents=True)
    dead = Claims(folder)
    assert dead.take(shards[0])
    assert dead.take(shards[2])
    threading.Timer(2.0, dead.release_all).start()
    report = run(small_data, tmp_path / "cache", counted.backbone)
    assert report.new_rows == 16
    np.testing.assert_array_equal(embeddings(tmp_path / "cache"), embeddings(tmp_path / "alone"))


def test_other_settings_are_refused_while_the_first_shard_is_in_the_making(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    slow, started, go = gated(tiny_backbone)
    thread = threading.Thread(target=run, args=(small_data, tmp_path / "cache", slow))
    thread.start()
    assert started.wait(60)
    try:
        with pytest.raises(SpecMismatchError, match=r"augmentation\.copies: 1 -> 2"):
            run(
                small_data,
                tmp_path / "cache",
                tiny_backbone,
                augmentation=AugmentationSpec(copies=2),
            )
    finally:
        go.set()
        thread.join()
    assert len(embeddings(tmp_path / "cache")) == 16


def test_settings_may_change_after_a_start_that_achieved_nothing(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    (cache / "shards").mkdir(parents=True)
    (cache / "spec.json").write_text('{"backbone": "another", "augmentation": {}}')
    assert run(small_data, cache, tiny_backbone).rows == 16


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
def test_a_damaged_note_of_the_spec_is_written_anew(
    small_data: Path, tiny_backbone: Backbone, tmp_path: Path, text: str
) -> None:
    cache = tmp_path / "cache"
    run(small_data, cache, tiny_backbone)
    (cache / "spec.json").write_bytes(text.encode("latin-1"))
    assert run(small_data, cache, tiny_backbone).new_rows == 0
    assert '"vgg16"' in (cache / "spec.json").read_text()
