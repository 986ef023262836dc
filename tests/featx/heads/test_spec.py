"""Choosing and building heads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.model_selection import StratifiedGroupKFold

from featx.errors import InputError
from featx.heads import (
    HEADS,
    SETTINGS,
    HeadSpec,
    KerasHead,
    build,
    fit_arguments,
    load_head,
    pooling_of,
    save_head,
)
from featx.heads._spec import OPTIONS

BASELINES = tuple(name for name in HEADS if name != "keras")
SMALL: dict[str, dict[str, Any]] = {
    "keras": {"architecture": "gap", "dense_units": (), "dropout": 0.0, "precision": "float32"},
    "svm": {"components": 4},
    "knn": {"components": 4, "n_neighbors": 5},
    "lda": {"components": 4},
    "hgb": {"components": 4, "max_iter": 30},
}


class Fitted:
    """A head fitted on embeddings of 40 images of 20 patients, and those."""

    def __init__(self, name: str, pooled: bool = False, calibration: str | None = None) -> None:
        random = np.random.default_rng(0)
        self.y = np.arange(40) // 2 % 2
        self.groups = np.array([f"p{n // 2}" for n in range(40)], dtype=object)
        signal = self.y[:, None, None, None] * (np.arange(12) < 6)
        self.X: NDArray[np.float32] = (random.normal(size=(40, 3, 3, 12)) + signal).astype("f4")
        spec = HeadSpec.choose(name, calibration=calibration, settings=SMALL.get(name))
        self.head = build(spec)
        if pooled and (pooling := pooling_of(self.head)) is not None:
            self.X = pooling.transform(self.X)
        rows = {"groups": self.groups, "images": np.arange(40), "copies": np.zeros(40, int)}
        self.head.fit(self.X, self.y, **fit_arguments(spec, **rows))


@pytest.fixture(scope="module", params=BASELINES)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    return Fitted(request.param)


class TestChoosing:
    @pytest.mark.parametrize("name", HEADS)
    def test_every_head_can_be_chosen_by_name_and_has_all_settings(self, name: str) -> None:
        spec = HeadSpec.choose(name, seed=3)
        assert (spec.name, spec.seed) == (name, 3)
        assert type(spec.settings) is SETTINGS[spec.name]

    @pytest.mark.parametrize(
        ("typed", "meant"), [("log", "logreg"), ("svn", "svm"), ("kears", "keras")]
    )
    def test_a_near_miss_is_answered_with_did_you_mean(self, typed: str, meant: str) -> None:
        with pytest.raises(InputError, match=f"no head '{typed}'. Did you mean {meant}?"):
            HeadSpec.choose(typed)

    def test_a_name_like_no_head_is_answered_with_the_choice(self) -> None:
        with pytest.raises(InputError, match="Choose one of keras, logreg, svm, knn, lda, hgb"):
            HeadSpec.choose("xgboost")

    def test_a_misspelt_setting_is_answered_with_did_you_mean(self) -> None:
        with pytest.raises(InputError, match=r"no setting of keras 'learning_rat'\. Did you mean"):
            HeadSpec.choose("keras", settings={"learning_rat": 0.1})
        with pytest.raises(InputError, match="Choose one of"):
            HeadSpec.choose("svm", settings={"zzz": 1})

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("epochs", 0),
            ("precision", "float16"),
            ("accuracy_target", 1.5),
            ("recall_target", -0.1),
            ("train_recall_target", 2),
            ("label_smoothing", 0.5),
            ("dropout", 1.0),
            ("batch_size", 0),
            ("learning_rate", 0),
            ("optimizer", "adamm"),
            ("dense_units", "64,0"),
            ("validation_fraction", 1),
            ("patience", 0),
            ("ensemble", 0),
        ],
    )
    def test_a_value_out_of_range_is_refused_by_its_name(self, setting: str, value: Any) -> None:
        shown = f"`{setting}`" if setting in OPTIONS else f"the setting {setting}"
        with pytest.raises(InputError, match=f"{shown} can't be"):
            HeadSpec.choose("keras", settings={setting: value})

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_a_seed_out_of_range_is_refused(self, seed: int) -> None:
        with pytest.raises(InputError, match="`seed` can't be"):
            HeadSpec.choose("logreg", seed=seed)

    def test_values_may_be_words_as_they_are_typed(self) -> None:
        typed = {"dense_units": "512,256", "class_weight": "none", "dropout": "0.25"}
        keras = HeadSpec.choose("keras", settings=typed | {"batch_normalization": "false"}).keras
        assert keras is not None
        assert (keras.dense_units, keras.class_weight, keras.dropout) == ((512, 256), None, 0.25)
        assert keras.batch_normalization is False
        assert HeadSpec.choose("svm", settings={"gamma": "0.1"}).settings.gamma == 0.1  # type: ignore[union-attr]

    def test_flattened_embeddings_are_always_reduced(self) -> None:
        flat = HeadSpec.choose("logreg", settings={"representation": "flatten"}).baseline
        assert flat is not None
        assert flat.components == 300
        with pytest.raises(InputError, match="needs a number of components"):
            HeadSpec.choose("svm", settings={"representation": "flatten", "components": "none"})

    def test_the_svm_is_calibrated_in_any_case(self) -> None:
        assert HeadSpec.choose("svm").calibration == "sigmoid"
        assert HeadSpec.choose("svm", calibration="isotonic").calibration == "isotonic"
        assert HeadSpec.choose("lda").calibration is None

    @pytest.mark.parametrize("name", HEADS)
    def test_a_spec_comes_back_from_json_as_it_was(self, name: str) -> None:
        spec = HeadSpec.choose(name, settings=SMALL.get(name))
        assert HeadSpec.model_validate_json(spec.model_dump_json()) == spec

    def test_a_spec_is_frozen_and_its_fingerprint_tells_settings_apart(self) -> None:
        spec = HeadSpec(name="svm")
        with pytest.raises(ValidationError):
            spec.seed = 1  # type: ignore[misc]
        assert spec.fingerprint == HeadSpec(name="svm").fingerprint
        assert spec.fingerprint != HeadSpec(name="svm", seed=1).fingerprint

    def test_specs_say_what_special_about_the_keras_head_matters_elsewhere(self) -> None:
        dual = HeadSpec.choose("keras", settings={"stopping": "dual"})
        assert dual.trains_in_epochs
        assert dual.stops_by_accuracy_floor
        assert not HeadSpec.choose("keras", calibration="sigmoid").trains_in_epochs
        assert not HeadSpec.choose("keras").stops_by_accuracy_floor


class TestBuilding:
    def test_the_keras_head_takes_its_settings_from_the_spec(self) -> None:
        chosen = {"epochs": 3, "precision": "bfloat16", "stopping": "dual"}
        head = build(HeadSpec.choose("keras", seed=7, settings=chosen), accuracy_floor=0.8)
        assert isinstance(head, KerasHead)
        assert (head.random_state, head.epochs, head.precision) == (7, 3, "bfloat16")
        assert (head.stopping, head.accuracy_floor) == ("dual", 0.8)
        assert pooling_of(head) is None

    @pytest.mark.parametrize("name", BASELINES)
    def test_building_twice_gives_two_heads_that_share_nothing(self, name: Any) -> None:
        one, other = build(HeadSpec(name=name)), build(HeadSpec(name=name))
        assert pooling_of(one) is not pooling_of(other)


class TestBaselines:
    def test_probabilities_are_between_0_and_1_and_sum_to_1(self, fitted: Fitted) -> None:
        probabilities = fitted.head.predict_proba(fitted.X)
        assert probabilities.shape == (40, 2)
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        assert probabilities.sum(axis=1) == pytest.approx(1.0)

    def test_the_second_column_is_the_positive_class(self, fitted: Fitted) -> None:
        assert fitted.head.classes_.tolist() == [0, 1]
        positive = fitted.head.predict_proba(fitted.X)[:, 1]
        assert positive[fitted.y == 1].min() > positive[fitted.y == 0].mean()
        assert np.mean(fitted.head.predict(fitted.X) == fitted.y) > 0.9

    @pytest.mark.parametrize("name", BASELINES)
    def test_pooled_once_before_gives_the_same_scores(self, name: str) -> None:
        grid, pooled = Fitted(name), Fitted(name, pooled=True)
        assert grid.X.ndim == 4
        assert pooled.X.ndim == 2
        assert pooled.head.predict_proba(pooled.X) == pytest.approx(
            grid.head.predict_proba(grid.X), abs=1e-6
        )
        # A head fitted on vectors scores embeddings, as `featx predict` does.
        assert pooled.head.predict_proba(grid.X) == pytest.approx(
            grid.head.predict_proba(grid.X), abs=1e-6
        )

    @pytest.mark.parametrize("name", BASELINES)
    def test_fitting_twice_gives_equal_scores(self, name: str) -> None:
        one, other = Fitted(name), Fitted(name)
        assert np.array_equal(one.head.predict_proba(one.X), other.head.predict_proba(other.X))

    @pytest.mark.parametrize("name", BASELINES)
    def test_a_rare_class_is_not_drowned(self, name: str) -> None:
        random = np.random.default_rng(1)
        y = (np.arange(100) % 10 == 0).astype(int)
        X = random.normal(size=(100, 4)).astype("f4") + 4.0 * y[:, None]
        head = build(HeadSpec.choose(name, settings=SMALL.get(name)))
        head.fit(X, y)
        assert np.mean(head.predict(X)[y == 1]) == 1.0


class TestCalibrationOfTheSvm:
    def test_no_patient_is_on_both_sides_of_a_calibration_fold(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[set[Any], set[Any]]] = []
        original = StratifiedGroupKFold.split

        def spy(self: Any, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
            for kept, held_out in original(self, X, y, groups):
                seen.append((set(groups[kept]), set(groups[held_out])))
                yield kept, held_out

        monkeypatch.setattr(StratifiedGroupKFold, "split", spy)
        fitted = Fitted("svm")
        assert len(seen) >= 2
        assert all(not kept & held_out for kept, held_out in seen)
        assert set().union(*(held_out for _, held_out in seen)) == set(fitted.groups)


class TestCalibration:
    @pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
    @pytest.mark.parametrize("name", HEADS)
    def test_every_head_can_be_calibrated_and_comes_back_from_disk(
        self, name: str, method: str, tmp_path: Path
    ) -> None:
        fitted = Fitted(name, calibration=method)
        scores = fitted.head.predict_proba(fitted.X)
        assert scores.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
        back = load_head(tmp_path / save_head(fitted.head, tmp_path))
        assert np.array_equal(back.predict_proba(fitted.X), scores)
