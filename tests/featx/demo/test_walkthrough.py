"""The demo from end to end, as small as it can be."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from featx._run import load_run
from featx.demo import DemoResult, DemoSize, run_demo, write_phantoms
from featx.demo import _walkthrough as walkthrough
from featx.errors import InputError
from featx_cache import open_cache
from tests.folds import use_two_folds

SIZE = DemoSize(patients=12, input_size=32, copies=1, epochs=1)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report where nobody looks at it."""
    written = SimpleNamespace(html=Path("no-report.html"))
    page = SimpleNamespace(save=lambda *_, **__: written)
    monkeypatch.setattr(walkthrough, "report", lambda *_, **__: page)


class Notes:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, description: str, total: int, unit: str) -> Any:
        from featx._progress import SILENT

        return SILENT.task(description, total, unit)

    def note(self, message: str) -> None:
        self.lines.append(message)


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
    }


@pytest.fixture(autouse=True, scope="module")
def _quick(small_network: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two folds, one layer in the Keras head, and no pretrained weights on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        patch.setattr("featx.heads._keras_head.build_network", small_network)
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        patch.delenv("FEATX_WEIGHTS_DIR", raising=False)
        yield


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, notes: Notes) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("demo") / "out", SIZE, seed=3, progress=notes)


def test_everything_it_promises_is_there(made: DemoResult) -> None:
    out = made.cache.parent
    assert made.data == out / "phantoms" / "images"
    assert list((out / "phantoms" / "lesion_masks").rglob("*.png"))
    assert made.report == out / "report.html"
    assert made.report.stat().st_size > 50_000
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["keras", "logreg", "svm"]


def test_every_head_is_fitted_on_the_cache_and_measured_on_the_test_split(
    made: DemoResult,
) -> None:
    assert [run.record.head.name for run, _ in made.results] == ["keras", "svm", "logreg"]
    cache = open_cache(made.cache)
    assert cache.images["split"].nunique() == 3
    test = int((cache.images["split"] == "test").sum())
    for run, evaluation in made.results:
        assert evaluation.split == "test"
        assert evaluation.metrics.images == test
        assert run.record.copies == 1
        assert load_run(run.path).record == run.record


def test_without_pretrained_weights_it_says_that_the_embeddings_are_untrained(
    made: DemoResult, notes: Notes
) -> None:
    assert made.weights == "random"
    assert any("untrained" in line for line in notes.lines)
    assert "untrained" in made.report.read_text()


def test_a_floor_that_cannot_be_kept_is_said_and_a_lower_one_is_taken(
    made: DemoResult, notes: Notes
) -> None:
    for run, _ in made.results:
        missed = f"{run.record.head.name}: no threshold reaches accuracy 0.9"
        said = any(line.startswith(missed) for line in notes.lines)
        assert said == (run.record.accuracy_floor < 0.9)
        assert run.record.metrics["out_of_fold"]["accuracy"] >= run.record.accuracy_floor


@pytest.mark.usefixtures("without_report")
def test_running_it_again_goes_on_and_gives_the_same_numbers(
    made: DemoResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made.cache.parent
    images, shards = digests(made.data, "*.png"), digests(made.cache, "shard-*")
    written = {path: path.stat().st_mtime_ns for path in (made.cache / "shards").iterdir()}
    # The network takes most of the time, and featx.runs tests that it repeats.
    monkeypatch.setattr(walkthrough, "DEMO_HEADS", ("svm", "logreg"))
    again = run_demo(out, SIZE, seed=3)
    assert digests(made.data, "*.png") == images
    assert digests(made.cache, "shard-*") == shards
    assert {path: path.stat().st_mtime_ns for path in written} == written
    for (_, one), (_, other) in zip(made.results[1:], again.results, strict=True):
        assert one.metrics == other.metrics
        pd.testing.assert_frame_equal(one.scores, other.scores)


def test_a_demo_that_was_interrupted_while_drawing_draws_anew(
    made: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> NoReturn:
        raise KeyboardInterrupt

    draw = write_phantoms

    def draw_and_stop(*arguments: Any, **options: Any) -> NoReturn:
        draw(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(walkthrough, "load_manifest", interrupt)  # the next step
    monkeypatch.setattr(walkthrough, "write_phantoms", draw_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", SIZE, seed=3)
    assert not (tmp_path / "out" / "phantoms").exists()
    monkeypatch.setattr(walkthrough, "write_phantoms", draw)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", SIZE, seed=3)
    assert digests(tmp_path / "out" / "phantoms" / "images", "*.png") == digests(made.data, "*.png")
    masks = digests(made.cache.parent / "phantoms" / "lesion_masks", "*.png")
    assert digests(tmp_path / "out" / "phantoms" / "lesion_masks", "*.png") == masks


@pytest.mark.usefixtures("without_report")
def test_another_folder_with_the_same_seed_gets_the_same_images_embeddings_and_scores(
    made: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walkthrough, "DEMO_HEADS", ("logreg",))
    other = run_demo(tmp_path / "out", SIZE, seed=3)
    assert digests(other.data, "*.png") == digests(made.data, "*.png")
    caches = [open_cache(result.cache) for result in (made, other)]
    rows = caches[0].row_numbers(splits=None, copies=True)
    one, two = (cache.read(rows).astype(np.float32) for cache in caches)
    assert one == pytest.approx(two, rel=1e-3, abs=1e-4)
    scores = [result.results[-1][1].scores["score"].to_numpy() for result in (made, other)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize("changed", [{"seed": 4}, {"size": dataclasses.replace(SIZE, patients=13)}])
def test_a_demo_of_another_size_or_seed_is_not_mixed_in(
    made: DemoResult, changed: dict[str, Any]
) -> None:
    before = digests(made.cache.parent, "*.png")
    with pytest.raises(InputError, match="another size or seed"):
        run_demo(made.cache.parent, changed.get("size", SIZE), seed=changed.get("seed", 3))
    assert digests(made.cache.parent, "*.png") == before


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and not a demo"):
        run_demo(tmp_path, SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        run_demo(tmp_path / "out", SIZE)
    assert (tmp_path / "out").read_text() == "mine"
