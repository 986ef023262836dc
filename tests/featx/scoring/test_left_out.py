"""Images that a run was fitted on measure nothing: same files, same patients, same pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx._run import Run, load_run
from featx.data._dicom import Pseudonyms, own_salt
from featx.errors import InputError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.populations import calibrate
from featx.scoring import score_images
from featx.scoring._left_out import LeftOut
from featx_cache import Cache


@pytest.fixture(scope="module")
def run(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("left-out") / "run"
    fit(cache, HeadSpec(name="logreg"), folder, accuracy_floor=0.6)
    return load_run(folder)


def elsewhere(made: Any) -> None:
    """Other files and other embeddings, of people with the same names."""
    random = np.random.default_rng(5)
    made.embeddings += random.normal(0, 2.0, made.embeddings.shape)
    made.images["path"] = "there/" + made.images["path"]
    made.images["sha256"] = [sha256[::-1] for sha256 in made.images["sha256"]]


class TestPatients:
    def test_other_images_of_a_training_patient_are_left_out_and_counted(
        self, run: Run, make_cache: Any, tmp_path: Path
    ) -> None:
        def change(made: Any) -> None:
            # Two test images belong to a patient of training, as in a careless split.
            test = made.images.index[made.images["split"] == "test"]
            made.images.loc[test[:2], "group"] = "p00"

        cache = make_cache(tmp_path / "cache", change=change)
        evaluation = run.evaluate(cache)
        assert evaluation.left_out == LeftOut(known_patient=2, patients=1)
        assert evaluation.excluded == 2
        assert evaluation.metrics.images == (cache.images["split"] == "test").sum() - 2
        assert "p00" not in set(evaluation.scores["group"])
        assert evaluation.left_out.sentence == (
            "2 images left out: 2 images of 1 patient that the run was fitted on."
        )

    def test_they_are_recognised_in_data_of_elsewhere_and_each_image_counts_once(
        self, run: Run, cache: Cache, make_cache: Any, tmp_path: Path
    ) -> None:
        def change(made: Any) -> None:
            elsewhere(made)
            made.images.loc[0, "sha256"] = cache.images["sha256"][0]

        found = score_images(run, make_cache(tmp_path / "cache", change=change), "all")
        fitted = cache.images[cache.images["split"] != "test"]
        assert found.left_out == LeftOut(
            same_file=1, known_patient=len(fitted) - 1, patients=fitted["group"].nunique()
        )
        assert set(found.table["split"]) == {"test"}

    def test_they_are_kept_when_that_is_asked_for_and_that_is_said(
        self, run: Run, cache: Cache, make_cache: Any, tmp_path: Path
    ) -> None:
        there = make_cache(tmp_path / "cache", change=elsewhere)
        found = run.evaluate(there, split="all", keep_known_patients=True)
        fitted = int((cache.images["split"] != "test").sum())
        assert found.metrics.images == len(cache.images)
        assert (found.excluded, found.left_out.kept) == (0, fitted)
        assert "are measured, too: the numbers are too good" in found.left_out.sentence

    def test_nothing_but_known_patients_is_an_error_that_names_the_way_out(
        self, run: Run, make_cache: Any, tmp_path: Path
    ) -> None:
        there = make_cache(tmp_path / "cache", change=elsewhere)
        with pytest.raises(InputError, match="on the patients of all these images") as caught:
            run.evaluate(there, split="train")
        assert "`keep_known_patients=True`" in caught.value.hint

    @pytest.mark.parametrize("name", ["path", "name", "stem"])
    def test_a_name_of_a_file_says_nothing_about_patients_of_elsewhere(
        self, make_cache: Any, tmp_path: Path, name: str
    ) -> None:
        def change(made: Any) -> None:
            # Each image its own patient, called as its file: `img1` is in every hospital.
            paths = made.images["path"].map(Path)
            made.images["group"] = {
                "path": paths.map(str),
                "name": paths.map(lambda path: path.name),
                "stem": paths.map(lambda path: path.stem),
            }[name]

        def there(made: Any) -> None:
            change(made)
            random = np.random.default_rng(5)
            made.embeddings += random.normal(0, 2.0, made.embeddings.shape)
            made.images["sha256"] = [sha256[::-1] for sha256 in made.images["sha256"]]

        home = make_cache(tmp_path / "home", change=change)
        fit(home, HeadSpec(name="logreg"), tmp_path / "run", accuracy_floor=0.5)
        found = load_run(tmp_path / "run").evaluate(make_cache(tmp_path / "there", change=there))
        assert found.excluded == 0

    @pytest.mark.parametrize("hashed", ["run", "table"])
    def test_a_pseudonym_and_its_identifier_are_one_patient(
        self, make_cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: str
    ) -> None:
        monkeypatch.setenv("FEATX_SALT", "of the tests")

        def change(made: Any, hides: bool) -> None:
            names = made.images["group"] + "/"  # no pseudonym, and nobody's file name
            made.images["group"] = names.map(Pseudonyms(own_salt).of) if hides else names

        def there(made: Any) -> None:
            elsewhere(made)
            change(made, hashed == "table")

        home = make_cache(tmp_path / "home", change=lambda made: change(made, hashed == "run"))
        fit(home, HeadSpec(name="logreg"), tmp_path / "run", accuracy_floor=0.5)
        cache = make_cache(tmp_path / "there", change=there)
        run = load_run(tmp_path / "run")
        fitted = int((home.images["split"] != "test").sum())
        assert run.evaluate(cache, split="all").left_out.known_patient == fitted
        monkeypatch.setenv("FEATX_SALT", "of somebody else")
        assert run.evaluate(cache, split="all").left_out.known_patient == 0

    def test_in_the_run_s_own_cache_every_name_counts(
        self, make_cache: Any, tmp_path: Path
    ) -> None:
        def change(made: Any) -> None:
            made.images["group"] = made.images["path"].map(lambda path: Path(path).stem)
            test = made.images.index[made.images["split"] == "test"]
            made.images.loc[test[0], "group"] = made.images["group"][0]

        home = make_cache(tmp_path / "home", change=change)
        fit(home, HeadSpec(name="logreg"), tmp_path / "run", accuracy_floor=0.5)
        assert load_run(tmp_path / "run").evaluate(home).left_out.known_patient == 1

    def test_patients_who_share_an_image_are_all_known(
        self, make_cache: Any, tmp_path: Path
    ) -> None:
        def change(made: Any) -> None:
            # p02's first image is p00's: folds call both p00, and a test image is called p02.
            made.images.loc[4, "sha256"] = made.images["sha256"][0]
            test = made.images.index[made.images["split"] == "test"]
            made.images.loc[test[0], "group"] = "p02"

        home = make_cache(tmp_path / "home", change=change)
        fit(home, HeadSpec(name="logreg"), tmp_path / "run", accuracy_floor=0.5)
        run = load_run(tmp_path / "run")
        assert "p02" not in set(run.out_of_fold["group"])
        assert run.evaluate(home).left_out.known_patient == 1

    def test_a_calibrated_run_knows_the_patients_that_chose_its_threshold(
        self, run: Run, make_cache: Any, tmp_path: Path
    ) -> None:
        def others(made: Any) -> None:
            elsewhere(made)
            made.images["group"] = "other-" + made.images["group"]

        def again(made: Any) -> None:
            others(made)
            made.images["path"] = "again/" + made.images["path"]
            made.images["sha256"] = [sha256[5:] + sha256[:5] for sha256 in made.images["sha256"]]
            made.embeddings += np.random.default_rng(6).normal(0, 2.0, made.embeddings.shape)

        local = make_cache(tmp_path / "local", change=others)
        calibrate(run, score_images(run, local, "train"), tmp_path / "new", accuracy_floor=0.5)
        new, follow_up = load_run(tmp_path / "new"), make_cache(tmp_path / "again", change=again)
        assert run.evaluate(follow_up, split="all").excluded == 0
        left = new.evaluate(follow_up, split="all").left_out
        assert left.known_patient == (local.images["split"] == "train").sum()

    def test_a_run_without_out_of_fold_scores_says_nothing_of_patients_elsewhere(
        self, run: Run, make_cache: Any, tmp_path: Path
    ) -> None:
        import json

        shutil.copytree(run.path, tmp_path / "old")
        (tmp_path / "old" / "oof.csv").unlink()
        (tmp_path / "old" / "reference.h5").unlink()
        record = json.loads((tmp_path / "old" / "run.json").read_text())
        for name in ("checksum", "files"):
            del record[name]
        (tmp_path / "old" / "run.json").write_text(json.dumps(record))
        there = make_cache(tmp_path / "cache", change=elsewhere)
        assert load_run(tmp_path / "old").evaluate(there, split="all").excluded == 0


def test_a_damaged_run_says_that_patients_can_t_be_told(
    run: Run, make_cache: Any, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "damaged")
    (tmp_path / "damaged" / "oof.csv").unlink()
    damaged, there = load_run(tmp_path / "damaged"), make_cache(tmp_path / "c", change=elsewhere)
    left = score_images(damaged, there, "test").left_out
    assert "can't be told: the run has no oof.csv" in left.sentence
    with pytest.raises(InputError, match=r"oof\.csv"):
        damaged.evaluate(there)


class TestNearDuplicates:
    def test_a_training_picture_in_another_format_is_left_out(
        self, run: Run, cache: Cache, make_cache: Any, tmp_path: Path
    ) -> None:
        def change(made: Any) -> None:
            elsewhere(made)
            made.images["group"] = "other-" + made.images["group"]
            # The embedding of a training image, with the noise of another decoder.
            first = made.rows(path=made.images["path"][0])[0]
            own = cache.read(cache.row_numbers(splits=("train",), copies=False)[:1])[0]
            noise = np.random.default_rng(1).normal(0, 1e-3, own.shape)
            made.embeddings[first] = own + noise

        found = score_images(run, make_cache(tmp_path / "cache", change=change), "all")
        assert found.left_out == LeftOut(near_duplicate=1)
        assert len(found.vectors) == len(found.table) == len(cache.images) - 1
        assert found.left_out.sentence == (
            "1 image left out: 1 near duplicate of images that the run was fitted on."
        )

    def test_other_pictures_are_not(self, run: Run, make_cache: Any, tmp_path: Path) -> None:
        def change(made: Any) -> None:
            elsewhere(made)
            made.images["group"] = "other-" + made.images["group"]

        assert score_images(run, make_cache(tmp_path / "c", change=change), "all").excluded == 0


def test_plain_types() -> None:
    left = LeftOut(1, 2, 3, 1)
    assert left.total == 6
    assert left.as_dict() == {
        "same_file": 1, "known_patient": 2, "near_duplicate": 3, "patients": 1, "kept": 0,
        "unchecked": "",
    }  # fmt: skip
    assert LeftOut().sentence == ""
