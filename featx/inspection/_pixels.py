"""Images that can't be read, show nothing, are negatives, or have an odd shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featx.data import Manifest
from featx.inspection._findings import Finding, first_examples
from featx.inspection._measure_images import Measurements
from featx_cache._text import plural

CONSTANT_SPREAD = 1.0
BLANK_SPREAD = 20.0
"""Difference of grey values (0..255) between the darkest and the brightest hundredth of the pixels.
The flattest image of the public chest X-ray set has 84."""

INVERTED_CORRELATION = -0.25
"""Correlation with the median image. In the public chest X-ray set the least typical image has
+0.20, so its negative has -0.20. 999 of 1,000 images have +0.31 or more."""

WIDEST_ASPECT = 2.0

MIN_IMAGES_FOR_MEDIAN = 10


def informative(measured: Measurements) -> NDArray[np.bool_]:
    """Say which images show anything."""
    spread = measured.high - measured.low
    return np.asarray(measured.readable & (spread >= BLANK_SPREAD))


def check_pixels(manifest: Manifest, measured: Measurements) -> list[Finding]:
    """Look for images that can't be read, are blank, constant, inverted or of an odd shape."""
    return [
        *_unreadable(manifest, measured),
        *_blank(manifest, measured),
        *_inverted(manifest, measured),
        *_odd_aspect(manifest),
    ]


def _unreadable(manifest: Manifest, measured: Measurements) -> list[Finding]:
    paths = manifest.table["path"]
    found = dict(manifest.unreadable)
    found |= {paths.iloc[i]: reason for i, reason in measured.problems.items()}
    if not found:
        return []
    return [
        Finding(
            "unreadable",
            "warning",
            len(found),
            f"{plural(len(found), 'image')} can't be read",
            "`featx.extract` leaves them out: copy them again, or delete them.",
            first_examples([f"{path}: {reason}" for path, reason in found.items()]),
            {"paths": list(found)},
        )
    ]


def _blank(manifest: Manifest, measured: Measurements) -> list[Finding]:
    spread = measured.high - measured.low
    constant = measured.readable & (spread < CONSTANT_SPREAD)
    blank = measured.readable & (spread < BLANK_SPREAD) & ~constant
    findings = []
    for name, which, title in (
        ("constant", constant, "one grey value all over"),
        ("blank", blank, "almost nothing on it"),
    ):
        if which.any():
            findings.append(
                _image_finding(
                    manifest,
                    which,
                    name,
                    f"with {title}",
                    "Nothing can be learnt from them: look, and leave them out.",
                )
            )
    return findings


def _inverted(manifest: Manifest, measured: Measurements) -> list[Finding]:
    shows = informative(measured)
    if shows.sum() < MIN_IMAGES_FOR_MEDIAN:
        return []
    flat = measured.thumbnail.reshape(len(shows), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    # The median image: a few negatives don't show in it.
    median = np.median(flat[shows], axis=0)
    norm = np.linalg.norm(median)
    if norm < 1e-6:
        return []
    inverted = shows & (flat @ (median / norm) < INVERTED_CORRELATION)
    if not inverted.any():
        return []
    return [
        _image_finding(
            manifest,
            inverted,
            "inverted",
            "that look like negatives of the others",
            "Invert them, or for DICOM correct the tag PhotometricInterpretation.",
        )
    ]


def _odd_aspect(manifest: Manifest) -> list[Finding]:
    aspect = manifest.table["width"].to_numpy(float) / manifest.table["height"].to_numpy(float)
    odd = (aspect > WIDEST_ASPECT) | (aspect < 1.0 / WIDEST_ASPECT)
    if not odd.any():
        return []
    sizes = manifest.table.loc[odd, ["path", "width", "height"]].itertuples(index=False)
    return [
        Finding(
            "odd-aspect",
            "warning",
            int(odd.sum()),
            f"{plural(int(odd.sum()), 'image')} more than {WIDEST_ASPECT:g} times as long as "
            "wide, or the other way round",
            "They are squeezed into a square: look whether they show what the others show.",
            first_examples([f"{path} ({width}x{height})" for path, width, height in sizes]),
            {"paths": manifest.table["path"][odd].tolist()},
        )
    ]


def _image_finding(
    manifest: Manifest, which: NDArray[np.bool_], check: str, what: str, advice: str
) -> Finding:
    paths = manifest.table["path"][which].tolist()
    title = f"{plural(len(paths), 'image')} {what}"
    return Finding(
        check, "warning", len(paths), title, advice, first_examples(paths), {"paths": paths}
    )
