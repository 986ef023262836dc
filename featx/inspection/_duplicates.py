"""Images that are there twice: the same file, or one that looks the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featx.data import Manifest
from featx.data._links import linked
from featx.inspection._findings import Finding, first_examples
from featx.inspection._measure_images import Measurements
from featx.inspection._pixels import informative

LARGEST_DISTANCE = 8
"""Bits of 64 that the perceptual hashes of near duplicates differ in, at most."""

SMALLEST_CORRELATION = 0.985
"""Smallest correlation of near duplicates' thumbnails. The public chest X-ray set (224 pixels) has
13.7 million pairs of different images. 8,767 are within that distance, and none of them correlates
more than 0.976: ``python benchmarks/data.py DATA --part near``."""

_PROBLEMS = {
    "across-splits": (
        "split",
        "in different splits",
        "The same picture is learnt and tested. Keep each in one split with `fix_splits`.",
    ),
    "with-different-labels": (
        "label",
        "with different labels",
        "One of the labels is wrong: look at them, and correct or leave out.",
    ),
}
"""Column in which duplicates differ, end of the title, and advice."""

NAMES_IN_EXAMPLE = 6
_ROWS_AT_ONCE = 128
_PAIRS_AT_ONCE = 4096


def near_pairs(measured: Measurements, sha256: Sequence[str]) -> list[tuple[int, int]]:
    """Find images that look the same and aren't the same file, and link them by position.

    Two images are near duplicates if their perceptual hashes are close (`LARGEST_DISTANCE`) and
    their thumbnails correlate (`SMALLEST_CORRELATION`). X-rays are much alike: the hash alone takes
    thousands of different patients for one. Only the first of equal files is looked at.

    If n images all look the same, n - 1 links are returned, not all n (n - 1) / 2 pairs. They are
    enough to tell which images belong together (`featx.data._links.linked`).
    """
    usable = np.flatnonzero(informative(measured))
    content = np.asarray(sha256, dtype=object).astype("S64")[usable]
    usable = usable[np.sort(np.unique(content, return_index=True)[1])]
    hashes = measured.phash[usable]
    flat = measured.thumbnail.reshape(len(measured.thumbnail), -1)
    sets = np.arange(len(usable))
    links: list[tuple[int, int]] = []
    for start in range(0, len(usable), _ROWS_AT_ONCE):
        block = hashes[start : start + _ROWS_AT_ONCE, None] ^ hashes[None, start:]
        one, other = np.nonzero(np.bitwise_count(block) <= LARGEST_DISTANCE)
        later = one < other
        one, other = one[later] + start, other[later] + start
        linked_more = True
        while len(one):
            if linked_more:  # images that belong together by now needn't be compared
                apart = sets[one] != sets[other]
                one, other = one[apart], other[apart]
            a, b = one[:_PAIRS_AT_ONCE], other[:_PAIRS_AT_ONCE]
            alike = correlation(flat[usable[a]], flat[usable[b]]) >= SMALLEST_CORRELATION
            before = len(links)
            for i, j in zip(a[alike].tolist(), b[alike].tolist(), strict=True):
                if sets[i] != sets[j]:
                    sets[sets == sets[j]] = sets[i]
                    links.append((int(usable[i]), int(usable[j])))
            linked_more = len(links) > before
            one, other = one[_PAIRS_AT_ONCE:], other[_PAIRS_AT_ONCE:]
    return links


def _near_sets(table: pd.DataFrame, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return sets of images that look the same or are the same file, as positions."""
    sets = linked([table["sha256"].tolist()], links)
    near = np.isin(sets, sets[[one for one, _ in links]])
    rows = pd.Series(np.flatnonzero(near))
    return [group.tolist() for _, group in rows.groupby(sets[near], sort=False)]


def check_duplicates(manifest: Manifest, pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    """Look for exact duplicates everywhere, and for near ones across splits and labels.

    Sets of images are counted. Each image looks the same as another one of its set.
    """
    table = manifest.table
    exact = [list(rows) for rows in table.groupby("sha256", sort=False).indices.values()]
    exact = [sorted(rows) for rows in exact if len(rows) > 1]
    near = _near_sets(table, pairs)
    findings: list[Finding] = []
    for kind, sets in (("exact", exact), ("near", near)):
        across = [rows for rows in sets if table["split"].iloc[rows].nunique() > 1]
        if kind == "near":  # two views of one patient in two splits are that patient's fault
            across = [rows for rows in across if table["group"].iloc[rows].nunique() > 1]
        disputed = [rows for rows in sets if table["label"].iloc[rows].nunique() > 1]
        findings += _findings(kind, "across-splits", across, table)
        findings += _findings(kind, "with-different-labels", disputed, table)
    harmless = [
        rows
        for rows in exact
        if table["split"].iloc[rows].nunique() == table["label"].iloc[rows].nunique() == 1
    ]
    if harmless:
        extra = sum(map(len, harmless)) - len(harmless)
        findings.append(
            Finding(
                "duplicates",
                "note",
                len(harmless),
                f"{_groups(len(harmless))} of byte-identical images in one split with one label "
                f"({extra} redundant)",
                "Nothing needs doing: folds keep them together, and each is embedded once.",
                first_examples([_names(table, rows) for rows in harmless]),
                {"groups": [table["path"].iloc[rows].tolist() for rows in harmless]},
            )
        )
    return findings


def _findings(
    kind: str, problem: str, sets: list[list[int]], table: pd.DataFrame
) -> Iterator[Finding]:
    """Report sets of duplicates that have different values in a column. See `_PROBLEMS`."""
    if not sets:
        return
    column, title, advice = _PROBLEMS[problem]
    what = "byte-identical images" if kind == "exact" else "images that look the same"
    yield Finding(
        f"{kind}-duplicates-{problem}",
        "error",
        len(sets),
        f"{_groups(len(sets))} of {what} {title}",
        advice,
        first_examples([_names(table, rows, column) for rows in sets]),
        {"groups": [table["path"].iloc[rows].tolist() for rows in sets]},
    )


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


def _names(table: pd.DataFrame, rows: list[int], column: str | None = None) -> str:
    names = table["path"].iloc[rows].tolist()
    if column is not None:
        values = table[column].iloc[rows]
        names = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    if more := len(names[NAMES_IN_EXAMPLE:]):
        names[NAMES_IN_EXAMPLE:] = [f"{more} more"]
    return " = ".join(names)


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    a, b = one.astype(np.float32), other.astype(np.float32)
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norm, 1e-9), np.float64)
