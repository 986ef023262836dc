"""``featx data check`` on a folder with ten planted silences names all ten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageEnhance

from featx.data import group_of
from featx.demo._phantoms import write_phantoms

if TYPE_CHECKING:
    from tests.cli.conftest import Answer, Featx

SIDE, WIDE = 64, 84


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that reads without an error, and misleads in ten ways."""
    folder = tmp_path_factory.mktemp("silent")
    drawn = write_phantoms(folder / "drawn", patients=160, size=SIDE, seed=7)
    root = folder / "data"

    def take(label: str, name: str, targets: list[str], width: int = SIDE) -> list[Path]:
        """Copy one image of each drawn patient to where the targets say, under a plain name."""
        of_patients = {group_of(path.name): path for path in sorted(drawn.glob(f"*/{label}/*"))}
        written = []
        for number, (path, target) in enumerate(zip(of_patients.values(), targets, strict=False)):
            file = root / target / f"{name}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.resize((width, SIDE)).save(file)
            written.append(file)
        assert len(written) == len(targets)
        return written

    plain = take("NORMAL", "p", ["train/plain/images"] * 25 + ["test/plain"] * 10)
    # 7: the width tells the label. 6: train has one image of a class.
    wide = take("PNEUMONIA", "e", ["train/effusion"] + ["test/effusion"] * 25, WIDE)
    # 8: one name in two folders.
    wide[0].rename(wide[0].with_name("scan.png"))
    plain[0].rename(plain[0].with_name("scan.png"))
    # 9: a broken image. 10: a near duplicate in another split.
    (root / "train/plain/images/broken.png").write_text("not a picture")
    with Image.open(plain[3]) as image:
        ImageEnhance.Brightness(image).enhance(1.08).save(root / "test/plain/lookalike.png")
    # 3: a format that isn't read, more often than the one that is.
    for number in range(40):
        Image.new("L", (SIDE, SIDE), number).save(root / f"train/plain/images/g{number}.gif")
    # 4: masks beside the images. 5: a folder that is no split.
    for path in plain[1:5]:
        mask = root / "train/plain/masks" / path.name
        mask.parent.mkdir(exist_ok=True)
        Image.new("L", (SIDE, SIDE), 255).save(mask)
    for label, path in (("plain", plain[5]), ("effusion", wide[5])):
        (root / "spare" / label).mkdir(parents=True)
        shutil.copy(path, root / "spare" / label / "h.png")
    return root


@pytest.fixture
def answer(featx: Featx, silent: Path) -> Answer:
    return featx("data", "check", silent)


@pytest.fixture
def found(featx: Featx, silent: Path) -> dict[str, Any]:
    said = json.loads(featx("data", "check", silent, "--json").out)
    return {finding["check"]: finding for finding in said["findings"]}


def test_a_class_of_one_a_shortcut_equal_names_a_broken_image_and_a_lookalike(
    answer: Answer, found: dict[str, Any]
) -> None:
    assert answer.code == 1
    assert found["class-of-one-patient"]["title"] == ("effusion has 1 image of 1 patient to fit on")
    assert found["shortcut-width"]["details"]["auc"] > 0.9
    assert "train/effusion/scan.png" in " ".join(found["equal-names"]["examples"])
    assert "train/plain/images/broken.png" in found["unreadable"]["details"]["paths"]
    assert any(
        {Path(path).name for path in group} == {"p3.png", "lookalike.png"}
        for group in found["near-duplicates-across-splits"]["details"]["groups"]
    )
    for finding in found.values():
        title = finding["title"]
        assert title[:1].upper() + title[1:] in " ".join(answer.out.split())


def test_the_alphabet_as_judge_and_unknown_patients(answer: Answer, found: dict[str, Any]) -> None:
    assert answer.out.startswith(
        "Positive class (sick): plain. Negative class (healthy): effusion."
    )
    assert "the alphabet alone made plain the positive class" in answer.out + answer.err
    assert found["patients-unknown"]["title"] == (
        "no patient is known: every image counts as its own"
    )


def test_a_format_that_is_not_read_masks_and_a_folder_that_is_no_split(
    found: dict[str, Any],
) -> None:
    left_out = found["left-out"]["details"]["paths"]
    assert sum(path.endswith(".gif") for path in left_out) == 40
    assert {path for path in left_out if "masks" in path} >= {"train/plain/masks/p1.png"}
    assert "spare/plain/h.png" in left_out
    assert found["left-out"]["severity"] == "warning"
