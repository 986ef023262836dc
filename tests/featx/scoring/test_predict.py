"""Predicting image files: scores, flags, what is decoded ahead, and what a bad file does."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

from featx._run import Run, load_run
from featx._scores import Scores
from featx.backbones import Backbone
from featx.errors import InputError
from featx.evaluation import average_over_grid
from featx.extraction._pipeline import embed_filled
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.scoring import ImageScorer, Prediction, find_images, predict_images
from featx.scoring import _image_scorer as scoring
from featx.scoring._predictions import unlike_warning
from featx.thresholds import learn_platt
from featx_cache import open_cache
from tests.dicoms import dicom

FIXTURES = Path(__file__).parent / "fixtures"


def images_of(data: Path) -> list[Path]:
    return list(find_images([data / "test"]))


class TestPredicting:
    @pytest.fixture
    def tiny(self, tiny_run: Path) -> Run:
        return load_run(tiny_run)

    @pytest.fixture(scope="class")
    def predicted(
        self, tiny_run: Path, tiny_cache: Path, tiny_backbone: Backbone, phantom_data: Path
    ) -> tuple[list[Prediction], Any]:
        """Verdicts on all images, the last of the cache first, and the table of these."""
        cache = open_cache(tiny_cache)
        table = cache.images.iloc[::-1].reset_index(drop=True)
        paths = [phantom_data / path for path in table["path"]]
        return list(load_run(tiny_run).predict(paths, backbone=tiny_backbone)), table

    def test_a_score_is_that_of_the_cached_embedding_of_the_same_image(
        self, tiny: Run, tiny_cache: Path, predicted: tuple[list[Prediction], Any]
    ) -> None:
        predictions, _ = predicted
        cache = open_cache(tiny_cache)
        scores = tiny.score(cache.read(cache.row_numbers(splits=None, copies=False)))[::-1]
        assert len(predictions) > 2 * scoring.BATCH_SIZE
        assert [p.score for p in predictions] == pytest.approx(scores.tolist(), abs=1e-3)

    def test_the_order_is_that_of_the_paths(
        self, predicted: tuple[list[Prediction], Any], phantom_data: Path
    ) -> None:
        predictions, table = predicted
        assert [p.path for p in predictions] == [str(phantom_data / p) for p in table["path"]]

    def test_the_verdict_is_positive_at_the_threshold_and_above(
        self, tiny: Run, predicted: tuple[list[Prediction], Any]
    ) -> None:
        threshold = tiny.record.threshold
        for p in predicted[0]:
            assert p.threshold == threshold
            assert p.score is not None
            assert p.prediction == ("PNEUMONIA" if p.score >= threshold else "NORMAL")
            assert p.error == ""

    def test_an_unreadable_file_has_a_reason_and_no_score_and_stops_nothing(
        self,
        tiny: Run,
        tiny_backbone: Backbone,
        phantom_data: Path,
        tmp_path: Path,
    ) -> None:
        good = images_of(phantom_data)[:2]
        empty, text, gone = (tmp_path / name for name in ("empty.png", "text.png", "gone.png"))
        empty.touch()
        text.write_text("not an image")
        paths = [empty, good[0], text, gone, good[1]]
        predictions = list(predict_images(ImageScorer(tiny, tiny_backbone), paths))
        assert [p.path for p in predictions] == [str(path) for path in paths]
        assert [p.score is None for p in predictions] == [True, False, True, True, False]
        for p in predictions:
            assert bool(p.error) == (p.score is None) == (p.prediction == "")
        assert predictions[0].error == "the file is empty"
        assert predictions[2].error == "text, not an image"
        alone = tiny.predict([good[1]], backbone=tiny_backbone)[0]
        assert predictions[4].score == pytest.approx(alone.score, abs=1e-5)

    def test_grey_and_colour_images_can_be_mixed(
        self, tiny: Run, tiny_backbone: Backbone, phantom_data: Path, tmp_path: Path
    ) -> None:
        grey = images_of(phantom_data)[0]
        Image.open(grey).convert("RGB").save(tmp_path / "colour.png")
        paths = [grey, tmp_path / "colour.png"]
        one, other = tiny.predict(paths, backbone=tiny_backbone)
        assert one.score == pytest.approx(other.score, abs=1e-3)

    def test_dicom_is_scored_like_the_same_picture_in_png(
        self, tiny: Run, tiny_backbone: Backbone, phantom_data: Path, tmp_path: Path
    ) -> None:
        png = images_of(phantom_data)[0]
        file = dicom(tmp_path / "IM000001", np.asarray(Image.open(png)))
        one, other = tiny.predict([*find_images([tmp_path]), png], backbone=tiny_backbone)
        assert one.path == str(file)
        assert one.score == pytest.approx(other.score, abs=0.02)

    def test_only_a_few_batches_are_read_ahead(
        self,
        tiny: Run,
        tiny_backbone: Backbone,
        phantom_data: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        image = images_of(phantom_data)[0]
        taken = 0
        sizes: list[int] = []

        def endless() -> Iterator[Path]:
            nonlocal taken
            while True:
                taken += 1
                yield image

        def spy(backbone: Backbone, images: list[Any], rows: int) -> Any:
            sizes.append(len(images))
            return embed_filled(backbone, images, rows)

        monkeypatch.setattr("featx.scoring._image_scorer.embed_filled", spy)
        scorer = ImageScorer(tiny, tiny_backbone, views=False)
        predictions = predict_images(scorer, endless())
        for _ in range(3 * scoring.BATCH_SIZE):
            next(predictions)
        assert taken <= (3 + scoring.BATCHES_AHEAD) * scoring.BATCH_SIZE
        assert set(sizes) == {scoring.BATCH_SIZE}

    def test_its_threads_end_when_nobody_wants_more(
        self, tiny: Run, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        before = threading.active_count()
        scorer = ImageScorer(tiny, tiny_backbone)
        predictions = predict_images(scorer, images_of(phantom_data) * 20)
        next(predictions)
        predictions.close()  # type: ignore[attr-defined]
        assert threading.active_count() <= before

    def test_nothing_is_predicted_for_no_paths(self, tiny: Run, tiny_backbone: Backbone) -> None:
        assert list(tiny.predict([], backbone=tiny_backbone)) == []


class TestProbability:
    def test_where_the_head_gives_none_the_score_is_scaled_on_out_of_fold_scores(
        self, tiny_run: Path, phantom_data: Path, tiny_backbone: Backbone
    ) -> None:
        run = load_run(tiny_run)
        table = run.out_of_fold
        platt = learn_platt(Scores.from_table(table, ("NORMAL", "PNEUMONIA")))
        for p in run.predict(images_of(phantom_data), backbone=tiny_backbone):
            assert p.score is not None
            assert p.probability == pytest.approx(platt.apply([p.score])[0])
            assert p.probability != p.score

    def test_a_calibrated_head_s_score_is_a_probability(
        self, tiny_cache: Path, tmp_path: Path, phantom_data: Path, tiny_backbone: Backbone
    ) -> None:
        spec = HeadSpec(name="logreg", calibration="sigmoid")
        run = load_run(fit(open_cache(tiny_cache), spec, tmp_path / "r", accuracy_floor=0.5).path)
        assert run.calibration is None
        for p in run.predict(images_of(phantom_data), backbone=tiny_backbone):
            assert p.probability == p.score


class TestFlags:
    @pytest.fixture
    def run(self, tiny_run: Path) -> Run:
        return load_run(tiny_run)

    def test_the_distance_is_that_of_the_averaged_embedding_to_the_training_images(
        self, run: Run, phantom_data: Path, tiny_backbone: Backbone, tiny_cache: Path
    ) -> None:
        cache = open_cache(tiny_cache)
        rows = cache.row_numbers(splits=("test",), copies=False)
        wanted = run.reference.distance(average_over_grid(cache.read(rows)))
        files = [phantom_data / path for path in cache.table(rows)["path"]]
        found = list(run.predict(files, backbone=tiny_backbone))
        assert [p.distance for p in found] == pytest.approx(wanted, rel=0.02)
        for p in found:
            assert p.distance is not None
            assert p.unlike_training == (p.distance > run.reference.limit)

    def test_an_image_beyond_the_limit_is_unlike_the_training_set(
        self, run: Run, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        files = images_of(phantom_data)
        near = list(run.predict(files, backbone=tiny_backbone))
        distances = sorted(p.distance or 0.0 for p in near)
        vars(run.reference)["limit"] = (distances[-2] + distances[-1]) / 2
        far = [p.unlike_training for p in run.predict(files, backbone=tiny_backbone)]
        assert far.count(True) == 1
        assert far.index(True) == np.argmax([p.distance or 0.0 for p in near])

    def test_a_verdict_is_uncertain_in_the_band_and_sure_outside(
        self, run: Run, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        files = images_of(phantom_data)
        scores = sorted(p.score or 0.0 for p in run.predict(files, backbone=tiny_backbone))
        band = (scores[1] - 1e-4, scores[2] + 1e-4)
        run.record = run.record.model_copy(update={"band": band})
        found = list(run.predict(files, backbone=tiny_backbone))
        assert sum(bool(p.uncertain) for p in found) == 2
        assert all(
            p.uncertain == (p.score is not None and band[0] <= p.score <= band[1]) for p in found
        )

    def test_runs_of_earlier_versions_have_no_flags(
        self, run: Run, tiny_backbone: Backbone, phantom_data: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(run.path, tmp_path / "run")
        (tmp_path / "run" / "reference.h5").unlink()
        old = load_run(tmp_path / "run")
        old.record = old.record.model_copy(update={"band": None, "files": {}})
        found = old.predict(images_of(phantom_data), backbone=tiny_backbone)[0]
        assert found.score is not None
        assert (found.uncertain, found.unlike_training, found.distance) == (None, None, None)

    def test_a_new_run_without_its_reference_is_damaged(
        self, run: Run, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        shutil.copytree(run.path, tmp_path / "run")
        (tmp_path / "run" / "reference.h5").unlink()
        with pytest.raises(InputError, match=r"no reference\.h5"):
            load_run(tmp_path / "run").predict([], backbone=tiny_backbone)


class TestScoresThatAreNoNumbers:
    def test_a_head_that_gives_none_makes_an_error_of_that_image_alone(
        self,
        tiny_run: Path,
        tiny_backbone: Backbone,
        phantom_data: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = load_run(tiny_run)
        proper = run.head_scores

        def second_is_nan(embeddings: Any) -> Any:
            scores = proper(embeddings)
            scores[1] = np.nan
            return scores

        monkeypatch.setattr(run, "head_scores", second_is_nan)
        files = images_of(phantom_data)[:3]
        found = list(run.predict(files, backbone=tiny_backbone))
        assert [p.score is None for p in found] == [False, True, False]
        assert "not a number" in found[1].error
        assert (found[1].prediction, found[1].probability) == ("", None)

    def test_an_embedding_of_such_values_stops_nothing_either(
        self, tiny_run: Path, tiny_backbone: Backbone, phantom_data: Path
    ) -> None:
        class Broken:
            spec = tiny_backbone.spec
            channels, depends_on_batch = 3, True

            def embed(self, images: Any) -> Any:
                embeddings = tiny_backbone.embed(images).copy()
                embeddings[0] = np.nan
                return embeddings

        files = images_of(phantom_data)[:3]
        broken: Any = Broken()
        found = list(load_run(tiny_run).predict(files, backbone=broken))
        assert [p.score is None for p in found] == [True, False, False]


class TestUnlikeWarning:
    @pytest.mark.parametrize(
        ("unlike", "images"), [(0, 0), (0, 5), (1, 1), (1, 10), (1, 100), (10, 1000), (15, 1000)]
    )
    def test_what_chance_explains_is_no_news(self, unlike: int, images: int) -> None:
        assert unlike_warning(unlike, images) == ""

    @pytest.mark.parametrize(("unlike", "images"), [(2, 2), (2, 10), (6, 100), (25, 1000)])
    def test_more_than_that_is(self, unlike: int, images: int) -> None:
        assert binom.sf(unlike - 1, images, 0.01) < 0.01
        said = unlike_warning(unlike, images)
        assert said.startswith(f"{unlike} of {images} images are unlike")
        assert "1% would be expected" in said
        assert "another population" in said
        assert "\n" not in said


class TestFindingImages:
    def test_files_stay_as_given_and_folders_give_all_below_them(self, tmp_path: Path) -> None:
        for name in ("b/2.png", "b/c/1.JPG", "b/notes.txt", "b/.DS_Store", "a.jpeg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = list(find_images([tmp_path / "b", tmp_path / "a.jpeg"]))
        assert found[:2] == [tmp_path / "b/2.png", tmp_path / "b/c/1.JPG"]
        assert found[2] == tmp_path / "a.jpeg"

    def test_a_file_that_was_named_is_taken_whatever_its_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "image.dat").touch()
        assert list(find_images([tmp_path / "image.dat"])) == [tmp_path / "image.dat"]

    def test_a_folder_without_images_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=f"no images in {tmp_path}"):
            find_images([tmp_path])

    def test_a_path_that_does_not_exist_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=f"no image or folder {tmp_path / 'gone.png'}"):
            find_images([tmp_path / "gone.png"])

    def test_a_folder_is_walked_through_as_images_are_asked_for(self, tmp_path: Path) -> None:
        for name in ("a/1.png", "a/2.png", "b/3.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = find_images([tmp_path])
        assert next(found) == tmp_path / "a/1.png"
        (tmp_path / "b/4.png").touch()
        assert list(found) == [tmp_path / name for name in ("a/2.png", "b/3.png", "b/4.png")]

    def test_all_paths_are_looked_at_before_the_first_image(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").touch()
        with pytest.raises(InputError, match=r"gone\.png"):
            find_images([tmp_path / "a.png", tmp_path / "gone.png"])
