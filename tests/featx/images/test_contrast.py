"""Histogram equalisation: scikit-image's, for grey and colour, and as part of decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.exposure import equalize_adapthist

from featx.images import DecodingSpec, decode
from featx.images._contrast import Contrast, apply_contrast

RANDOM = np.random.default_rng(5)
DULL = (100 + 20 * RANDOM.random((64, 64, 1))).astype(np.float32)


def test_none_leaves_the_image_alone() -> None:
    assert apply_contrast(DULL, "none") is DULL


@pytest.mark.parametrize("contrast", ["equalize", "clahe"])
class TestEach:
    def test_spreads_grey_values_over_the_range(self, contrast: Contrast) -> None:
        spread = apply_contrast(DULL, contrast)
        assert spread.shape == DULL.shape
        assert spread.dtype == np.float32
        assert 0.0 <= spread.min() < 30.0
        assert 225.0 < spread.max() <= 255.0

    def test_keeps_the_hue_of_colours(self, contrast: Contrast) -> None:
        reddish = np.concatenate([DULL, 0.6 * DULL, 0.4 * DULL], axis=-1)
        spread = apply_contrast(reddish, contrast)
        assert spread.shape == reddish.shape
        assert spread[..., 0].mean() > spread[..., 1].mean() > spread[..., 2].mean()

    def test_a_constant_image_stays_what_it_is(self, contrast: Contrast) -> None:
        flat = np.full((32, 32, 1), 77, np.float32)
        np.testing.assert_array_equal(apply_contrast(flat, contrast), flat)

    def test_is_part_of_decoding_and_of_the_fingerprint(
        self, tmp_path: Path, contrast: Contrast
    ) -> None:
        Image.fromarray(DULL[..., 0].astype(np.uint8)).save(tmp_path / "x.png")
        spec = DecodingSpec(contrast=contrast)
        plain = decode(tmp_path / "x.png", 64)
        np.testing.assert_array_equal(
            decode(tmp_path / "x.png", 64, spec=spec), apply_contrast(plain, contrast)
        )
        assert spec.fingerprint != DecodingSpec().fingerprint


def test_equalize_ranks_grey_values() -> None:
    ramp = np.linspace(50, 60, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    spread = apply_contrast(ramp, "equalize")
    np.testing.assert_allclose(spread.ravel(), np.linspace(0, 255, 64 * 64), atol=2.0)


def test_clahe_is_scikit_image_s() -> None:
    expected = equalize_adapthist(DULL[..., 0].astype(float) / 255.0, clip_limit=0.01) * 255.0
    np.testing.assert_allclose(apply_contrast(DULL, "clahe")[..., 0], expected, atol=1e-3)


def test_the_fingerprint_of_decoding_without_it_stays() -> None:
    assert DecodingSpec().canonical_json() == '{"jpeg_reduction":2,"resize":"bilinear"}'
