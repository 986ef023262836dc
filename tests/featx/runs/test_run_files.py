"""The files of a run: hashed when written, checked when read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from featx._run import load_run
from featx.errors import InputError
from featx_cache import open_cache


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run that may be damaged."""
    shutil.copytree(tiny_run, tmp_path / "run")
    return tmp_path / "run"


def test_every_file_beside_the_record_has_a_hash(run: Path) -> None:
    names = {path.name for path in run.iterdir() if path.is_file()} - {"run.json"}
    assert set(load_run(run).record.files) == names


@pytest.mark.parametrize("name", ["head.skops", "oof.csv", "training.txt", "reference.h5"])
def test_a_changed_file_is_told_of(run: Path, name: str) -> None:
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is damaged"):
        load_run(run).file(name)


def test_a_file_that_is_gone_is_told_of(run: Path) -> None:
    (run / "reference.h5").unlink()
    with pytest.raises(InputError, match=r"the run has no reference\.h5"):
        _ = load_run(run).reference


def test_a_run_of_an_earlier_version_has_no_reference() -> None:
    old = load_run(Path(__file__).parent / "fixtures" / "run-schema-2-svm")
    with pytest.raises(InputError, match="an earlier version of featx fitted it"):
        _ = old.reference
    assert len(old.out_of_fold) == 40


def test_the_reference_is_of_the_images_that_were_fitted_on(run: Path) -> None:
    opened = load_run(run)
    cache = open_cache(opened.record.cache)
    rows = cache.row_numbers(splits=("train", "val"), copies=False)
    assert opened.reference.table["path"].tolist() == cache.table(rows)["path"].tolist()
    grid = cache.read(rows).astype(np.float32)
    assert opened.reference.vectors == pytest.approx(grid.mean(axis=(1, 2)), abs=1e-3)


def test_out_of_fold_scores_are_those_of_the_record(run: Path) -> None:
    opened = load_run(run)
    table = opened.out_of_fold
    called = table["score"] >= opened.record.threshold
    accuracy = (called == (table["label"] == opened.record.classes[1])).mean()
    assert accuracy == pytest.approx(opened.record.metrics["out_of_fold"]["accuracy"])


def test_a_recalibrated_run_maps_all_its_scores(run: Path, tiny_cache: Path) -> None:
    before = load_run(run)
    record = json.loads((run / "run.json").read_text())
    del record["checksum"]
    record["recalibration"] = {"method": "prior", "slope": 1.0, "intercept": float(np.log(3))}
    (run / "run.json").write_text(json.dumps(record))
    after = load_run(run)

    def odds(scores: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(scores, np.float64)
        return values / (1 - values)

    embeddings = open_cache(tiny_cache).read(np.arange(4))
    assert odds(after.score(embeddings)) == pytest.approx(3 * odds(before.score(embeddings)))
    assert odds(after.out_of_fold["score"]) == pytest.approx(3 * odds(before.out_of_fold["score"]))
    scores = [run.evaluate(split="test").scores["score"] for run in (before, after)]
    assert odds(scores[1]) == pytest.approx(3 * odds(scores[0]))


def test_the_band_is_around_the_threshold(run: Path) -> None:
    record = load_run(run).record
    assert record.band is not None
    assert record.band[0] <= record.threshold <= record.band[1]
