"""Runs side by side, parts of the images, another population, and heat maps of the worst errors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from featx._run import load_run
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.populations import calibrate
from featx.reports import report
from featx.reports._heat_maps import side_by_side
from featx.scoring import score_images
from featx.scoring._comparison import compare_scored
from tests.featx.reports.conftest import Page, Sample

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache


@pytest.fixture(scope="module")
def two(made: Sample, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Path]:
    """A report of two runs, and where the second is."""
    folder = tmp_path_factory.mktemp("two")
    other = fit(made.cache, HeadSpec.choose("knn"), folder / "knn", accuracy_floor=0.6).path
    return Page(report([made.run, other], by="split", progress=False)), other


@pytest.mark.long
def test_runs_are_compared_with_the_first_on_the_same_images(
    made: Sample, two: tuple[Page, Path]
) -> None:
    page, other = two
    runs = [load_run(made.run), load_run(other)]
    found = compare_scored([(run, score_images(run, made.cache)) for run in runs])
    (area,) = [d for d in found.differences if d.method == "delong"]
    section = page.text.split("Comparison of runs")[-1].split("TRIPOD")[1]
    assert "Against logreg, split test of cache" in section
    assert "Against logreg, out of fold" in section
    assert area.interval is not None
    between = f"({area.interval.low:+.3f} – {area.interval.high:+.3f})"
    assert f"{area.difference:+.4f} {between}" in section


def test_one_run_is_compared_with_none(made: Sample) -> None:
    assert "Comparison of runs" not in made.page.text


def test_images_are_divided_by_the_column_that_was_asked_for(two: tuple[Page, Path]) -> None:
    assert "logreg by split, split test of cache" in two[0].text


@pytest.mark.usefixtures("words_only")
def test_a_column_that_is_not_there_is_listed_as_missing(made: Sample) -> None:
    page = report(made.run, by=["hospital"], evaluate=False, progress=False)
    (item,) = [item for item in page.missing if "hospital" in item.what]
    assert "hospital" in item.why
    assert "by hospital" in Page(page).text.split("What couldn't be shown")[-1]


@pytest.mark.usefixtures("words_only")
def test_another_population_is_said_to_be_one(
    made: Sample, make_cache: MakeCache, tmp_path: Path
) -> None:
    def change(contents: Contents) -> None:
        contents.embeddings += 2.0
        contents.images["sha256"] = [value[::-1] for value in contents.images["sha256"]]

    other = make_cache(tmp_path / "elsewhere", patients=60, change=change)
    page = Page(report(made.run, caches=other.path, split="all", progress=False))
    section = page.text.split("Is it the same population?")[-1].split("The most wrong")[0]
    assert "all of elsewhere: This population differs from the training population" in section
    assert any(words.startswith("Cumulative distance of all of") for words in page.words)


@pytest.mark.usefixtures("words_only")
def test_a_repaired_operating_point_is_said_to_come_from_elsewhere(
    made: Sample, make_cache: MakeCache, tmp_path: Path
) -> None:
    def change(contents: Contents) -> None:
        contents.images["sha256"] = [value[::-1] for value in contents.images["sha256"]]

    run = load_run(made.run)
    there = make_cache(tmp_path / "elsewhere", change=change)
    images = score_images(run, there, "all", keep_known_patients=True)
    calibrate(run, images, tmp_path / "local", accuracy_floor=0.6)
    text = Page(report(tmp_path / "local", progress=False)).text
    assert "on 48 images of 24 patients from elsewhere and not out of fold" in text
    new = load_run(tmp_path / "local").record.threshold
    assert f"threshold {run.record.threshold:.4g} {new:.4g}" in text
    assert "Not so local" in text


def test_worst_errors_are_shown_with_heat_maps_that_are_told_in_words(made: Sample) -> None:
    assert "Heat maps by class activation" in made.page.text
    wrong = [words for words in made.page.words if words.startswith(("miss:", "false alarm:"))]
    assert wrong
    assert all("beside it with its heat map, strongest at the" in words for words in wrong)
    file = next(made.written.figures.glob("wrong-*.jpg"))
    width, height = Image.open(io.BytesIO(file.read_bytes())).size
    assert width == 2 * height


def test_a_heat_map_colours_the_half_beside_the_image() -> None:
    pixels = np.full((64, 64, 1), 120.0, np.float32)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1.0
    both = side_by_side(pixels, heat)
    assert both.shape == (64, 128, 3)
    np.testing.assert_array_equal(both[:, :64], 120.0)
    red, blue = both[2:14, 66:78, 0].mean(), both[2:14, 66:78, 2].mean()
    assert red > blue + 30  # orange
    assert np.ptp(both[40:, 100:].mean(axis=(0, 1))) < 3  # grey, far from the peak


@pytest.mark.usefixtures("words_only")
def test_out_of_fold_errors_come_with_the_remark_that_the_head_knew_them(made: Sample) -> None:
    page = Page(report(made.run, evaluate=False, progress=False))
    assert "which was fitted on these images too" in page.text


def test_embeddings_of_one_cell_have_no_map_and_that_is_said(tiny_run: Path) -> None:
    page = report(tiny_run, progress=False)
    assert any("have no map" in item.why for item in page.missing)
