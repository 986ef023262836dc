"""Out-of-fold scores: every image scored by a head that saw nothing of its patient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pytest

from featx.errors import DamagedShardError, InputError
from featx.heads import HeadSpec, build
from featx.training._data import TrainingData, load_training_data
from featx.training._scoring import fit_head, out_of_fold
from featx_cache import Cache

if TYPE_CHECKING:
    from tests.featx.conftest import Contents, MakeCache

LOGREG, SVM = HeadSpec(name="logreg"), HeadSpec(name="svm")


def load(cache: Cache, spec: HeadSpec = LOGREG, use_copies: bool = True) -> TrainingData:
    return load_training_data(cache, spec, use_copies=use_copies)


def scored(cache: Cache, spec: HeadSpec = LOGREG, use_copies: bool = True) -> pd.DataFrame:
    return out_of_fold(spec, load(cache, spec, use_copies), seed=0).scores


class TestTrainingData:
    def test_it_holds_train_and_val_and_never_test(self, cache: Cache) -> None:
        data = load(cache)
        assert set(data.table["split"]) == {"train", "val"}
        kept = cache.images[cache.images["split"] != "test"]
        assert set(data.table["path"]) == set(kept["path"])

    def test_the_positive_class_is_1(self, cache: Cache) -> None:
        data = load(cache)
        assert data.y.tolist() == (data.table["label"] == "PNEUMONIA").astype(int).tolist()

    def test_rows_are_in_the_order_of_the_table_though_shards_are_read_one_by_one(
        self, cache: Cache
    ) -> None:
        data = load(cache, HeadSpec(name="keras"))
        rows = cache.row_numbers(splits=("train", "val"), copies=True)
        assert np.array_equal(data.X, cache.read(rows))
        assert data.X.dtype == np.float16
        assert data.table.equals(cache.table(rows))

    def test_a_head_that_pools_gets_vectors(self, cache: Cache) -> None:
        assert load(cache).X.ndim == 2
        assert load(cache, HeadSpec(name="keras")).X.shape[1:] == cache.embedding_shape

    def test_originals_are_the_untouched_images_in_order(self, cache: Cache) -> None:
        data = load(cache)
        assert len(data.table) > len(data.originals)
        assert data.table.iloc[data.originals]["copy"].eq(0).all()
        assert len(data.originals) == data.table["path"].nunique()

    def test_copies_can_be_left_out(self, cache: Cache) -> None:
        data = load(cache, use_copies=False)
        assert data.table["copy"].eq(0).all()
        assert len(data.table) == data.table["path"].nunique()

    def test_rows_know_their_image(self, cache: Cache) -> None:
        data = load(cache)
        assert data.table["path"].tolist() == cache.images["path"].iloc[data.image].tolist()

    def test_one_class_in_train_and_val_is_refused_though_test_has_both(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        def change(made: Contents) -> None:
            made.images.loc[made.images["split"] != "test", "label"] = "NORMAL"

        with pytest.raises(InputError, match=r"training and validation images .* all NORMAL"):
            load(make_cache(tmp_path / "cache", change=change))

    @pytest.mark.parametrize("value", [np.inf, np.nan])
    @pytest.mark.parametrize("name", ["logreg", "keras"])
    @pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
    def test_embeddings_that_are_not_finite_are_refused_with_a_remedy(
        self, make_cache: MakeCache, tmp_path: Path, value: float, name: Any
    ) -> None:
        def change(made: Contents) -> None:
            made.embeddings[made.rows(split="train")[5], 0, 1, 2] = value

        with pytest.raises(InputError, match=r"not finite.*`storage_dtype='float32'`"):
            load(make_cache(tmp_path / "cache", change=change), HeadSpec(name=name))

    def test_a_truncated_shard_is_named(self, make_cache: MakeCache, tmp_path: Path) -> None:
        cache = make_cache(tmp_path / "cache")
        shard = tmp_path / "cache" / "shards" / cache.shard_names[1]
        shard.write_bytes(shard.read_bytes()[:1000])
        with pytest.raises(DamagedShardError, match=cache.shard_names[1]):
            load(cache)


class TestFolds:
    @pytest.mark.parametrize("spec", [LOGREG, SVM], ids=["logreg", "svm"])
    def test_no_patient_is_in_two_folds(self, cache: Cache, spec: HeadSpec) -> None:
        table = scored(cache, spec)
        assert table.groupby("group")["fold"].nunique().max() == 1
        assert sorted(table["fold"].unique()) == [0, 1, 2, 3, 4]

    def test_every_fold_has_both_classes(self, cache: Cache) -> None:
        assert scored(cache).groupby("fold")["label"].nunique().min() == 2

    def test_each_untouched_image_is_scored_once_in_the_order_of_the_cache(
        self, cache: Cache
    ) -> None:
        kept = cache.images[cache.images["split"] != "test"]
        assert scored(cache)["path"].tolist() == kept["path"].tolist()

    @pytest.mark.parametrize("use_copies", [True, False])
    def test_a_head_fitted_by_hand_on_the_other_patients_gives_the_same_scores(
        self, cache: Cache, use_copies: bool
    ) -> None:
        table = scored(cache, LOGREG, use_copies)
        rows = cache.row_numbers(splits=("train", "val"), copies=use_copies)
        all_rows, X = cache.table(rows), cache.read(rows)
        for fold, held_out in table.groupby("fold"):
            others = ~all_rows["group"].isin(held_out["group"]).to_numpy()
            y = (all_rows["label"] == "PNEUMONIA").to_numpy()[others].astype(int)
            # An image counts once, whether it has copies or not.
            weight = 1 / all_rows[others].groupby("path")["copy"].transform("size").to_numpy()
            head = build(LOGREG).fit(X[others], y, classifier__sample_weight=weight)
            mine = (all_rows["path"].isin(held_out["path"]) & (all_rows["copy"] == 0)).to_numpy()
            assert head.predict_proba(X[mine])[:, 1] == pytest.approx(
                held_out["score"].to_numpy(), abs=1e-6
            ), f"fold {fold}"

    def test_copies_are_scored_by_the_head_that_has_not_seen_their_patient(
        self, cache: Cache
    ) -> None:
        found = out_of_fold(LOGREG, load(cache), seed=0)
        rows = cache.row_numbers(splits=("train", "val"), copies=True)
        table, X = cache.table(rows), cache.read(rows)
        copies = table[table["copy"] > 0]
        assert found.copies[["path", "copy"]].values.tolist() == (
            copies[["path", "copy"]].values.tolist()
        )
        fold = found.copies.merge(found.scores, on="path")
        assert (fold["fold_x"] == fold["fold_y"]).all()
        first = found.copies[found.copies["fold"] == 0]
        held_out = found.scores.loc[found.scores["fold"] == 0, "group"]
        others = ~table["group"].isin(held_out).to_numpy()
        y = (table["label"] == "PNEUMONIA").to_numpy()[others].astype(int)
        weight = 1 / table[others].groupby("path")["copy"].transform("size").to_numpy()
        head = build(LOGREG).fit(X[others], y, classifier__sample_weight=weight)
        mine = (table["path"].isin(first["path"]) & (table["copy"] > 0)).to_numpy()
        assert head.predict_proba(X[mine])[:, 1] == pytest.approx(
            first["score"].to_numpy(), abs=1e-6
        )

    def test_without_copies_there_are_no_scores_of_them(self, cache: Cache) -> None:
        found = out_of_fold(LOGREG, load(cache, use_copies=False), seed=0)
        assert found.copies.empty
        assert len(found.chosen_on("untouched", cache.classes)) == len(found.scores)

    @pytest.mark.parametrize("which", ["untouched", "copies", "both"])
    def test_scores_to_choose_on_are_those_of_images_of_copies_or_of_both(
        self, cache: Cache, which: Literal["untouched", "copies", "both"]
    ) -> None:
        found = out_of_fold(LOGREG, load(cache), seed=0)
        parts = {"untouched": [found.scores], "copies": [found.copies]}
        wanted = pd.concat(parts.get(which, [found.scores, found.copies]))
        chosen = found.chosen_on(which, cache.classes)
        assert chosen.score.tolist() == wanted["score"].tolist()
        assert chosen.patient.tolist() == wanted["group"].tolist()

    def test_an_svm_fitted_on_the_other_patients_alone_gives_the_same_scores(
        self, cache: Cache
    ) -> None:
        data = load(cache, SVM)
        for fold, held_out in out_of_fold(SVM, data, seed=0).scores.groupby("fold"):
            others = np.flatnonzero(~data.table["group"].isin(held_out["group"]))
            alone = TrainingData(
                data.X[others], data.y[others], data.table.iloc[others], data.image[others]
            )
            head = fit_head(SVM, alone, np.arange(len(others)))
            mine = data.table["path"].isin(held_out["path"]) & (data.table["copy"] == 0)
            assert head.predict_proba(data.X[mine])[:, 1] == pytest.approx(
                held_out["score"].to_numpy(), abs=1e-6
            ), f"fold {fold}"

    def test_few_patients_make_as_many_folds_as_the_rarer_class_has(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        cache = make_cache(tmp_path / "cache", patients=6)
        found = out_of_fold(LOGREG, load(cache), seed=0)
        assert found.folds == found.scores["fold"].nunique() == 3

    @pytest.mark.parametrize("patients", [6, 8])
    def test_the_svm_is_calibrated_on_as_many_folds_as_few_patients_allow(
        self, make_cache: MakeCache, tmp_path: Path, patients: int
    ) -> None:
        def change(made: Contents) -> None:
            made.images["split"] = "train"

        table = scored(make_cache(tmp_path / "cache", patients=patients, change=change), SVM)
        assert table["score"].between(0, 1).all()

    def test_too_few_patients_to_calibrate_the_svm_are_refused_with_a_remedy(
        self, make_cache: MakeCache, tmp_path: Path
    ) -> None:
        cache = make_cache(tmp_path / "cache", patients=4)
        with pytest.raises(InputError, match=r"three patients of each class.*`head='logreg'`"):
            scored(cache, SVM)

    def test_one_patient_of_a_class_is_refused(self, make_cache: MakeCache, tmp_path: Path) -> None:
        def change(made: Contents) -> None:
            made.images.loc[made.images["label"] == "PNEUMONIA", "group"] = "the only one"

        data = load(make_cache(tmp_path / "cache", change=change))
        with pytest.raises(InputError, match=r"one patient only.*`group_regex`"):
            out_of_fold(LOGREG, data, seed=0)

    def test_another_seed_makes_other_folds(self, cache: Cache) -> None:
        folds = [out_of_fold(LOGREG, load(cache), seed=s).scores["fold"] for s in (0, 1)]
        assert not folds[0].equals(folds[1])


class TestCopies:
    def test_heads_learn_from_copies(self, make_cache: MakeCache, tmp_path: Path) -> None:
        def turn(made: Contents) -> None:
            made.embeddings[made.copy > 0] *= -5.0

        plain = make_cache(tmp_path / "plain")
        turned = make_cache(tmp_path / "turned", change=turn)
        assert not np.allclose(scored(plain)["score"], scored(turned)["score"], atol=0.01)

    def test_only_untouched_images_are_scored(self, make_cache: MakeCache, tmp_path: Path) -> None:
        def turn(made: Contents) -> None:
            made.embeddings[made.copy > 0] *= -5.0

        plain = make_cache(tmp_path / "plain")
        turned = make_cache(tmp_path / "turned", change=turn)
        for cache in (plain, turned):
            assert not scored(cache)["path"].duplicated().any()
        # Without them in training, copies leave no trace in the scores.
        left_out = scored(turned, use_copies=False)
        pd.testing.assert_frame_equal(left_out, scored(plain, use_copies=False))


class TestProgress:
    def test_every_task_ends_at_its_total(self, cache: Cache) -> None:
        tasks: dict[str, tuple[int, list[int]]] = {}

        class Recorder:
            @contextlib.contextmanager
            def task(self, description: str, total: int, unit: str) -> Iterator[Any]:  # noqa: ARG002
                done: list[int] = []
                tasks[description] = (total, done)
                yield done.append

            def note(self, message: str) -> None: ...

        data = load_training_data(cache, LOGREG, use_copies=True, progress=Recorder())
        out_of_fold(LOGREG, data, seed=0, progress=Recorder())
        assert len(tasks) == 2
        assert all(total == sum(done) for total, done in tasks.values())
