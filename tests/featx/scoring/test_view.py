"""Images that aren't upright frontal chest X-rays are marked, and others aren't."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from featx._run import Run, load_run
from featx.backbones import Backbone
from featx.demo._phantoms import draw_phantom
from featx.evaluation import Reference
from featx.extraction._pipeline import embed_filled
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.scoring import Prediction, PredictionCounts, find_images, predict_runs
from featx.scoring._view import VIEWS, Look, ViewCheck, changed, look
from featx_cache import open_cache

Pixels = NDArray[np.uint8]

CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "": lambda x: x,
    "rotated 90": lambda x: np.rot90(x, -1),  # clockwise
    "upside down": lambda x: np.rot90(x, 2),
    "rotated 270": lambda x: np.rot90(x, 1),
    "inverted": lambda x: 255 - x,
    "inverted, rotated 90": lambda x: 255 - np.rot90(x, -1),
    "inverted, upside down": lambda x: 255 - np.rot90(x, 2),
    "inverted, rotated 270": lambda x: 255 - np.rot90(x, 1),
}


@pytest.fixture
def run(tiny_run: Path) -> Run:
    return load_run(tiny_run)


@pytest.fixture
def held_out(phantom_data: Path) -> list[Path]:
    return list(find_images([phantom_data / "test"]))


def written(images: list[Path], folder: Path, change: Callable[[Pixels], Any]) -> list[Path]:
    """Write changed copies of images."""
    folder.mkdir()
    for image in images:
        Image.fromarray(np.ascontiguousarray(change(np.asarray(Image.open(image))))).save(
            folder / image.name
        )
    return sorted(folder.iterdir())


def clear(images: list[Path]) -> list[Path]:
    """Return the images whose pixels speak for a chest X-ray without a doubt."""
    pixels = {image: np.asarray(Image.open(image), np.float32) for image in images}
    return [image for image in images if look(pixels[image][..., np.newaxis]).likeness > 0.3]


@pytest.mark.parametrize("view", VIEWS)
def test_a_changed_phantom_is_named_by_what_was_done_to_it(view: str) -> None:
    pixels = draw_phantom(3, 0, "NORMAL", size=64).pixels
    presented = np.ascontiguousarray(CHANGES[view](pixels), np.float32)[..., np.newaxis]
    seen = look(presented)
    assert VIEWS[seen.change] == view
    assert changed(presented, seen.change)[..., 0] == pytest.approx(pixels)


def test_an_image_without_contrast_says_nothing() -> None:
    grey = np.full((40, 40, 3), 128.0, np.float32)
    assert np.isnan(look(grey).likeness)
    assert np.isnan(look(np.zeros((9, 9, 1), np.float32)).likeness)


def test_small_and_coloured_images_are_seen_alike() -> None:
    pixels = draw_phantom(3, 0, "NORMAL", size=64).pixels.astype(np.float32)[..., np.newaxis]
    grey, colour = look(pixels), look(np.repeat(pixels, 3, axis=-1))
    assert colour.change == grey.change == 0
    assert colour.likeness == pytest.approx(grey.likeness)
    tiny = np.asarray(Image.fromarray(pixels[..., 0]).resize((5, 5)))[..., np.newaxis]
    assert look(tiny).change == 0


class TestWitnesses:
    """Training images are a cloud of unit width around 0, so that distances are plain."""

    @pytest.fixture(scope="class")
    def check(self) -> ViewCheck:
        vectors = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
        return ViewCheck(Reference(vectors, pd.DataFrame({"fold": np.arange(500) % 5})))

    @staticmethod
    def at(distance: float) -> NDArray[np.float32]:
        return np.array([distance, 0, 0, 0], np.float32)

    def test_both_have_to_speak_for_an_inversion(self, check: ViewCheck) -> None:
        inverted = Look(4, 0.8)
        assert check.doubts(inverted, self.at(3.0))
        assert check.view(inverted, self.at(3.0), self.at(1.0)) == "inverted"
        assert check.view(inverted, self.at(3.0), self.at(3.2)) == ""  # as where all X-rays are so
        assert check.view(Look(0, 0.8), self.at(3.0)) == ""

    def test_an_image_as_near_as_the_training_images_is_not_doubted(self, check: ViewCheck) -> None:
        near = self.at(check.reference.median - 0.2)
        assert not check.doubts(Look(4, 0.8), near)
        assert check.view(Look(4, 0.8), near, self.at(0.0)) == ""  # which another run asked for

    def test_pixels_unlike_a_chest_are_something_else_only_beyond_the_limit(
        self, check: ViewCheck
    ) -> None:
        limit = check.reference.limit
        assert check.view(Look(0, 0.1), self.at(limit + 0.1)) == "other"
        assert check.view(Look(0, 0.1), self.at(limit - 0.1)) == ""
        assert check.view(Look(0, 0.8), self.at(limit + 0.1)) == ""

    def test_embeddings_far_away_are_something_else_whatever_the_pixels(
        self, check: ViewCheck
    ) -> None:
        assert check.view(Look(0, 0.9), self.at(20.0)) == "other"
        assert check.view(Look(4, 0.9), self.at(20.0), self.at(15.0)) == "other"
        assert check.view(Look(4, 0.9), self.at(20.0), self.at(1.0)) == "inverted"

    def test_a_flat_image_is_something_else_at_any_distance(self, check: ViewCheck) -> None:
        assert check.view(Look(0, np.nan), self.at(0.0)) == "other"


class TestPredicting:
    @pytest.mark.parametrize("view", ["upside down", "rotated 90", "inverted", "rotated 270"])
    def test_unseen_phantoms_have_their_view_and_a_verdict(
        self, run: Run, tiny_backbone: Backbone, held_out: list[Path], tmp_path: Path, view: str
    ) -> None:
        images = clear(held_out)
        assert len(images) >= 5
        found = run.predict(
            written(images, tmp_path / "changed", CHANGES[view]), backbone=tiny_backbone
        )
        assert [p.view for p in found] == [view] * len(images)
        assert all(p.score is not None and p.prediction and not p.error for p in found)

    def test_untouched_phantoms_have_none(
        self, run: Run, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        found = run.predict(phantom_data, backbone=tiny_backbone)
        assert [p.view for p in found] == [""] * len(found)
        assert found.counts.view_warning == ""
        assert "view" not in found._repr_html_()

    def test_ncnn_and_colours_and_16_bits_change_nothing(
        self, run: Run, tiny_ncnn: Backbone, held_out: list[Path], tmp_path: Path
    ) -> None:
        image = clear(held_out)[:1]
        colour = written(image, tmp_path / "c", lambda x: np.stack([255 - x] * 3, axis=-1))
        deep = written(image, tmp_path / "d", lambda x: (255 - x).astype(np.uint16) * 257)
        found = run.predict([*colour, *deep], backbone=tiny_ncnn)
        assert [p.view for p in found] == ["inverted", "inverted"]

    def test_pictures_of_something_else(
        self, run: Run, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        letters = np.random.default_rng(0).random((64, 64)) < 0.5
        lines = np.arange(64)[:, np.newaxis] % 8 < 4
        page = np.where(letters & lines, 0, 255).astype(np.uint8)
        Image.fromarray(page).save(tmp_path / "page.png")
        Image.fromarray(np.full((64, 64), 90, np.uint8)).save(tmp_path / "grey.png")
        (tmp_path / "text.png").write_text("no image")
        page_file, grey, text = (tmp_path / f"{name}.png" for name in ("page", "grey", "text"))
        found = run.predict([page_file, grey, text], backbone=tiny_backbone)
        assert [p.view for p in found] == ["other", "other", None]
        assert found.to_frame().columns[-1] == "view"
        warning = "2 of 2 images may not be an upright frontal chest X-ray: 2 other "
        assert found.notes[1].startswith(warning)
        assert warning in repr(found)
        assert "1 of 3 files could not be scored" in repr(found)
        assert "<th>view</th>" in found._repr_html_()

    def test_a_run_that_does_not_know_its_training_images_cannot_tell(
        self, run: Run, tiny_backbone: Backbone, held_out: list[Path], tmp_path: Path
    ) -> None:
        shutil.copytree(run.path, tmp_path / "run")
        (tmp_path / "run" / "reference.h5").unlink()
        old = load_run(tmp_path / "run")
        old.record = old.record.model_copy(update={"band": None, "files": {}})
        assert old.predict(held_out[0], backbone=tiny_backbone)[0].view is None


class TestPasses:
    """Doubted images alone go through the network once more, and once for all runs."""

    @pytest.fixture
    def embedded(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        sizes: list[int] = []

        def spy(backbone: Backbone, images: list[Any], rows: int) -> Any:
            sizes.append(len(images))
            return embed_filled(backbone, images, rows)

        monkeypatch.setattr("featx.scoring._image_scorer.embed_filled", spy)
        return sizes

    def test_upright_images_cost_none(
        self, run: Run, tiny_backbone: Backbone, held_out: list[Path], embedded: list[int]
    ) -> None:
        run.predict(clear(held_out)[:5], backbone=tiny_backbone)
        assert embedded == [5]

    def test_runs_of_the_same_embedding_share_them(
        self,
        run: Run,
        tiny_cache: Path,
        tiny_backbone: Backbone,
        held_out: list[Path],
        tmp_path: Path,
        embedded: list[int],
    ) -> None:
        other = fit(
            open_cache(tiny_cache), HeadSpec(name="lda"), tmp_path / "lda", accuracy_floor=0.1
        )
        changed = written(clear(held_out)[:3], tmp_path / "changed", CHANGES["inverted"])
        found = predict_runs(
            [run, other], [clear(held_out)[3], *changed], backbones=[tiny_backbone, tiny_backbone]
        )
        assert embedded == [4, 3]
        assert [p.view for p in found["lda"]] == ["", *["inverted"] * 3]
        assert found["logreg"].to_frame()["view"].tolist() == ["", *["inverted"] * 3]
        (warning,) = found.counts.view_warnings
        assert warning.startswith("3 of 4 images may not be")
        assert warning in repr(found)

    def test_an_average_over_copies_embeds_the_untouched_image_once_more(
        self,
        run: Run,
        tiny_backbone: Backbone,
        held_out: list[Path],
        tmp_path: Path,
        embedded: list[int],
    ) -> None:
        run.record = run.record.model_copy(update={"tta": 1})
        (image,) = written(clear(held_out)[:1], tmp_path / "changed", CHANGES["upside down"])
        found = run.predict(image, backbone=tiny_backbone)
        assert embedded == [2, 1]
        assert found[0].view == "upside down"


class TestWords:
    @pytest.fixture
    def counts(self, run: Run) -> PredictionCounts:
        return PredictionCounts(run)

    def add(self, counts: PredictionCounts, **views: int) -> None:
        for view, number in views.items():
            for each in range(number):
                path = f"folder/{view}{each}.png"
                counts.add(Prediction(path, 0.5, 0.5, 0.5, "NORMAL", view=view))

    def test_the_most_frequent_view_comes_first_with_three_names(
        self, counts: PredictionCounts
    ) -> None:
        counts.add(Prediction("a.png", 0.5, 0.5, 0.5, "NORMAL", view=""))
        self.add(counts, other=1, inverted=4)
        assert counts.view_warning == (
            "5 of 6 images may not be an upright frontal chest X-ray: 4 inverted (inverted0.png, "
            "inverted1.png, inverted2.png, …); 1 other (other0.png). Look at them first."
        )
        assert counts.views == Counter(inverted=4, other=1)

    def test_a_name_cannot_command_the_terminal(self, counts: PredictionCounts) -> None:
        counts.add(Prediction("a\x1b[2J\n.png", 0.5, 0.5, 0.5, "NORMAL", view="inverted"))
        assert counts.view_warning.isprintable()
