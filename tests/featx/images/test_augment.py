"""Copies: stateless parameters within their ranges, and Keras's own affine map."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from featx.errors import InputError
from featx.images import AugmentationSpec, make_copy, preset_augmentation
from featx.images._augment import CopyParameters, FillMode, apply_affine, draw_parameters
from featx.images._disturb import disturb

STILL = AugmentationSpec(rotation=0, zoom=0, width_shift=0, height_shift=0, horizontal_flip=False)
UNTOUCHED = CopyParameters(theta=0, tx=0, ty=0, zx=1, zy=1, flip_horizontal=False)


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def pixels() -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    return random.uniform(0, 255, (40, 40, 3)).astype(np.float32)


class TestSpec:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("copies", -1), ("copies", 1001), ("copies", 1.5), ("seed", -1), ("rotation", 181),
            ("rotation", -1), ("zoom", 1.0), ("zoom", -0.1), ("width_shift", 1.1),
            ("height_shift", float("inf")), ("shear", 90), ("brightness", (1.2, 0.8)),
            ("brightness", (-0.1, 1.0)), ("brightness", (1.0,)), ("fill_mode", "mirror"),
        ],
    )  # fmt: skip
    def test_values_out_of_range_are_refused(self, field: str, value: float) -> None:
        with pytest.raises(ValidationError, match=field):
            AugmentationSpec.model_validate({field: value})


class TestParameters:
    def test_depend_only_on_seed_image_and_copy(self) -> None:
        spec = AugmentationSpec(seed=3)
        keys = [(sha(image), copy) for image in range(5) for copy in range(1, 5)]
        forwards = {key: draw_parameters(spec, *key, 300) for key in keys}
        np.random.default_rng(0).random(10)
        for key in reversed(keys):
            assert draw_parameters(spec, *key, 300) == forwards[key]
        # Neither does the number of copies matter: adding copies keeps those there are.
        more = AugmentationSpec(seed=3, copies=9)
        assert all(draw_parameters(more, *key, 300) == forwards[key] for key in keys)

    def test_are_the_same_in_every_version(self) -> None:
        # Written down: a changed draw would make the copies of today's caches strangers.
        drawn = draw_parameters(AugmentationSpec(), "ab" * 32, 1, 300)
        values = asdict(drawn)
        assert values.pop("disturbance") is None
        assert values == pytest.approx(
            {
                "theta": -4.0667512816621665,
                "tx": -18.02935997597991,
                "ty": -3.5689558663313936,
                "zx": 0.9267237693604039,
                "zy": 1.1249952926170064,
                "flip_horizontal": True,
                "flip_vertical": False,
                "shear": 0.0,
                "brightness": 1.0,
                "height": 1.0,
                "width": 1.0,
                "top": 0.0,
                "left": 0.0,
            }
        )

    def test_of_later_versions_leave_the_others_what_they_are(self) -> None:
        old = asdict(draw_parameters(AugmentationSpec(), "ab" * 32, 1, 300))
        spec = AugmentationSpec(shear=10, brightness=(0.5, 1.5), vertical_flip=True)
        new = asdict(draw_parameters(spec, "ab" * 32, 1, 300))
        changed = {"shear", "brightness", "flip_vertical"}
        assert {k: v for k, v in new.items() if k not in changed} == {
            k: v for k, v in old.items() if k not in changed
        }
        assert new["shear"] != 0.0
        assert new["brightness"] != 1.0

    def test_of_later_versions_are_within_their_ranges(self) -> None:
        spec = AugmentationSpec(shear=10, brightness=(0.8, 1.4), vertical_flip=True)
        drawn = [draw_parameters(spec, sha(n), 1, 300) for n in range(1000)]
        shear = np.array([p.shear for p in drawn])
        light = np.array([p.brightness for p in drawn])
        assert -10 <= shear.min() < -9
        assert 9 < shear.max() <= 10
        assert 0.8 <= light.min() < 0.82
        assert 1.38 < light.max() <= 1.4
        assert 0.4 < np.mean([p.flip_vertical for p in drawn]) < 0.6

    def test_differ_by_seed_image_and_copy(self) -> None:
        drawn = {
            draw_parameters(AugmentationSpec(seed=seed), sha(image), copy, 300).theta
            for seed in (0, 1)
            for image in range(10)
            for copy in (1, 2, 11)
        }
        assert len(drawn) == 60

    def test_a_copy_of_one_size_is_that_of_another_scaled(self) -> None:
        small = draw_parameters(AugmentationSpec(), sha(0), 1, 100)
        large = draw_parameters(AugmentationSpec(), sha(0), 1, 300)
        assert large.theta == small.theta
        assert (large.zx, large.zy) == (small.zx, small.zy)
        assert (large.tx, large.ty) == pytest.approx((3 * small.tx, 3 * small.ty))

    def test_fill_their_ranges_evenly(self) -> None:
        spec = AugmentationSpec(rotation=20, zoom=0.3, width_shift=0.05, height_shift=0.2, seed=9)
        drawn = [draw_parameters(spec, sha(n // 5), n % 5 + 1, 200) for n in range(4000)]
        for name, low, high in (
            ("theta", -20, 20),
            ("zx", 0.7, 1.3),
            ("zy", 0.7, 1.3),
            ("tx", -10, 10),  # x: the width
            ("ty", -40, 40),  # y: the height
        ):
            values = np.array([getattr(p, name) for p in drawn])
            assert values.min() >= low
            assert values.max() <= high
            # Each tenth of the range holds its tenth of the draws, to five standard deviations.
            counts, _ = np.histogram(values, 10, (low, high))
            assert np.abs(counts - 400).max() < 5 * 19, name
        flipped = np.mean([p.flip_horizontal for p in drawn])
        assert 0.46 < flipped < 0.54

    def test_are_independent_of_each_other(self) -> None:
        spec = AugmentationSpec(shear=10, brightness=(0.5, 1.5), vertical_flip=True)
        drawn = [draw_parameters(spec, sha(n), 1, 300) for n in range(3000)]
        table = np.array([list(asdict(p).values())[:9] for p in drawn], float)
        correlation = np.corrcoef(table.T) - np.eye(9)
        assert np.abs(correlation).max() < 0.1

    def test_without_flip_no_copy_is_mirrored(self) -> None:
        spec = AugmentationSpec(horizontal_flip=False)
        assert not any(draw_parameters(spec, sha(n), 1, 300).flip_horizontal for n in range(100))

    def test_of_nothing_leave_the_image_as_it_is(self, pixels: NDArray[np.float32]) -> None:
        assert draw_parameters(STILL, sha(0), 3, 40) == UNTOUCHED
        np.testing.assert_allclose(make_copy(pixels, STILL, sha(0), 3), pixels, atol=1e-3)


class TestMakeCopy:
    def test_copy_0_is_the_image_itself(self, pixels: NDArray[np.float32]) -> None:
        np.testing.assert_array_equal(make_copy(pixels, AugmentationSpec(), sha(0), 0), pixels)

    def test_other_copies_differ_from_it_and_from_each_other(
        self, pixels: NDArray[np.float32]
    ) -> None:
        copies = [make_copy(pixels, AugmentationSpec(), sha(0), c) for c in range(4)]
        for one in range(4):
            for other in range(one):
                assert np.abs(copies[one] - copies[other]).mean() > 5

    def test_keeps_shape_dtype_and_range(self, pixels: NDArray[np.float32]) -> None:
        for image in (pixels, pixels[..., :1]):
            copy = make_copy(image, AugmentationSpec(), sha(0), 1)
            assert copy.shape == image.shape
            assert copy.dtype == np.float32
            # Bilinear, nearest fill: nothing brighter or darker than the image itself.
            assert copy.min() >= image.min() - 1e-3
            assert copy.max() <= image.max() + 1e-3

    def test_leaves_the_image_alone(self, pixels: NDArray[np.float32]) -> None:
        before = pixels.copy()
        make_copy(pixels, AugmentationSpec(), sha(0), 1)
        np.testing.assert_array_equal(pixels, before)

    def test_grey_and_tripled_grey_make_the_same_copy(self, pixels: NDArray[np.float32]) -> None:
        grey = pixels[..., :1]
        one = make_copy(grey, AugmentationSpec(), sha(0), 2)
        three = make_copy(np.repeat(grey, 3, axis=-1), AugmentationSpec(), sha(0), 2)
        np.testing.assert_array_equal(np.repeat(one, 3, axis=-1), three)

    def test_grey_in_three_channels_is_computed_once_and_bit_for_bit_as_three(
        self, pixels: NDArray[np.float32]
    ) -> None:
        grey = np.repeat(pixels[..., :1].round(), 3, axis=2)
        for name in ("shift", "study"):
            spec = preset_augmentation(name)
            for copy in range(1, 12):
                drawn = draw_parameters(spec, sha(1), copy, len(grey))
                expected = apply_affine(grey, drawn, spec.fill_mode)
                if drawn.disturbance is not None:
                    expected = disturb(expected, drawn.disturbance)
                made = make_copy(grey, spec, sha(1), copy)
                assert made.flags.c_contiguous
                assert made.tobytes() == expected.tobytes()


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
class TestApplyAffine:
    def check(
        self, pixels: NDArray[np.float32], parameters: CopyParameters, mode: FillMode = "nearest"
    ) -> None:
        expected = keras_transform(pixels, parameters, fill_mode=mode)
        np.testing.assert_allclose(apply_affine(pixels, parameters, mode), expected, atol=0.02)

    @pytest.mark.parametrize("seed", range(12))
    def test_equals_keras(self, pixels: NDArray[np.float32], seed: int) -> None:
        self.check(pixels, draw_parameters(AugmentationSpec(seed=seed), sha(seed), 1, 40))

    @pytest.mark.parametrize(
        "change",
        [
            {"theta": 17.0}, {"tx": 4.5}, {"ty": -3.25}, {"zx": 0.8}, {"zy": 1.2},
            {"flip_horizontal": True}, {"shear": 12.0}, {"shear": -20.0}, {"flip_vertical": True},
            {"theta": -30.0, "ty": 4.0, "zx": 1.2, "zy": 0.8, "flip_horizontal": True},
            {"theta": 20.0, "tx": 3.0, "shear": 15.0, "zx": 0.9, "flip_vertical": True},
        ],
    )  # fmt: skip
    def test_equals_keras_in_each_parameter(
        self, pixels: NDArray[np.float32], change: dict[str, Any]
    ) -> None:
        self.check(pixels, replace(UNTOUCHED, **change))

    @pytest.mark.parametrize("mode", ["nearest", "constant", "reflect", "wrap"])
    def test_equals_keras_in_each_fill_mode(
        self, pixels: NDArray[np.float32], mode: FillMode
    ) -> None:
        self.check(pixels, replace(UNTOUCHED, theta=25.0, tx=9.0, zx=1.3, shear=7.0), mode)

    @pytest.mark.parametrize("brightness", [0.3, 0.9, 1.1, 1.7])
    def test_brightness_equals_keras_but_for_its_rounding(
        self, pixels: NDArray[np.float32], brightness: float
    ) -> None:
        spec = STILL.model_copy(update={"brightness": (brightness, brightness)})
        expected = keras_transform(pixels, replace(UNTOUCHED, brightness=brightness))
        # Keras goes through whole numbers twice.
        np.testing.assert_allclose(
            make_copy(pixels, spec, sha(0), 1), expected, atol=1.01 + brightness
        )

    def test_whole_shifts_move_rows_and_columns_and_repeat_the_border(
        self, pixels: NDArray[np.float32]
    ) -> None:
        moved = apply_affine(pixels, CopyParameters(0, 0, 3, 1, 1, False))
        np.testing.assert_allclose(moved[:-3], pixels[3:], atol=1e-3)
        np.testing.assert_allclose(moved[-3:], np.repeat(pixels[-1:], 3, axis=0), atol=1e-3)
        moved = apply_affine(pixels, CopyParameters(0, -2, 0, 1, 1, False))
        np.testing.assert_allclose(moved[:, 2:], pixels[:, :-2], atol=1e-3)

    def test_flip_mirrors_columns(self, pixels: NDArray[np.float32]) -> None:
        mirrored = apply_affine(pixels, CopyParameters(0, 0, 0, 1, 1, True))
        np.testing.assert_allclose(mirrored, pixels[:, ::-1], atol=1e-3)

    def test_a_right_angle_turns_the_square(self, pixels: NDArray[np.float32]) -> None:
        turned = apply_affine(pixels, CopyParameters(90, 0, 0, 1, 1, False))
        np.testing.assert_allclose(turned, np.rot90(pixels, 1), atol=1e-2)

    def test_smaller_zoom_shows_less_of_the_image(self) -> None:
        square = np.zeros((41, 41, 1), np.float32)
        square[15:26, 15:26] = 1.0
        wide = apply_affine(square, CopyParameters(0, 0, 0, 0.8, 0.8, False)).sum()
        narrow = apply_affine(square, CopyParameters(0, 0, 0, 1.2, 1.2, False)).sum()
        assert narrow < square.sum() < wide


def keras_transform(
    pixels: NDArray[np.float32], parameters: CopyParameters, fill_mode: FillMode = "nearest"
) -> NDArray[np.float32]:
    """Let Keras's own generator do it, which flips and brightens in further steps."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(fill_mode=fill_mode, interpolation_order=1)
    asked = asdict(parameters)
    if parameters.brightness == 1.0:  # else it would round to whole numbers for nothing
        del asked["brightness"]
    changed: NDArray[np.float32] = generator.apply_transform(pixels.copy(), asked)
    return changed


def test_presets() -> None:
    assert preset_augmentation("study") == AugmentationSpec()
    assert preset_augmentation("none", seed=3) == AugmentationSpec(copies=0, seed=3)
    chest = preset_augmentation("chest", rotation=3.0, zoom=None)
    assert (chest.rotation, chest.zoom) == (3.0, preset_augmentation("chest").zoom)
    assert {chest.horizontal_flip, chest.vertical_flip} == {False}  # the heart stays on its side
    with pytest.raises(InputError, match="Did you mean chest"):
        preset_augmentation("chestt")


class TestFingerprint:
    def test_of_specs_without_later_fields_stays(self) -> None:
        # Written down: caches of earlier versions must stay good.
        assert AugmentationSpec().canonical_json() == (
            '{"copies":4,"height_shift":0.1,"horizontal_flip":true,"rotation":30.0,"seed":0,'
            '"width_shift":0.1,"zoom":0.2}'
        )

    def test_of_specs_with_them_differs(self) -> None:
        assert AugmentationSpec(shear=1).fingerprint != AugmentationSpec().fingerprint
        spec = AugmentationSpec(brightness=(0.5, 1))
        assert AugmentationSpec.model_validate_json(spec.canonical_json()) == spec


class TestDisturbances:
    SHIFT = preset_augmentation("shift", copies=3)

    def changed(self, pixels: NDArray[np.float32], **values: Any) -> NDArray[np.float32]:
        spec = AugmentationSpec.model_validate(STILL.model_dump() | values)
        return make_copy(pixels, spec, sha(3), 1)

    def test_the_preset_stays_within_its_ranges_and_reaches_their_ends(self) -> None:
        drawn = [draw_parameters(self.SHIFT, sha(n), 1, 300) for n in range(2000)]
        area = np.array([p.height * p.width for p in drawn])
        assert 0.34 < area.min() < 0.37
        assert 0.97 < area.max() <= 1.0
        found = [p.disturbance for p in drawn if p.disturbance is not None]
        assert len(found) == 2000
        for name, low, high in (
            ("gamma", np.exp(-0.35), np.exp(0.35)),
            ("contrast", 0.6, 1.4),
            ("brightness_shift", -40.0, 40.0),
        ):
            values = np.array([getattr(each, name) for each in found])
            assert low <= values.min() < low + 0.02 * (high - low)
            assert high - 0.02 * (high - low) < values.max() <= high
        for name, none, share, low, high in (
            ("blur", 0.0, 0.7, 0.3, 2.2),
            ("noise", 0.0, 0.5, 1.0, 8.0),
            ("downscale", 1.0, 0.3, 0.4, 1.0),
        ):
            values = np.array([getattr(each, name) for each in found])
            some = values[values != none]
            assert share - 0.05 < len(some) / 2000 < share + 0.05
            assert low <= some.min() < some.max() <= high

    def test_a_crop_stays_inside_the_image(self) -> None:
        for n in range(500):
            p = draw_parameters(self.SHIFT, sha(n), 1, 200)
            assert abs(p.top) <= (1 - p.height) / 2 * 200
            assert abs(p.left) <= (1 - p.width) / 2 * 200

    def test_a_crop_is_that_part_of_the_image(self) -> None:
        whole = np.tile(np.arange(40, dtype=np.float32)[:, None, None], (1, 40, 1))
        part = CopyParameters(0, 0, 0, 1, 1, False, height=0.5, width=1.0, top=-10.0)
        rows = apply_affine(whole, part)[:, 0, 0]
        np.testing.assert_allclose(rows, np.linspace(-0.25, 19.25, 40).clip(0), atol=1e-4)

    def test_copies_of_a_preset_are_the_same_in_every_version(self) -> None:
        # Written down, as those of the study are.
        grey = np.tile(np.arange(0, 240, 6, dtype=np.float32)[:, None, None], (1, 40, 1))
        means = [float(make_copy(grey, self.SHIFT, sha(n), 1).mean()) for n in range(3)]
        assert means == pytest.approx([136.384, 116.657, 145.969], abs=0.02)

    def test_grey_stays_grey_and_copies_depend_on_nothing_else(self) -> None:
        random = np.random.default_rng(0)
        grey = random.uniform(0, 255, (48, 48, 1)).astype(np.float32)
        for copy in (1, 2, 3):
            one = make_copy(grey, self.SHIFT, sha(1), copy)
            three = make_copy(np.repeat(grey, 3, axis=-1), self.SHIFT, sha(1), copy)
            np.testing.assert_allclose(three, np.repeat(one, 3, axis=-1), atol=1e-3)
            np.testing.assert_array_equal(one, make_copy(grey, self.SHIFT, sha(1), copy))
            assert 0.0 <= one.min() <= one.max() <= 255.0

    def test_each_disturbance_does_what_it_says(self) -> None:
        random = np.random.default_rng(0)
        image = random.uniform(60, 180, (64, 64, 1)).astype(np.float32)
        flat = np.full((64, 64, 1), 100.0, np.float32)
        noisy = self.changed(flat, noise=(5.0, 5.0))
        assert noisy.std() == pytest.approx(5.0, rel=0.1)
        wide = self.changed(image, contrast_factor=(1.3, 1.3))
        assert wide.std() == pytest.approx(1.3 * image.std(), rel=1e-3)
        assert wide.mean() == pytest.approx(image.mean(), abs=0.1)
        shifted = self.changed(image, brightness_shift=40.0)
        assert np.ptp(shifted - image) < 1e-3
        assert 0 < abs(float((shifted - image).mean())) <= 40.0
        power = self.changed(flat, gamma=1.0)[0, 0, 0] / 255
        assert abs(np.log(np.log(power) / np.log(100 / 255))) <= 1.0
        blurred = self.changed(image, blur=(2.0, 2.0))
        coarse = self.changed(image, downscale=(0.5, 0.5))
        assert blurred.std() < 0.3 * image.std()
        assert coarse.std() < 0.7 * image.std()
        assert blurred.mean() == pytest.approx(image.mean(), abs=1.0)

    @pytest.mark.parametrize(
        "values",
        [
            {"crop": (0.5, 1.2)},
            {"crop": (0.0, 1.0)},
            {"blur": (3.0, 1.0)},
            {"noise": (-1.0, 1.0)},
            {"blur_share": 1.5},
        ],
    )
    def test_values_out_of_range_are_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            AugmentationSpec.model_validate(values)

    def test_a_spec_without_disturbances_is_written_as_it_always_was(self) -> None:
        written = AugmentationSpec().model_dump(mode="json")
        assert not {"crop", "gamma", "noise_share", "contrast_factor"} & written.keys()
