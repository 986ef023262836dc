"""Planted faults: each is found, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from featx.data import group_of, load_manifest
from featx.demo._phantoms import write_phantoms
from featx.inspection import Finding, inspect

SIZE = 64


def checked(data: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in inspect(load_manifest(data)).findings}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn chests of 400 patients, half of them sick. Only read it."""
    folder = tmp_path_factory.mktemp("drawn")
    return write_phantoms(folder / "data", patients=400, size=SIZE, seed=4)


@pytest.fixture(scope="session")
def distinct(drawn: Path) -> list[str]:
    """Paths of the drawn chests that have no twin before them: all of val, others of some patients.

    A val split that isn't too small takes many, and the other splits needn't be as large.
    """
    table = load_manifest(drawn).table
    some = (table["split"] == "val") | (pd.factorize(table["group"])[0] % 2 == 0)
    return list(table["path"][some & ~table["sha256"].duplicated()])


@pytest.fixture
def clean(drawn: Path, distinct: list[str], tmp_path: Path) -> Path:
    """A data set in which there is nothing to be found: links to the drawn chests."""
    data = tmp_path / "data"
    for path in distinct:
        link = data / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(drawn / path)
    return data


def images(data: Path, split: str, label: str) -> list[Path]:
    return sorted((data / split / label).iterdir())


def lone(data: Path, split: str, label: str) -> list[Path]:
    """Images of patients that have no other: another view looks nearly the same."""
    paths = images(data, split, label)
    groups = [group_of(path.name) for path in paths]
    return [p for p, group in zip(paths, groups, strict=True) if groups.count(group) == 1]


def rewrite(path: Path, change: Callable[[Image.Image], Image.Image], name: str = "") -> Path:
    """Replace an image by a changed one, perhaps under another name."""
    with Image.open(path) as image:
        changed = change(image)
    target = path.with_name(name) if name else path
    target.unlink(missing_ok=True)
    changed.save(target)
    return target


def grey(value: int, noise: int = 0) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        pixels = np.full(image.size[::-1], value, np.uint8)
        pixels += np.random.default_rng(value).integers(0, noise + 1, pixels.shape, np.uint8)
        return Image.fromarray(pixels)

    return change


def test_a_clean_data_set_has_nothing_to_be_found(clean: Path) -> None:
    inspection = inspect(clean)  # a path is enough
    assert inspection.findings == []
    assert inspection.to_frame().empty
    assert repr(inspection) == f"Inspection({len(inspection.manifest)} images: nothing found)"
    assert inspection.labels is None
    assert not inspection.draw_doubtful_labels(clean.parent / "sheet.png")


def test_how_an_inspection_prints(clean: Path) -> None:
    for path in images(clean, "test", "NORMAL"):
        path.unlink()
    rewrite(images(clean, "train", "NORMAL")[0], grey(0))
    inspection = inspect(clean)
    assert repr(inspection).endswith("images: 1 error, 1 warning)")
    frame, page = inspection.to_frame(), inspection._repr_html_()
    assert frame["check"].tolist() == ["class-missing-in-split", "constant"]
    assert frame["examples"][0] == "test has no NORMAL"
    assert "Positive class (sick): PNEUMONIA." in page
    assert "a split without images of a class" in page
    assert [each["check"] for each in inspection.to_dict()["findings"]] == frame["check"].tolist()


class TestPlanted:
    """One fault each. The check says its number, and no other check says anything."""

    def only(self, data: Path, check: str, count: int, severity: str) -> Finding:
        found = checked(data)
        assert list(found) == [check]
        assert found[check].count == count
        assert found[check].severity == severity
        assert found[check].advice
        assert 1 <= len(found[check].examples) <= 3
        return found[check]

    def test_truncated_and_empty_files(self, clean: Path) -> None:
        first, second, third = images(clean, "train", "NORMAL")[:3]
        whole = first.read_bytes()
        for path, content in ((first, whole[: len(whole) // 2]), (second, b""), (third, b"text")):
            path.unlink()
            path.write_bytes(content)
        finding = self.only(clean, "unreadable", 3, "warning")
        found = {Path(path).name for path in finding.details["paths"]}
        assert found == {first.name, second.name, third.name}

    def test_exact_duplicates_in_one_split(self, clean: Path) -> None:
        first = images(clean, "train", "NORMAL")[0]
        (first.parent / "copy.png").write_bytes(first.read_bytes())
        (first.parent / "another.png").write_bytes(first.read_bytes())
        finding = self.only(clean, "duplicates", 1, "note")
        assert "(2 redundant)" in finding.title

    def test_exact_duplicates_across_splits(self, clean: Path) -> None:
        for path in lone(clean, "train", "PNEUMONIA")[:2]:
            (clean / "test" / "PNEUMONIA" / f"x-{path.name}").write_bytes(path.read_bytes())
        finding = self.only(clean, "exact-duplicates-across-splits", 2, "error")
        assert all("(train)" in example and "(test)" in example for example in finding.examples)

    def test_exact_duplicates_with_different_labels(self, clean: Path) -> None:
        path = lone(clean, "train", "PNEUMONIA")[3]
        (clean / "train" / "NORMAL" / f"x-{path.name}").write_bytes(path.read_bytes())
        self.only(clean, "exact-duplicates-with-different-labels", 1, "error")

    @pytest.mark.parametrize("change", ["jpeg", "smaller", "brighter", "contrast"])
    def test_near_duplicates_across_splits(self, clean: Path, change: str) -> None:
        def changed(image: Image.Image) -> Image.Image:
            if change == "jpeg":
                packed = io.BytesIO()
                image.convert("L").save(packed, "JPEG", quality=60)
                return Image.open(packed)
            if change == "smaller":
                return image.resize((SIZE * 3 // 4, SIZE * 3 // 4), Image.Resampling.BICUBIC)
            if change == "brighter":
                return ImageEnhance.Brightness(image).enhance(1.08)
            return ImageEnhance.Contrast(image).enhance(0.9)

        for number, path in enumerate(lone(clean, "train", "NORMAL")[:3]):
            with Image.open(path) as image:
                target = clean / "val" / "NORMAL" / f"lookalike-{number}.png"
                changed(image).save(target)
        self.only(clean, "near-duplicates-across-splits", 3, "error")

    def test_near_duplicates_with_different_labels(self, clean: Path) -> None:
        path = lone(clean, "train", "NORMAL")[5]
        with Image.open(path) as image:
            ImageEnhance.Brightness(image).enhance(0.93).save(
                clean / "train" / "PNEUMONIA" / "lookalike.png"
            )
        self.only(clean, "near-duplicates-with-different-labels", 1, "error")

    def test_patients_in_several_splits(self, clean: Path) -> None:
        paths = [*lone(clean, "train", "PNEUMONIA")[:2], *lone(clean, "test", "PNEUMONIA")[:2]]
        for number, path in enumerate(paths):
            path.rename(path.with_name(f"person{9007 + number % 2}_virus_{number}.png"))
        finding = self.only(clean, "patients-in-several-splits", 2, "error")
        assert "(4 images)" in finding.title
        expected = tuple(f"person{number}_virus (test, train)" for number in (9007, 9008))
        assert finding.examples == expected

    def test_a_class_that_a_split_lacks(self, clean: Path) -> None:
        for path in images(clean, "test", "NORMAL"):
            path.unlink()
        finding = self.only(clean, "class-missing-in-split", 1, "error")
        assert finding.examples == ("test has no NORMAL",)

    def test_a_validation_split_too_small(self, clean: Path) -> None:
        for label in ("NORMAL", "PNEUMONIA"):
            for path in images(clean, "val", label)[8:]:
                path.unlink()
        finding = self.only(clean, "val-too-small", 16, "warning")
        assert finding.examples[0].startswith("a recall of 0.88 on 8 images of PNEUMONIA")

    def test_class_balance_that_differs(self, clean: Path) -> None:
        healthy = images(clean, "train", "NORMAL")
        for path in healthy[: 2 * len(healthy) // 3]:
            path.unlink()
        self.only(clean, "class-balance-differs", 3, "note")

    def test_constant_and_blank_images(self, clean: Path) -> None:
        rewrite(images(clean, "train", "NORMAL")[0], grey(0))
        rewrite(images(clean, "train", "NORMAL")[1], grey(200))
        rewrite(images(clean, "train", "PNEUMONIA")[0], grey(90, noise=9))
        found = checked(clean)
        assert {check: each.count for check, each in found.items()} == {"constant": 2, "blank": 1}

    def test_inverted_images(self, clean: Path) -> None:
        negatives = images(clean, "train", "NORMAL")[:3] + images(clean, "test", "PNEUMONIA")[:2]
        for path in negatives:
            rewrite(path, lambda image: Image.fromarray(255 - np.asarray(image)))
        finding = self.only(clean, "inverted", 5, "warning")
        assert {Path(p).name for p in finding.details["paths"]} == {p.name for p in negatives}

    def test_odd_aspect_ratios(self, clean: Path) -> None:
        rewrite(images(clean, "train", "NORMAL")[0], lambda i: i.resize((SIZE, 3 * SIZE)))
        rewrite(images(clean, "train", "PNEUMONIA")[0], lambda i: i.resize((3 * SIZE, SIZE)))
        self.only(clean, "odd-aspect", 2, "warning")

    @pytest.mark.parametrize("shortcut", ["width", "mode", "format", "file-size"])
    def test_shortcuts(self, clean: Path, shortcut: str) -> None:
        for split in ("train", "val", "test"):
            for number, path in enumerate(images(clean, split, "NORMAL")):
                if shortcut == "width":
                    if number % 4:
                        rewrite(path, lambda i: i.resize((SIZE + 20, SIZE)))
                elif shortcut == "mode":
                    if number % 4:
                        rewrite(path, lambda i: i.convert("RGB"))
                elif shortcut == "format":
                    if number % 4:
                        rewrite(path, lambda i: i.convert("L"), path.stem + ".jpeg")
                        path.unlink()
                else:
                    content = path.read_bytes()
                    path.unlink()
                    path.write_bytes(content + b"\0" * 300)
        found = checked(clean)
        assert f"shortcut-{shortcut}" in found
        # A wider image has another aspect ratio, and a JPEG another size in bytes, too.
        allowed = {
            "width": {"shortcut-aspect-ratio", "shortcut-file-size"},
            "mode": {"shortcut-file-size"},
            "format": {"shortcut-file-size"},
            "file-size": set(),
        }[shortcut]
        assert set(found) - {f"shortcut-{shortcut}"} <= allowed
        assert found[f"shortcut-{shortcut}"].details["auc"] > 0.7
        assert found[f"shortcut-{shortcut}"].severity == "warning"


def listed(data: Path, columns: Mapping[str, Any], per_class: int = 50) -> Path:
    """A CSV file of drawn chests, healthy ones first, with further columns."""
    rows = []
    for label in ("NORMAL", "PNEUMONIA"):
        of_patients = {group_of(path.name): str(path) for path in images(data, "train", label)}
        paths = list(of_patients.values())[:per_class]
        assert len(paths) == per_class
        rows += [{"path": path, "label": label, "split": "train"} for path in paths]
    table = pd.DataFrame(rows)
    for name, values in columns.items():
        table[name] = list(values)
    table.to_csv(data / "list.csv", index=False)
    return data / "list.csv"


def found_in(path: Path) -> dict[str, Finding]:
    manifest = load_manifest(path, allow_outside=True, keep=None)
    return {finding.check: finding for finding in inspect(manifest).findings}


class TestColumns:
    """Each further column of a manifest that tells the label is named."""

    def test_hospitals_that_go_with_the_label(
        self, clean: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hospital = ["A"] * 48 + ["B"] * 2 + ["A"] * 2 + ["B"] * 48
        found = found_in(listed(clean, {"hospital": hospital}))
        assert set(found) == {"shortcut-column-hospital"}
        monkeypatch.chdir("/")  # below which all images are
        read = inspect(pd.read_csv(clean / "list.csv"))
        assert [each.check for each in read.findings] == ["shortcut-column-hospital"]
        assert "hospital" not in read.manifest.table
        finding = found["shortcut-column-hospital"]
        assert finding.severity == "warning"
        assert finding.title == (
            "the column hospital alone tells PNEUMONIA from NORMAL (Cramér's V 0.92)"
        )
        assert finding.examples == (
            "NORMAL: 48 of 50 patients have A",
            "PNEUMONIA: 2 of 50 patients have A",
        )

    def test_numbers_missing_values_and_numbered_hospitals(self, clean: Path) -> None:
        random = np.random.default_rng(0)
        sick = np.repeat([0, 1], 50)
        columns = {
            "age": np.round(random.normal(40 + 30 * sick, 12)),
            "remark": np.where(sick & (random.random(100) < 0.8), "see letter", ""),
            "site": random.integers(1, 4, 100) + 3 * sick,
        }
        found = found_in(listed(clean, columns))
        assert set(found) == {f"shortcut-column-{name}" for name in columns}
        assert "AUC 0.9" in found["shortcut-column-age"].title
        assert "NORMAL: 50 of 50 patients have no value" in found["shortcut-column-remark"].examples

    def test_chance_identifiers_and_the_label_are_no_shortcuts(self, clean: Path) -> None:
        random = np.random.default_rng(1)
        columns = {
            "hospital": random.choice(list("ABCDEFGH"), 100),
            "age": random.normal(50, 20, 100),
            "image_id": np.arange(100),
            "serial": np.arange(500, 600),
            "series": [f"S{number // 2}" for number in range(100)],
            "cause": np.repeat(["", "virus"], 50),
            "diagnosis": np.repeat(["well", "ill"], 50),
        }
        assert found_in(listed(clean, columns)) == {}

    def test_images_of_one_patient_count_once(self, clean: Path) -> None:
        groups = [f"h{number // 10}" for number in range(50)]
        groups += [f"s{number // 10}" for number in range(50)]
        columns = {"group": groups, "hospital": ["A"] * 50 + ["B"] * 50}
        found = found_in(listed(clean, columns))
        assert not any("column" in check for check in found)  # ten patients: it may be chance
        assert "too-few" in found


class TestTooFew:
    def test_twenty_images(self, clean: Path) -> None:
        found = found_in(listed(clean, {}, per_class=10))
        assert set(found) == {"too-few"}
        assert found["too-few"].title == (
            "20 images of 20 patients to fit on, too few to choose a threshold on"
        )
        assert found["too-few"].examples == (
            "a recall of 0.90 on 10 patients of PNEUMONIA would be anything from 0.60 to 0.98",
        )

    def test_a_class_with_one_image(self, clean: Path) -> None:
        for split in ("train", "val"):
            for path in images(clean, split, "NORMAL")[split == "train" :]:
                path.unlink()
        finding = checked(clean)["class-of-one-patient"]
        assert finding.severity == "error"
        assert finding.title == "NORMAL has 1 image of 1 patient to fit on"

    def test_few_healthy_people_to_test_on_are_few(self, clean: Path) -> None:
        for path in images(clean, "test", "NORMAL")[5:]:
            path.unlink()
        (example,) = checked(clean)["test-too-small"].examples
        assert example.startswith(
            "a specificity of 0.80 on 5 images of NORMAL would be anything from 0.38"
        )


class TestEqualNames:
    @pytest.mark.parametrize(
        ("there", "severity"), [("train/PNEUMONIA", "note"), ("test/NORMAL", "warning")]
    )
    def test_in_different_folders(self, clean: Path, there: str, severity: str) -> None:
        for number, path in enumerate(lone(clean, "train", "NORMAL")[:3]):
            path.rename(path.with_name(f"img{number}.png"))
        for number, path in enumerate(lone(clean, *there.split("/"))[:2]):
            path.rename(path.with_name(f"img{number}.png"))
        finding = checked(clean)["equal-names"]
        assert (finding.count, finding.severity) == (2, severity)
        assert finding.title == "2 file names in more than one folder, for different images"
        assert f"{there}/img0.png" in finding.examples[0]
        assert ("in several splits" in finding.advice) == (severity == "warning")

    def test_are_no_matter_where_patients_are_known(self, clean: Path) -> None:
        for label in ("NORMAL", "PNEUMONIA"):
            path = lone(clean, "train", label)[0]
            path.rename(path.with_name("person9001_virus_1.png"))
        assert "equal-names" not in checked(clean)


class TestFixedSplits:
    def test_nothing_is_left_in_two_splits(self, clean: Path, tmp_path: Path) -> None:
        for number, path in enumerate(lone(clean, "train", "PNEUMONIA")[:2]):
            path.rename(path.with_name(f"person9009_virus_{number}.png"))
        outsider = lone(clean, "test", "PNEUMONIA")[0]
        outsider.rename(outsider.with_name("person9009_virus_5.png"))
        original = lone(clean, "train", "NORMAL")[0]
        with Image.open(original) as image:
            ImageEnhance.Brightness(image).enhance(0.95).save(clean / "val" / "NORMAL" / "x.png")
        inspection = inspect(load_manifest(clean))
        assert not inspection.ok
        fixed = inspection.fix_splits()
        fixed.save(tmp_path / "m.csv")
        again = inspect(load_manifest(tmp_path / "m.csv", root=clean, allow_outside=True))
        assert again.ok
        split = dict(zip(fixed.table["path"], fixed.table["split"], strict=True))
        # With the majority of the patient's images; of equally many, to train.
        assert split["test/PNEUMONIA/person9009_virus_5.png"] == "train"
        assert split["val/NORMAL/x.png"] == "train"
        moved = fixed.table["split"] != inspection.manifest.table["split"]
        assert moved.sum() == 2


@pytest.mark.long
class TestRealXrays:
    def test_byte_identical_groups_and_no_patient_across_splits(self, shared_data: Path) -> None:
        manifest = load_manifest(shared_data / "chest_xray")
        inspection = inspect(manifest)
        found = {finding.check: finding for finding in inspection.findings}
        by_hash = manifest.table.groupby("sha256")["path"].apply(sorted)
        expected = sorted(paths for paths in by_hash if len(paths) > 1)
        assert sorted(map(sorted, found["duplicates"].details["groups"])) == expected
        assert len(expected) > 20
        assert inspection.ok
        assert set(found) == {"duplicates", "val-too-small", "shortcut-file-size"}

    def test_originals_tell_the_class_by_their_size(self, shared_data: Path) -> None:
        found = checked(shared_data / "originals")
        assert found["shortcut-file-size"].details["auc"] > 0.9
        assert found["shortcut-height"].details["auc"] > 0.8

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: image.resize((112, 112)),
            lambda image: ImageEnhance.Brightness(image).enhance(1.2),
            lambda image: ImageEnhance.Contrast(image).enhance(0.7),
            lambda image: image.crop((2, 2, 222, 222)),
            lambda image: image.rotate(1),
        ],
        ids=["smaller", "brighter", "contrast", "cropped", "turned"],
    )
    def test_lookalikes_of_real_x_rays_are_found(
        self,
        shared_data: Path,
        tmp_path: Path,
        change: Callable[[Image.Image], Image.Image],
    ) -> None:
        chosen = load_manifest(shared_data / "originals").table.drop_duplicates("group")["path"]
        for number, name in enumerate(chosen):
            label = name.split("/")[0]
            for split in ("train", "test"):
                (tmp_path / split / label).mkdir(parents=True, exist_ok=True)
            with Image.open(shared_data / "originals" / name) as image:
                plain = image.convert("L").resize((224, 224))
            plain.save(tmp_path / "train" / label / f"{number}.png")
            change(plain).save(tmp_path / "test" / label / f"{number}.jpeg", quality=70)
        finding = checked(tmp_path)["near-duplicates-across-splits"]
        groups = [{Path(path).stem for path in group} for group in finding.details["groups"]]
        assert all(len(group) == 1 for group in groups)  # each image with its own lookalike
        assert len(groups) >= 0.95 * len(chosen)

    def test_negatives_of_real_x_rays_are_found(self, shared_data: Path, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        chosen = load_manifest(shared_data / "chest_xray").table.sample(200, random_state=1)
        inverted = set()
        for number, row in enumerate(chosen.itertuples()):
            path = tmp_path / "data" / str(row.label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(shared_data / "chest_xray" / str(row.path)) as image:
                pixels: NDArray[np.uint8] = np.asarray(image.convert("L"))
            if random.random() < 0.1:
                pixels = 255 - pixels
                inverted.add(f"{row.label}/{path.name}")
            Image.fromarray(pixels).save(path)
        assert set(checked(tmp_path / "data")["inverted"].details["paths"]) == inverted
