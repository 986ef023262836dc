"""A run that was fitted before: evaluating a cache and predicting image files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from featx._run import Run, load_run
from featx._scores import Scores
from featx.backbones import load_backbone
from featx.errors import InputError, NotACacheError, SpecMismatchError
from featx.evaluation import evaluate_scores
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx_cache import Cache, open_cache

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache


@pytest.fixture
def run(fitted: FittedRun) -> Run:
    return load_run(fitted.path)


class TestMatching:
    def test_the_cache_it_was_fitted_on_matches(self, run: Run, cache: Cache) -> None:
        run.require_match(cache)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("input_size", 128),
            ("name", "vgg19"),
            ("preprocess", "rescale"),
            ("weights_sha256", "1" * 64),
            ("precision", "bfloat16"),
        ],
    )
    def test_another_backbone_is_refused_and_the_field_that_differs_is_named(
        self, run: Run, make_cache: MakeCache, tmp_path: Path, field: str, value: Any
    ) -> None:
        other = make_cache(tmp_path / "cache", backbone={field: value})
        with pytest.raises(SpecMismatchError) as caught:
            run.evaluate(other)
        mine = getattr(run.record.extraction.backbone, field)
        assert f"backbone.{field}: {mine} -> {value}" in str(caught.value)
        assert str(caught.value).count(" -> ") == 1

    def test_how_many_copies_a_cache_has_does_not_matter(
        self, run: Run, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        run.require_match(make_cache(tmp_path / "cache", copies=0))

    @pytest.mark.parametrize("classes", [("PNEUMONIA", "NORMAL"), ("NORMAL", "COVID")])
    def test_other_classes_or_another_order_are_refused(
        self, run: Run, make_cache: MakeCache, tmp_path: Path, classes: tuple[str, str]
    ) -> None:
        other = make_cache(tmp_path / "cache", classes=classes)
        with pytest.raises(InputError, match=f"NORMAL from PNEUMONIA.*{classes[0]} and"):
            run.evaluate(other)


class TestEvaluating:
    def test_metrics_are_those_of_the_head_s_scores_at_the_run_s_threshold(
        self, run: Run, cache: Cache
    ) -> None:
        evaluation = run.evaluate(cache)
        rows = cache.row_numbers(splits=("test",), copies=False)
        table = cache.table(rows)
        scores = run.head.predict_proba(cache.read(rows))[:, 1]
        known = Scores.from_table(table.assign(score=scores), run.record.classes)
        expected = evaluate_scores(known, run.record.threshold)
        assert evaluation.metrics == expected
        assert evaluation.split == "test"
        assert evaluation.excluded == 0
        assert list(evaluation.scores.columns) == ["path", "label", "group", "score"]
        assert evaluation.scores["path"].tolist() == table["path"].tolist()
        assert evaluation.scores["score"].to_numpy() == pytest.approx(scores)

    def test_without_a_cache_it_takes_the_one_it_was_fitted_on(
        self, run: Run, cache: Cache
    ) -> None:
        assert run.evaluate().metrics == run.evaluate(cache).metrics

    def test_a_cache_that_moved_is_missed_and_can_be_given(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        cache = make_cache(tmp_path / "cache")
        fit(cache, HeadSpec.choose("logreg"), tmp_path / "run", accuracy_floor=0.5)
        shutil.move(tmp_path / "cache", tmp_path / "moved")
        run = load_run(tmp_path / "run")
        with pytest.raises(NotACacheError, match=str(tmp_path / "cache")):
            run.evaluate()
        assert run.evaluate(open_cache(tmp_path / "moved")).metrics.images == 8

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_the_splits_it_was_fitted_on_are_refused(
        self, run: Run, cache: Cache, split: str
    ) -> None:
        with pytest.raises(
            InputError, match="fitted on these very images, and they measure nothing"
        ):
            run.evaluate(cache, split=split)

    def test_an_unknown_split_is_answered_with_those_there_are(
        self, run: Run, cache: Cache
    ) -> None:
        with pytest.raises(InputError, match=r"'tset'.*test, train, val"):
            run.evaluate(cache, split="tset")

    def test_all_splits_leave_out_and_count_what_it_was_fitted_on(
        self, run: Run, cache: Cache
    ) -> None:
        evaluation = run.evaluate(cache, split="all")
        assert evaluation.excluded == 40
        assert evaluation.metrics == run.evaluate(cache).metrics

    def test_a_test_image_that_is_a_training_image_byte_by_byte_is_left_out_and_counted(
        self, run: Run, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        leaked: list[str] = []

        def leak(made: Contents) -> None:
            images = made.images
            test = images.index[images["split"] == "test"][:2]
            images.loc[test, "sha256"] = images["sha256"].iloc[:2].to_numpy()
            leaked.extend(images.loc[test, "path"])

        evaluation = run.evaluate(make_cache(tmp_path / "cache", change=leak))
        assert evaluation.excluded == 2
        assert evaluation.metrics.images == 6
        assert not set(leaked) & set(evaluation.scores["path"])

    def test_without_its_list_of_training_images_it_does_not_guess(
        self, fitted: FittedRun, cache: Cache, tmp_path: Path
    ) -> None:
        shutil.copytree(fitted.path, tmp_path / "run")
        (tmp_path / "run" / "training.txt").unlink()
        with pytest.raises(InputError, match=r"no training\.txt"):
            load_run(tmp_path / "run").evaluate(cache)

    def test_a_missing_head_is_named(self, fitted: FittedRun, cache: Cache, tmp_path: Path) -> None:
        shutil.copytree(fitted.path, tmp_path / "run")
        (tmp_path / "run" / "head.skops").unlink()
        with pytest.raises(InputError, match=r"no head\.skops"):
            load_run(tmp_path / "run").evaluate(cache)

    def test_a_head_of_other_embeddings_is_refused_in_one_line(self, run: Run) -> None:
        with pytest.raises(InputError, match="can't score these embeddings") as caught:
            run.score(np.zeros((2, 2, 2, 5), np.float32))
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files of VGG16 weights that differ in one number."""
    import keras

    folder = tmp_path_factory.mktemp("weights")
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    network.save_weights(folder / "one.weights.h5")
    bias = network.layers[-2].weights[1]
    bias.assign(np.eye(1, 512, dtype=np.float32)[0])
    network.save_weights(folder / "other.weights.h5")
    return folder / "one.weights.h5", folder / "other.weights.h5"


class TestWeights:
    def test_moved_weights_are_taken_only_when_they_are_the_same(
        self, files: tuple[Path, Path], fitted: FittedRun, tmp_path: Path
    ) -> None:
        one, other = files
        backbone = load_backbone("vgg16", weights=str(one), input_size=32, precision="float32")
        shutil.copytree(fitted.path, tmp_path / "run")
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        del record["checksum"]
        record["extraction"]["backbone"] = backbone.spec.model_dump(mode="json")
        record["weights"] = str(tmp_path / "gone.weights.h5")
        (tmp_path / "run" / "run.json").write_text(json.dumps(record))
        run = load_run(tmp_path / "run")
        with pytest.raises(InputError, match=r"no weights file .*gone\.weights\.h5"):
            run.backbone()
        with pytest.raises(SpecMismatchError, match=r"weights_sha256: \w{64} -> \w{64}"):
            run.backbone(str(other))
        assert run.backbone(str(one)).spec == backbone.spec

    def test_random_weights_do_not_pass_for_trained_ones(self, run: Run) -> None:
        with pytest.raises(SpecMismatchError, match="weights: trained -> random"):
            run.backbone("random")
