"""Choosing and building heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.model_selection import StratifiedGroupKFold

from featx.errors import InputError
from featx.heads import HEADS, HeadSpec, KerasHead, build, pooling_of

BASELINES = ("logreg", "svm")


class Fitted:
    """A baseline fitted on embeddings of 40 images of 20 patients, and those."""

    def __init__(self, name: Any, pooled: bool = False) -> None:
        random = np.random.default_rng(0)
        self.y = np.arange(40) // 2 % 2
        self.groups = np.array([f"p{n // 2}" for n in range(40)], dtype=object)
        signal = self.y[:, None, None, None] * (np.arange(12) < 6)
        self.X: NDArray[np.float32] = (random.normal(size=(40, 3, 3, 12)) + signal).astype("f4")
        self.head = build(HeadSpec(name=name), components=4)
        if pooled:
            self.X = pooling_of(self.head).transform(self.X)
        with sklearn.config_context(enable_metadata_routing=True):
            groups = {"groups": self.groups} if name == "svm" else {}
            self.head.fit(self.X, self.y, **groups)


@pytest.fixture(scope="module", params=BASELINES)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    return Fitted(request.param)


class TestChoosing:
    @pytest.mark.parametrize("name", HEADS)
    def test_every_head_can_be_chosen_by_name(self, name: str) -> None:
        spec = HeadSpec.choose(name, seed=3, epochs=4, precision="auto")
        assert (spec.name, spec.seed, spec.epochs) == (name, 3, 4)
        assert spec.precision in ("float32", "bfloat16")

    @pytest.mark.parametrize(
        ("typed", "meant"), [("log", "logreg"), ("svn", "svm"), ("kears", "keras")]
    )
    def test_a_near_miss_is_answered_with_did_you_mean(self, typed: str, meant: str) -> None:
        with pytest.raises(InputError, match=f"no head '{typed}'. Did you mean {meant}?"):
            HeadSpec.choose(typed, seed=0, epochs=1, precision="auto")

    def test_a_name_like_no_head_is_answered_with_the_choice(self) -> None:
        with pytest.raises(InputError, match="Choose one of keras, svm, logreg"):
            HeadSpec.choose("xgboost", seed=0, epochs=1, precision="auto")

    @pytest.mark.parametrize(
        "wrong", [{"epochs": 0}, {"seed": -1}, {"seed": 2**32}, {"precision": "float16"}]
    )
    def test_settings_out_of_range_are_refused(self, wrong: dict[str, Any]) -> None:
        settings = {"seed": 0, "epochs": 1, "precision": "float32"} | wrong
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            HeadSpec.choose("keras", **settings)

    def test_a_spec_is_frozen_and_its_fingerprint_tells_settings_apart(self) -> None:
        spec = HeadSpec(name="svm")
        with pytest.raises(ValidationError):
            spec.seed = 1  # type: ignore[misc]
        assert spec.fingerprint == HeadSpec(name="svm").fingerprint
        assert spec.fingerprint != HeadSpec(name="svm", seed=1).fingerprint


class TestBuilding:
    def test_the_keras_head_takes_its_settings_from_the_spec(self) -> None:
        head = build(HeadSpec(name="keras", seed=7, epochs=3, precision="bfloat16"))
        assert isinstance(head, KerasHead)
        assert (head.random_state, head.epochs, head.precision) == (7, 3, "bfloat16")
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
        head = build(HeadSpec(name=name), components=4)
        with sklearn.config_context(enable_metadata_routing=True):
            head.fit(X, y, **({"groups": np.arange(100)} if name == "svm" else {}))
        assert head.predict_proba(X)[y == 1, 1].min() > head.predict_proba(X)[y == 0, 1].max()


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

    def test_without_patients_it_is_not_fitted(self) -> None:
        X = np.random.default_rng(0).normal(size=(40, 4))
        with (
            sklearn.config_context(enable_metadata_routing=True),
            pytest.raises(ValueError, match="groups"),
        ):
            build(HeadSpec(name="svm"), components=4).fit(X, np.arange(40) % 2)
