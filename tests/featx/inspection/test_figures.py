"""Figures of a data set: all there, readable, and true."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from featx.data import Manifest, load_manifest
from featx.errors import InputError
from featx.images import AugmentationSpec, preset_augmentation
from featx.inspection import show_data
from featx.inspection._figures import (
    copies_figure,
    counts_figure,
    draw_labels,
    image_figure,
    mean_images,
    means_figure,
    proportions_figure,
    samples_figure,
    sizes_figure,
)

NAMES = ["counts", "proportions", "sizes", "samples", "one-image", "mean-images", "copies"]


@pytest.fixture(scope="module")
def manifest(phantom_data: Path) -> Manifest:
    return load_manifest(phantom_data)


def texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]


@pytest.mark.long
def test_every_figure_is_there_as_png_and_svg(manifest: Manifest, tmp_path: Path) -> None:
    paths = list(show_data(manifest, tmp_path / "new" / "figures"))
    assert [path.stem for path in paths] == NAMES
    for path in paths:
        with Image.open(path) as image:
            assert image.width >= 700
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 5
        assert path.with_suffix(".svg").read_text().startswith("<?xml")
    assert len(list((tmp_path / "new" / "figures").iterdir())) == 2 * len(NAMES)


def test_counts_and_shares_have_their_numbers() -> None:
    counts = pd.DataFrame({"WELL": [1341, 8], "SICK": [3875, 8]}, index=["train", "val"])
    assert {"1,341", "3,875", "8", "train", "val", "WELL", "SICK"} <= set(
        texts(counts_figure(counts))
    )
    shares = texts(proportions_figure(counts))
    assert {"1,341", "3,875", "8", "1,349", "3,883", "train", "val", "all"} <= set(shares)


def test_labels_with_formulas_in_them_are_labels(manifest: Manifest) -> None:
    counts = pd.DataFrame({"$a_b$": [3], "x^2": [4]}, index=["train"])
    figure = counts_figure(counts)
    figure.savefig("/dev/null", format="png")
    assert r"\$a_b\$" in texts(figure)
    table = manifest.table.head(2).assign(label=["$x", "y$"])
    odd = Manifest(manifest.root, table, ("$x", "y$"))
    samples_figure(odd, [(0, np.zeros((4, 4, 1), np.float32))]).savefig("/dev/null", format="png")


@pytest.mark.parametrize("drawn", ["counts", "proportions", "sizes", "samples", "means", "one"])
def test_long_labels_neither_overlap_nor_leave_the_figure(manifest: Manifest, drawn: str) -> None:
    names = ("nothing found by two readers in 2019", "pneumonia, confirmed by PCR and culture")
    label = manifest.table["label"].map(dict(zip(manifest.classes, names, strict=True)))
    long = Manifest(manifest.root, manifest.table.assign(label=label), names)
    pixels = np.zeros((4, 4, 1), np.float32)
    figure = {
        "counts": lambda: counts_figure(long.counts()),
        "proportions": lambda: proportions_figure(long.counts()),
        "sizes": lambda: sizes_figure(long),
        "samples": lambda: samples_figure(long, [(i, pixels) for i in range(25)]),
        "means": lambda: means_figure([np.zeros((4, 4)), np.ones((4, 4))], 3, names),
        "one": lambda: image_figure(long, 0, pixels),
    }[drawn]()
    figure.savefig(io.BytesIO(), format="png")
    page = figure.bbox
    shown = [axes.title for axes in figure.axes]
    shown += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [text.get_window_extent() for text in shown if text.get_text()]
    assert any("…" in text.get_text() for text in shown)
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_means_are_means(tmp_path: Path) -> None:
    for label, values in (("A", (10, 30)), ("B", (100, 200, 240))):
        for value in values:
            path = tmp_path / label / f"{value}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (20, 20), value).save(path)
    means, number = mean_images(load_manifest(tmp_path))
    np.testing.assert_allclose(means[0], 20.0)
    np.testing.assert_allclose(means[1], 180.0)
    assert number == 3


def test_unreadable_images_are_passed_over(phantom_data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(phantom_data, tmp_path / "data")
    manifest = load_manifest(tmp_path / "data")
    for path in manifest.table["path"].iloc[:-1]:
        (tmp_path / "data" / path).write_bytes(b"damaged")
    # Without copies there is no figure of them.
    none = AugmentationSpec(copies=0)
    paths = show_data(manifest, tmp_path / "figures", augmentation=none)
    assert [path.stem for path in paths] == NAMES[:-1]
    (tmp_path / "data" / manifest.table["path"].iloc[-1]).unlink()
    with pytest.raises(InputError, match=r"no image in .* can be read"):
        list(show_data(manifest, tmp_path / "figures", force=True))


def test_copies_say_how_far_they_may_differ() -> None:
    def said(augmentation: AugmentationSpec) -> str:
        pixels = np.zeros((8, 8, 1), np.float32)
        figure = copies_figure(pixels, augmentation, "0" * 64)
        return " ".join(figure.get_suptitle().splitlines()[1:])

    assert said(preset_augmentation("chest")) == (
        "Copies are turned by 10° at most, zoomed by 10%, shifted by 5% sideways and 5% along, "
        "0.9 to 1.1 times as bright"
    )
    assert said(preset_augmentation("shift")) == (
        "Copies are turned by 10° at most, cropped to 35% of the area at least, "
        "darker or brighter, of other contrast, coarser, blurred, noisy"
    )
    assert said(AugmentationSpec(shear=4.0, vertical_flip=True)).endswith(
        "sheared by 4°, mirrored, upside down"
    )


def test_a_contact_sheet_shows_labels_and_scores(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest.table
    doubtful = pd.DataFrame(
        {"path": table["path"][5:15], "label": table["label"][5:15], "score": 0.5, "doubtful": True}
    )
    draw_labels(manifest, doubtful, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > 1000
    assert (tmp_path / "sheet.svg").is_file()
