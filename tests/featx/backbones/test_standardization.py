"""Standardization: Keras's own numbers, files that are checked, and whitening that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.backbones import Backbone, BackboneSpec, StandardizationSpec, load_backbone
from featx.backbones._load import load_recipe
from featx.backbones._standardization import (
    Standardization,
    fit_standardization,
    load_standardization,
)
from featx.errors import InputError

SHAPE = (6, 6, 3)
RANDOM = np.random.default_rng(8)
IMAGES = (RANDOM.random((150, *SHAPE)) * np.array([255.0, 100.0, 20.0])).astype(np.float32)


def fit(**flags: bool) -> Standardization:
    spec = StandardizationSpec(**flags)
    batches = (IMAGES[i : i + 32] for i in range(0, len(IMAGES), 32))
    return fit_standardization(spec, batches, SHAPE, len(IMAGES))


def keras(images: NDArray[np.float32], **flags: bool) -> NDArray[np.float32]:
    """Let Keras's own generator do it."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    renamed = {
        "samplewise_std": "samplewise_std_normalization",
        "featurewise_std": "featurewise_std_normalization",
    }
    generator = ImageDataGenerator(**{renamed.get(k, k): v for k, v in flags.items()})
    if any(flags.get(name) for name in ("featurewise_center", "featurewise_std", "zca_whitening")):
        generator.fit(IMAGES.astype(np.float64))
    return np.stack([generator.standardize(image.astype(np.float64)) for image in images])


class TestEqualsKeras:
    @pytest.mark.parametrize(
        "flags",
        [
            {"samplewise_center": True},
            {"samplewise_std": True},
            {"samplewise_center": True, "samplewise_std": True},
            {"featurewise_center": True},
            {"featurewise_center": True, "featurewise_std": True},
            {"featurewise_center": True, "zca_whitening": True},
            {"featurewise_center": True, "featurewise_std": True, "zca_whitening": True},
        ],
        ids=lambda flags: "+".join(flags),
    )
    def test_given_the_same(self, flags: dict[str, bool]) -> None:
        found = np.asarray(fit(**flags).apply(IMAGES[:9]))
        expected = keras(IMAGES[:9], **flags)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=2e-4 * scale)

    def test_whitened_pixels_are_not_correlated(self) -> None:
        white = np.asarray(fit(featurewise_center=True, zca_whitening=True).apply(IMAGES))
        flat = white.reshape(len(white), -1).astype(float)
        moments = flat.T @ flat / len(flat)
        np.testing.assert_allclose(moments, np.eye(len(moments)), atol=0.02)


class TestSpec:
    def test_nothing_by_default(self) -> None:
        assert not StandardizationSpec().does_something

    def test_statistics_are_part_of_the_fingerprint(self) -> None:
        one = fit(featurewise_center=True).spec
        assert one.statistics_sha256 is not None
        assert one.asks_for_the_same(StandardizationSpec(featurewise_center=True))
        assert one.fingerprint != StandardizationSpec(featurewise_center=True).fingerprint

    def test_a_backbone_without_it_has_the_fingerprint_of_earlier_versions(self) -> None:
        spec = BackboneSpec(
            name="vgg16", layer="x", weights="random", weights_sha256="0", input_size=32
        )
        assert "standardization" not in spec.canonical_json()


class TestFile:
    def test_round_trip(self, tmp_path: Path) -> None:
        made = fit(featurewise_center=True, featurewise_std=True, samplewise_center=True)
        made.save(tmp_path / "s.npz")
        read = load_standardization(tmp_path / "s.npz")
        assert read.spec == made.spec
        for name, values in made.statistics.items():
            np.testing.assert_array_equal(read.statistics[name], values)

    @pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed"])
    def test_damage_is_found(self, tmp_path: Path, damage: str) -> None:
        file = tmp_path / "s.npz"
        made = fit(featurewise_center=True)
        made.save(file)
        if damage == "missing":
            file.unlink()
        elif damage == "empty":
            file.write_bytes(b"")
        elif damage == "cut":
            file.write_bytes(file.read_bytes()[:-30])
        else:
            Standardization(made.spec, {"mean": made.statistics["mean"] + 1}).save(file)
        with pytest.raises(InputError, match=r"s\.npz.* damaged"):
            load_standardization(file)


def test_whitening_a_large_image_is_refused_with_what_it_would_take() -> None:
    spec = StandardizationSpec(zca_whitening=True)
    with pytest.raises(InputError, match=r"270,000 x 270,000 and .* GB of memory") as caught:
        fit_standardization(spec, (), (300, 300, 3), 5000)
    gigabytes = float(str(caught.value).split(" and ")[1].split(" GB")[0].replace(",", ""))
    assert 583 <= gigabytes < 640


class TestBackbone:
    @pytest.fixture
    def standardized(self, tiny_backbone: Backbone, tmp_path: Path) -> Backbone:
        images = RANDOM.random((20, 32, 32, 1)).astype(np.float32) * 255
        spec = StandardizationSpec(samplewise_center=True, featurewise_std=True)
        made = fit_standardization(spec, [tiny_backbone.prepare(images)], (32, 32, 3), 20)
        made.save(tmp_path / "s.npz")
        return tiny_backbone.with_standardization(made, tmp_path / "s.npz")

    def test_standardizes_what_it_preprocessed(
        self, standardized: Backbone, tiny_backbone: Backbone
    ) -> None:
        raw = load_backbone(
            "vgg16", weights="random", input_size=32, precision="float32", preprocess="none"
        )
        images = RANDOM.random((3, 32, 32, 3)).astype(np.float32) * 255
        assert standardized.standardization is not None
        given = standardized.standardization.apply(tiny_backbone.prepare(images))
        np.testing.assert_allclose(
            standardized.embed(images), raw.embed(np.asarray(given)), atol=1e-4
        )

    def test_another_process_makes_the_same(self, standardized: Backbone) -> None:
        other = load_recipe(standardized.recipe)
        assert other.spec == standardized.spec
        images = RANDOM.random((2, 32, 32, 1)).astype(np.float32) * 255
        np.testing.assert_allclose(other.embed(images), standardized.embed(images), atol=1e-5)


@pytest.mark.long
def test_from_images_to_verdicts(phantom_data: Path, tmp_path: Path, tiny_backbone: Any) -> None:
    from featx._run import load_run
    from featx.data import Manifest, load_manifest
    from featx.extraction import extract
    from featx.extraction._standardization import standardize
    from featx.fitting import fit as fit_run
    from featx.heads import HeadSpec
    from featx.images import AugmentationSpec
    from featx_cache import open_cache

    manifest, cache = load_manifest(phantom_data), tmp_path / "cache"
    spec = StandardizationSpec(featurewise_center=True, featurewise_std=True)
    backbone = standardize(tiny_backbone, spec, manifest, cache)
    extract(manifest, cache, backbone, augmentation=AugmentationSpec(copies=0))
    # Images that come later don't change what was measured first.
    fewer = Manifest(manifest.root, manifest.table.head(40), manifest.classes)
    again = standardize(tiny_backbone, spec, fewer, cache)
    assert again.spec == backbone.spec
    run = tmp_path / "run"
    fit_run(open_cache(cache), HeadSpec.choose("logreg"), run, accuracy_floor=0.5)
    opened = load_run(run)
    rows = open_cache(cache).row_numbers(splits=("test",), copies=False)
    paths = open_cache(cache).table(rows)["path"].tolist()
    cached = opened.score(open_cache(cache).read(rows))
    predicted = [p.score for p in opened.predict([phantom_data / path for path in paths])]
    np.testing.assert_allclose(np.array(predicted, float), cached, atol=2e-3)
    (run / "standardization.npz").unlink()
    with pytest.raises(InputError, match=r"has no standardization\.npz"):
        load_run(run).backbone()
