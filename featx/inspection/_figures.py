"""Figures of a data set: counts, sizes, sample images, mean images, augmented copies."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx._progress import SILENT, Progress, progress_of
from featx.data import ImageSource, Manifest, load_manifest
from featx.errors import InputError
from featx.images import AugmentationSpec, UnreadableImageError, decode, make_copy
from featx.inspection._figure_files import require_figures, save_figure
from featx.plots._counts import balance_height, class_balance
from featx.plots._style import BLUE, ORANGE, new_axes, plain_label, shortened
from featx_cache.files import LOCK_WAIT_SECONDS, lock

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 300
"""Pixels of a side of the square that images are drawn as, the default input of networks."""

FIGURES = ("counts", "proportions", "sizes", "samples", "one-image", "mean-images", "copies")
GRID = 5
MAX_AVERAGED_IMAGES = 1000
COPIES_SHOWN = 7
_IMAGES_PER_TASK = 32


def show_data(
    data: ImageSource,
    folder: str | Path,
    *,
    augmentation: AugmentationSpec | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress | bool = True,
) -> list[Path]:
    """Draw a data set: counts, sizes, sample images, mean images, augmented copies.

    Parameters
    ----------
    data
        Manifest, or anything that `featx.load_manifest` takes.
    folder
        Folder for the figures, each as PNG and as SVG. It is made if it doesn't exist.
    augmentation
        Augmentation to show. None is the study's. If it makes no copies, they aren't drawn.
    seed
        Seed of what is drawn at random.
    force
        Whether figures of an earlier call are replaced.
    progress
        Bars by default. False is silent.

    Returns
    -------
    list of Path
        PNG files: counts, proportions, sizes, samples, one-image, mean-images, copies.

    Raises
    ------
    InputError
        If no image can be read, a file is in the way, or another process is drawing into this
        folder.
    StorageError
        If the folder can't be written.

    Examples
    --------
    >>> import featx
    >>> figures = featx.show_data("chest_xray", "figures")  # doctest: +SKIP
    """
    folder, augmentation = Path(folder), augmentation or AugmentationSpec()
    progress = progress_of(progress)
    require_figures([folder / f"{name}.png" for name in FIGURES], force)
    manifest = load_manifest(data, progress=progress)
    with lock(folder / "figures", wait=LOCK_WAIT_SECONDS):
        require_figures([folder / f"{name}.png" for name in FIGURES], force)
        random, counts = np.random.default_rng(seed), manifest.counts()
        drawn = _some_images(manifest, random.permutation(len(manifest)).tolist(), GRID * GRID)
        position, pixels = drawn[0]
        means, number = mean_images(manifest, seed=seed, progress=progress)
        figures = {
            "counts": counts_figure(counts),
            "proportions": proportions_figure(counts),
            "sizes": sizes_figure(manifest),
            "samples": samples_figure(manifest, drawn),
            "one-image": image_figure(manifest, position, pixels),
            "mean-images": means_figure(means, number, manifest.classes),
        }
        if augmentation.copies:
            sha256 = str(manifest.table["sha256"].iloc[position])
            figures["copies"] = copies_figure(pixels, augmentation, sha256)
        return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]


def counts_figure(counts: pd.DataFrame) -> Figure:
    """Draw how many images of each class each split has, as bars with their numbers."""
    figure, axes = _figure((6.4, 4.2))
    place = np.arange(len(counts))
    for number, (label, colour) in enumerate(zip(counts.columns, (BLUE, ORANGE), strict=True)):
        bars = axes.bar(
            place + (number - 0.5) * 0.4,
            counts[label],
            0.38,
            color=colour,
            label=plain_label(shortened(label, 28)),
        )
        axes.bar_label(bars, fmt="{:,.0f}", padding=2)
    axes.set_xticks(place, counts.index)
    axes.set(ylabel="images", title="Images by split and class")
    axes.margins(y=0.12)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def proportions_figure(counts: pd.DataFrame) -> Figure:
    """Draw the share of each class in each split, and in all of them."""
    shown = counts.copy()
    if len(shown) > 1:
        shown.loc["all"] = counts.sum()
    axes = new_axes(height=balance_height(shown))
    class_balance(shown, axes)
    figure: Figure = axes.figure
    return figure


def sizes_figure(manifest: Manifest) -> Figure:
    """Draw width and height of the images as stored, by class."""
    figure, axes = _figure((6.4, 5.0))
    table = manifest.table
    for label, colour, marker in zip(manifest.classes, (BLUE, ORANGE), "ox", strict=True):
        of_class = table[table["label"] == label]
        sizes = of_class.groupby(["width", "height"]).size().reset_index(name="n")
        area = 14 + 250 * np.sqrt(sizes["n"] / len(table))
        axes.scatter(
            sizes["width"], sizes["height"], area, color=colour, marker=marker, alpha=0.6,
            linewidths=1.2, label=f"{plain_label(shortened(label, 28))}: median "
            f"{of_class['width'].median():,.0f} x {of_class['height'].median():,.0f}",
        )  # fmt: skip
    widest = max(table["width"].max(), table["height"].max())
    axes.plot([0, widest], [0, widest], color="#999999", linestyle=":", label="square")
    axes.set(xlabel="width (pixels)", ylabel="height (pixels)")
    axes.set_title("Image sizes as stored (larger marks: more images)")
    axes.set(xlim=(0, 1.06 * table["width"].max()), ylim=(0, 1.06 * table["height"].max()))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def samples_figure(manifest: Manifest, drawn: Sequence[tuple[int, NDArray[np.float32]]]) -> Figure:
    """Draw sample images in a grid, with their labels."""
    table = manifest.table
    texts = [
        f"{shortened(table['label'].iloc[i], 20)} ({table['split'].iloc[i]})" for i, _ in drawn
    ]
    colours = [_colour(manifest, i) for i, _ in drawn]
    return _grid([pixels for _, pixels in drawn], texts, colours, "Images drawn at random")


def image_figure(manifest: Manifest, position: int, pixels: NDArray[np.float32]) -> Figure:
    """Draw one image with what the manifest says of it."""
    row = manifest.table.iloc[position]
    figure, axes = _figure((5.6, 5.95))
    _draw(axes, pixels)
    axes.set_title(
        # Neither file nor patient: figures are shown around.
        f"{shortened(row['label'], 28)}, {row['split']}\n{row['width']} x {row['height']} "
        f"{row['mode']} {row['source']}, shown as {SIDE} x {SIDE}",
        fontsize=9,
        parse_math=False,
    )
    return figure


def means_figure(
    means: Sequence[NDArray[np.float64]], number: int, classes: tuple[str, str]
) -> Figure:
    """Draw the mean image of each class, and their difference."""
    figure, axes = _figure((10.5, 4.2), columns=3)
    for cell, mean, label in zip(axes[:2], means, classes, strict=True):
        _draw(cell, mean[..., np.newaxis])
        cell.set_title(f"mean {shortened(label, 22)}", parse_math=False)
    difference = means[1] - means[0]
    limit = max(float(np.abs(difference).max()), 1.0)
    shown = axes[2].imshow(difference, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axes[2].set_axis_off()
    negative, positive = (shortened(label, 13) for label in classes)
    axes[2].set_title(f"{positive} − {negative}", parse_math=False)
    figure.colorbar(shown, ax=axes[2], label="grey values, of 255", shrink=0.8)
    figure.suptitle(f"Mean images (at most {number:,} of each class)")
    return figure


def copies_figure(
    pixels: NDArray[np.float32], augmentation: AugmentationSpec, sha256: str
) -> Figure:
    """Draw an image and its augmented copies side by side."""
    # More than will be extracted, perhaps: a few tell too little of the ranges.
    images = [make_copy(pixels, augmentation, sha256, copy) for copy in range(COPIES_SHOWN + 1)]
    texts = ["the image", *(f"copy {copy}" for copy in range(1, COPIES_SHOWN + 1))]
    colours = ["black"] * len(images)
    ranges = textwrap.fill(f"Copies are {ranges_in_words(augmentation)}", 68)
    title = f"Would a radiologist still take each copy for this patient's chest?\n{ranges}"
    return _grid(images, texts, colours, title, columns=4)


def ranges_in_words(augmentation: AugmentationSpec) -> str:
    """Say how far copies may differ from their image, leaving out what isn't done."""
    low, high = augmentation.brightness
    across, along = augmentation.width_shift, augmentation.height_shift
    said = (
        (augmentation.rotation, f"turned by {augmentation.rotation:g}° at most"),
        (augmentation.zoom, f"zoomed by {augmentation.zoom:.0%}"),
        (across or along, f"shifted by {across:.0%} sideways and {along:.0%} along"),
        (augmentation.shear, f"sheared by {augmentation.shear:g}°"),
        ((low, high) != (1.0, 1.0), f"{low:g} to {high:g} times as bright"),
        (augmentation.horizontal_flip, "mirrored"),
        (augmentation.vertical_flip, "upside down"),
        (augmentation.crop[0] < 1.0, f"cropped to {augmentation.crop[0]:.0%} of the area at least"),
        (augmentation.gamma or augmentation.brightness_shift, "darker or brighter"),
        (augmentation.contrast_factor != (1.0, 1.0), "of other contrast"),
        (augmentation.downscale[0] < 1.0, "coarser"),
        (max(augmentation.blur), "blurred"),
        (max(augmentation.noise), "noisy"),
    )
    return ", ".join(text for done, text in said if done) or "like the image"


def draw_labels(
    manifest: Manifest, ranked: pd.DataFrame, path: Path, *, force: bool = False
) -> None:
    """Draw the images with the most doubtful labels. See `Inspection.draw_doubtful_labels`."""
    require_figures([path], force)
    positions = pd.Series(range(len(manifest)), index=manifest.table["path"])
    worst = ranked.head(GRID * GRID)
    order = positions.loc[worst["path"]].tolist()
    drawn = _some_images(manifest, order, GRID * GRID)
    score = dict(zip(order, worst["score"], strict=True))
    marked = dict(zip(order, worst["doubtful"], strict=True))
    table, positive = manifest.table, manifest.classes[1]
    texts = [
        f"{shortened(Path(table['path'].iloc[i]).name, 30)}\n"
        f"labelled {shortened(table['label'].iloc[i], 12)}"
        f"{' (doubtful)' if marked[i] else ''}\n{shortened(positive, 18)} score {score[i]:.3f}"
        for i, _ in drawn
    ]
    colours = [_colour(manifest, i) for i, _ in drawn]
    number = int(ranked["doubtful"].astype(bool).sum())
    title = f"The {len(drawn)} labels that scores contradict most; {number} of all are doubtful"
    save_figure(_grid([pixels for _, pixels in drawn], texts, colours, title), path)


def mean_images(
    manifest: Manifest, *, seed: int = 0, progress: Progress = SILENT
) -> tuple[list[NDArray[np.float64]], int]:
    """Average images of each class, to shape (300, 300), and say how many of a class at most."""
    random = np.random.default_rng(seed)
    table, tasks = manifest.table, []
    for number, label in enumerate(manifest.classes):
        paths = table["path"][table["label"] == label].to_numpy(object)
        chosen = random.permutation(len(paths))[:MAX_AVERAGED_IMAGES]
        for start in range(0, len(chosen), _IMAGES_PER_TASK):
            tasks.append((number, paths[chosen[start : start + _IMAGES_PER_TASK]].tolist()))
    sums, counts = [np.zeros((SIDE, SIDE)) for _ in range(2)], [0, 0]
    total = sum(len(paths) for _, paths in tasks)
    run = joblib.Parallel(n_jobs=os.cpu_count() or 1, return_as="generator", prefer="threads")
    with progress.task("Averaging images", total, "image") as advance:
        results = run(joblib.delayed(_sum)(manifest.root, paths) for _, paths in tasks)
        for (number, paths), (part, count) in zip(tasks, results, strict=True):
            sums[number] += part
            counts[number] += count
            advance(len(paths))
    means = [part / max(count, 1) for part, count in zip(sums, counts, strict=True)]
    return means, max(counts)


def _sum(root: Path, paths: list[str]) -> tuple[NDArray[np.float64], int]:
    total, count = np.zeros((SIDE, SIDE)), 0
    for path in paths:
        try:
            total += decode(root / path, SIDE).mean(axis=-1)
            count += 1
        except UnreadableImageError:
            continue
    return total, count


def _some_images(
    manifest: Manifest, order: Sequence[int], most: int
) -> list[tuple[int, NDArray[np.float32]]]:
    """Decode the first images of an order that can be read."""
    found: list[tuple[int, NDArray[np.float32]]] = []
    for position in order:
        try:
            pixels = decode(manifest.root / manifest.table["path"].iloc[position], SIDE)
        except UnreadableImageError as error:
            reason = error
            continue
        found.append((position, pixels))
        if len(found) == most:
            break
    if not found:
        raise InputError(f"no image in {manifest.root} can be read ({reason.reason})")
    return found


def _grid(
    images: Sequence[NDArray[np.floating[Any]]],
    texts: Sequence[str],
    colours: Sequence[str],
    title: str,
    columns: int = GRID,
) -> Figure:
    rows = -(-len(images) // columns)
    lines = max(text.count("\n") for text in texts) + 1
    figure, axes = _figure((2.1 * columns, (2.0 + 0.17 * lines) * rows + 0.4), rows, columns)
    flat = np.atleast_1d(axes).ravel()
    for cell in flat:
        cell.set_axis_off()
    for cell, pixels, text, colour in zip(flat, images, texts, colours, strict=False):
        _draw(cell, pixels)
        cell.set_title(text, fontsize=8, color=colour, parse_math=False)
    figure.suptitle(title, parse_math=False)
    return figure


def _draw(axes: Any, pixels: NDArray[np.floating[Any]]) -> None:
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else np.rint(pixels).astype(np.uint8)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def _colour(manifest: Manifest, position: int) -> str:
    # Dark enough for small letters.
    return "#A04000" if manifest.positive[position] else "#00507F"


def _figure(size: tuple[float, float], rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)
