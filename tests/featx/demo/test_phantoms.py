"""The phantoms: reproducible, fair between the classes, and with lesions where the masks say."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from featx.demo._hospitals import HOME, NEXT_DOOR, Hospital
from featx.demo._phantoms import Phantom, draw_phantom, write_phantoms

SMALL = 48
LABELS = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def population() -> list[Phantom]:
    """200 patients, one image each, every other one sick."""
    return [draw_phantom(p, 0, LABELS[p % 2], size=SMALL, seed=5) for p in range(200)]


@pytest.fixture(scope="module")
def twins() -> list[tuple[Phantom, Phantom]]:
    """The same 25 patients and views without and with pneumonia."""
    return [
        (draw_phantom(p, 1, "NORMAL", size=96), draw_phantom(p, 1, "PNEUMONIA", size=96))
        for p in range(25)
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    root, masks = folder / "images", folder / "masks"
    assert write_phantoms(root, patients=40, size=32, seed=3, masks=masks) == root
    return root, masks


def separation(phantoms: list[Phantom], values: list[float]) -> float:
    """AUC of a value for the class, whichever class has the higher values; 0.5 is chance."""
    sick = np.array([phantom.label == "PNEUMONIA" for phantom in phantoms])
    difference = np.array(values)[sick, None] - np.array(values)[~sick]
    auc = float(np.mean(np.sign(difference))) / 2 + 0.5
    return max(auc, 1 - auc)


def lesion_if_sick(phantom: Phantom) -> NDArray[np.bool_]:
    """The lesion of a phantom of `population`, or the one its patient would have."""
    if phantom.label == "PNEUMONIA":
        return phantom.lesion
    return draw_phantom(phantom.patient, 0, "PNEUMONIA", size=SMALL, seed=5).lesion


def standardised(pixels: NDArray[np.uint8 | np.float64]) -> NDArray[np.float64]:
    flat = pixels.astype(np.float64).ravel()
    return (flat - float(flat.mean())) / float(flat.std())


def out_of_fold_scores(X: NDArray[np.float64], y: NDArray[np.bool_]) -> list[float]:
    """Five-fold scores of a diagonal linear discriminant: no matrix algebra, so no threads."""
    scores = np.empty(len(y))
    for fold in range(5):
        test = np.arange(len(y)) // 2 % 5 == fold
        sick, healthy = X[~test & y], X[~test & ~y]
        weight = (sick.mean(axis=0) - healthy.mean(axis=0)) / (
            sick.var(axis=0) + healthy.var(axis=0)
        )
        scores[test] = (X[test] * weight).sum(axis=1)
    return [float(score) for score in scores]


def patient_of(path: Path) -> str:
    match = re.match(r"(person\d+_(?:bacteria|virus)|IM-\d{4})_?-?\d+\.png$", path.name)
    assert match, path.name
    return match[1]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


class TestDrawPhantom:
    @pytest.mark.parametrize("label", LABELS)
    @pytest.mark.parametrize("size", [32, 75, 224])
    def test_shape_dtype_and_fields(self, label: str, size: int) -> None:
        phantom = draw_phantom(7, 2, label, size=size)
        assert phantom.pixels.shape == phantom.lesion.shape == (size, size)
        assert phantom.pixels.dtype == np.uint8
        assert phantom.lesion.dtype == np.bool_
        assert (phantom.label, phantom.patient) == (label, 7)

    def test_same_arguments_give_the_same_image_in_any_order(self) -> None:
        keys = [(p, v, label) for p in range(3) for v in range(2) for label in LABELS]
        forwards = {key: draw_phantom(*key, size=SMALL) for key in keys}
        for key in reversed(keys):
            again = draw_phantom(*key, size=SMALL)
            np.testing.assert_array_equal(again.pixels, forwards[key].pixels)
            np.testing.assert_array_equal(again.lesion, forwards[key].lesion)

    def test_numpy_numbers_draw_what_python_numbers_draw(self) -> None:
        plain = draw_phantom(3, 1, "NORMAL", size=SMALL)
        numpy = draw_phantom(np.int64(3), np.int32(1), "NORMAL", size=SMALL)  # type: ignore[arg-type]
        np.testing.assert_array_equal(plain.pixels, numpy.pixels)

    def test_seed_patient_and_view_each_change_the_image(self) -> None:
        drawn = [
            draw_phantom(p, v, "NORMAL", size=SMALL, seed=s).pixels.tobytes()
            for p, v, s in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0), (1, 1, 0), (1, 10, 0)]
        ]
        assert len(set(drawn)) == len(drawn)

    def test_views_of_a_patient_are_more_alike_than_patients(self) -> None:
        def flat(patient: int, view: int) -> NDArray[np.float64]:
            return standardised(draw_phantom(patient, view, "NORMAL", size=SMALL).pixels)

        first, second = ([flat(p, v) for p in range(12)] for v in (0, 1))
        alike = np.array([[float(np.mean(a * b)) for b in second] for a in first])
        others = alike[~np.eye(len(alike), dtype=bool)]
        assert np.median(np.diag(alike)) > np.median(others)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"label": "COVID"}, "'COVID'"),
            ({"label": "normal"}, "'normal'"),
            ({"size": 31}, "31"),
            ({"size": -5}, "-5"),
            ({"patient": -1}, "patient .*-1"),
            ({"view": -2}, "view .*-2"),
            ({"seed": -3}, "seed .*-3"),
        ],
    )
    def test_bad_argument_is_quoted(self, arguments: dict[str, object], message: str) -> None:
        good: dict[str, object] = {"patient": 0, "view": 0, "label": "NORMAL", "size": 32}
        with pytest.raises(ValueError, match=message):
            draw_phantom(**(good | arguments))  # type: ignore[arg-type]


class TestLesions:
    def test_normal_has_none_and_pneumonia_has_some(self, population: list[Phantom]) -> None:
        for phantom in population:
            assert phantom.lesion.any() == (phantom.label == "PNEUMONIA")

    def test_smallest_size_still_shows_every_lesion(self) -> None:
        assert all(draw_phantom(p, 0, "PNEUMONIA", size=32).lesion.any() for p in range(30))

    def test_lesions_lie_in_dark_lung(self, twins: list[tuple[Phantom, Phantom]]) -> None:
        for healthy, sick in twins:
            row, column = np.nonzero(sick.lesion)
            assert row.min() > 0.05 * 96
            assert row.max() < 0.95 * 96
            assert column.min() > 0.02 * 96
            assert column.max() < 0.98 * 96
            # The middle of the trunk below the lungs is soft tissue in every pose.
            tissue = healthy.pixels[-10:, 30:66].mean()
            assert healthy.pixels[sick.lesion].mean() < tissue - 20

    def test_lesions_are_brighter_than_the_same_lung_without(
        self, twins: list[tuple[Phantom, Phantom]]
    ) -> None:
        for healthy, sick in twins:
            gain = sick.pixels[sick.lesion].mean() - healthy.pixels[sick.lesion].mean()
            assert gain > 15

    def test_away_from_the_lesions_twins_are_equal(
        self, twins: list[tuple[Phantom, Phantom]]
    ) -> None:
        for healthy, sick in twins:
            changed = healthy.pixels != sick.pixels
            # No lung, no opacity: skin, abdomen and borders stay as they were.
            assert not changed[-10:].any()
            assert not changed[:, :3].any()
            assert not changed[:, -3:].any()
            assert changed.mean() < 0.4


class TestFairness:
    """200 patients put the standard error of an AUC without signal at 0.04."""

    def test_a_linear_model_of_a_thumbnail_learns_the_class_but_not_perfectly(
        self, population: list[Phantom]
    ) -> None:
        blocks = [p.pixels.reshape(16, SMALL // 16, 16, -1).mean(axis=(1, 3)) for p in population]
        X = np.stack([standardised(block) for block in blocks])
        y = np.array([p.label == "PNEUMONIA" for p in population])
        assert 0.65 < separation(population, out_of_fold_scores(X, y)) < 0.95

    def test_exposure_does_not_give_the_class_away(self, population: list[Phantom]) -> None:
        # Healthy patients leave out what a lesion of theirs would cover: dark lung, like the sick.
        outside = [float(p.pixels[~lesion_if_sick(p)].mean()) for p in population]
        abdomen = [float(p.pixels[-8:].mean()) for p in population]
        assert separation(population, outside) < 0.62
        assert separation(population, abdomen) < 0.62

    def test_noise_does_not_give_the_class_away(self, population: list[Phantom]) -> None:
        grain = [float(np.diff(p.pixels[-8:].astype(float)).std()) for p in population]
        assert separation(population, grain) < 0.62

    def test_file_size_does_not_give_the_class_away(self, population: list[Phantom]) -> None:
        sizes = []
        for phantom in population:
            file = io.BytesIO()
            Image.fromarray(phantom.pixels).save(file, "PNG")
            sizes.append(float(file.tell()))
        assert separation(population, sizes) < 0.62


class TestWritePhantoms:
    def test_every_split_has_both_classes(self, written: tuple[Path, Path]) -> None:
        root, _ = written
        assert sorted(path.name for path in root.iterdir()) == sorted(SPLITS)
        for split in SPLITS:
            assert sorted(p.name for p in (root / split).iterdir()) == sorted(LABELS)
            for label in LABELS:
                assert any((root / split / label).glob("*.png"))

    def test_patients_are_in_one_split_with_one_to_three_images(
        self, written: tuple[Path, Path]
    ) -> None:
        root, _ = written
        homes: dict[str, list[str]] = {}
        for path in root.rglob("*.png"):
            homes.setdefault(patient_of(path), []).append(path.parent.parent.name)
        assert all(len(set(splits)) == 1 and 1 <= len(splits) <= 3 for splits in homes.values())
        assert {len(splits) for splits in homes.values()} == {1, 2, 3}
        assert sum(patient.startswith("IM") for patient in homes) == 20
        assert len(homes) == 40
        counts = [sum(splits[0] == name for splits in homes.values()) for name in SPLITS]
        assert counts == [26, 4, 10]

    def test_names_tell_the_class(self, written: tuple[Path, Path]) -> None:
        root, _ = written
        for path in root.rglob("*.png"):
            assert path.name.startswith("IM-") == (path.parent.name == "NORMAL")

    def test_an_image_can_be_drawn_again_from_its_name(self, written: tuple[Path, Path]) -> None:
        root, masks = written
        path = min((root / "test" / "PNEUMONIA").iterdir())
        patient, view = (int(number) for number in re.findall(r"\d+", path.name))
        phantom = draw_phantom(patient, view, "PNEUMONIA", size=32, seed=3)
        with Image.open(path) as image, Image.open(masks / "test" / path.name) as mask:
            assert image.mode == mask.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), phantom.pixels)
            np.testing.assert_array_equal(np.asarray(mask), np.where(phantom.lesion, 255, 0))

    def test_masks_are_those_of_the_pneumonia_images(self, written: tuple[Path, Path]) -> None:
        root, masks = written
        images = {(p.parent.parent.name, p.name) for p in root.glob("*/PNEUMONIA/*.png")}
        assert {(p.parent.name, p.name) for p in masks.rglob("*.png")} == images

    def test_same_seed_writes_the_same_bytes_and_another_does_not(self, tmp_path: Path) -> None:
        first, again, other = (
            digests(write_phantoms(tmp_path / name, patients=6, size=32, seed=seed))
            for name, seed in (("first", 1), ("again", 1), ("other", 2))
        )
        assert first == again
        assert not set(first.values()) & set(other.values())

    def test_six_patients_are_enough_for_every_split(self, tmp_path: Path) -> None:
        root = write_phantoms(tmp_path, patients=6, size=32)
        assert len({(p.parent.parent.name, p.parent.name) for p in root.rglob("*.png")}) == 6

    def test_five_patients_are_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"patients must be at least 6, got 5"):
            write_phantoms(tmp_path / "root", patients=5)
        assert not (tmp_path / "root").exists()

    def test_masks_inside_the_images_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="masks must be outside"):
            write_phantoms(tmp_path / "root", masks=tmp_path / "root" / "masks")
        assert not (tmp_path / "root").exists()

    def test_a_used_folder_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "val").mkdir()
        with pytest.raises(FileExistsError, match="val exists already"):
            write_phantoms(tmp_path, patients=6, size=32)
        assert [path.name for path in tmp_path.iterdir()] == ["val"]


class TestHospitals:
    def test_next_door_has_other_patients_one_film_each(self, tmp_path: Path) -> None:
        shares = {"test": 0.75, "val": 0.25}
        root = write_phantoms(tmp_path, patients=16, size=32, hospital=NEXT_DOOR, shares=shares)
        names = [path.name for path in root.rglob("*.png")]
        patients = {int(re.findall(r"\d+", name)[0]) for name in names}
        assert len(names) == len(patients) == 16
        assert min(patients) >= NEXT_DOOR.first_patient
        assert sum(1 for _ in (root / "val").rglob("*.png")) == 4

    def test_only_the_look_of_the_film_differs(self) -> None:
        for patient in range(5001, 5011):
            home, there = (
                draw_phantom(patient, 1, "PNEUMONIA", size=96, hospital=hospital)
                for hospital in (HOME, NEXT_DOOR)
            )
            np.testing.assert_array_equal(home.lesion, there.lesion)
            assert there.pixels[home.pixels < 100].mean() > home.pixels[home.pixels < 100].mean()
            assert np.abs(np.diff(gaussian_filter(there.pixels.astype(float), 1))).mean() < (
                np.abs(np.diff(gaussian_filter(home.pixels.astype(float), 1))).mean()
            )

    def test_a_hospital_that_changes_nothing_gives_the_same_pixels(self) -> None:
        usual = draw_phantom(3, 1, "PNEUMONIA", size=64)
        same = draw_phantom(3, 1, "PNEUMONIA", size=64, hospital=Hospital(first_patient=9))
        np.testing.assert_array_equal(usual.pixels, same.pixels)

    def test_sicker_patients_have_larger_lesions(self) -> None:
        def extent(hospital: Hospital) -> float:
            return sum(
                float(draw_phantom(p, 1, "PNEUMONIA", size=48, hospital=hospital).lesion.mean())
                for p in range(20)
            )

        assert extent(HOME) > 1.5 * extent(Hospital())
