"""Any classifier of scikit-learn is a head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import FixedThresholdClassifier, permutation_test_score
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from featx.errors import InputError
from featx.heads import Head, HeadSpec, KerasHead, build, head_spec, load_head, save_head
from featx.training import TrainingData, fit_head, load_training_data, out_of_fold
from tests.refusing import refused

if TYPE_CHECKING:
    from featx_cache import Cache

TREE = "sklearn.tree._tree.Tree"


class Nearest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that only these tests know: how near the class means are."""

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Nearest:
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == c].mean(axis=0) for c in self.classes_])
        return self

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        distances = np.linalg.norm(X[:, None] - self.means_[None], axis=2)
        away = np.maximum(distances, 1e-9) ** -self.power
        return np.asarray(away / away.sum(axis=1, keepdims=True))

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


NEAREST = f"{Nearest.__module__}.Nearest"

CASES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "pipeline": (make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()), ()),
    "forest": (RandomForestClassifier(10), (TREE,)),
    "own": (Nearest(3.0), (NEAREST,)),
    "margins": (LinearSVC(), ()),
}


@pytest.fixture(params=CASES)
def spec(request: pytest.FixtureRequest) -> HeadSpec:
    estimator, trusted = CASES[request.param]
    return head_spec(estimator, seed=3, trusted=trusted)


@pytest.fixture
def forest() -> HeadSpec:
    return head_spec(RandomForestClassifier(10), seed=3, trusted=[TREE])


def read(cache: Cache, spec: HeadSpec) -> TrainingData:
    return load_training_data(cache, spec, use_copies=True)


class TestSpecs:
    def test_a_name_makes_the_default_spec(self) -> None:
        assert head_spec("logreg", seed=2) == HeadSpec.choose("logreg", seed=2)
        assert (
            head_spec("lda", representation="max").baseline
            == HeadSpec.choose("lda", settings={"representation": "max"}).baseline
        )

    @pytest.mark.parametrize(
        ("head", "said"),
        [
            ("logrge", r"there is no head 'logrge'\. Did you mean logreg\?"),
            ("custom", "there is no head 'custom'"),
            (LinearSVC, r"the class LinearSVC, not a classifier.*LinearSVC\(\)"),
            (Ridge(), "`head` can't be of type Ridge"),
            (KMeans(), "`head` can't be of type KMeans"),
            (3, "`head` can't be of type int"),
        ],
    )
    def test_what_is_no_head_is_refused_in_one_line(self, head: Any, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            head_spec(head)
        assert "\n" not in str(caught.value)

    def test_a_classifier_without_scores_is_refused(self) -> None:
        class Deaf(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            pass

        with pytest.raises(InputError, match="neither predict_proba nor decision_function"):
            head_spec(Deaf())

    def test_a_spec_is_returned_as_it_is(self) -> None:
        spec = HeadSpec.choose("svm")
        assert head_spec(spec, seed=9) is spec
        with pytest.raises(InputError, match="`representation` can't be given beside a HeadSpec"):
            head_spec(spec, representation="max")

    def test_a_keras_head_becomes_a_spec_of_its_parameters(self) -> None:
        given = KerasHead(architecture="gap", epochs=3, random_state=7)
        spec = head_spec(given)
        assert (spec.name, spec.seed) == ("keras", 7)
        assert build(spec).get_params() == given.get_params()  # type: ignore[attr-defined]
        with pytest.raises(InputError, match="weights of its own"):
            head_spec(KerasHead(class_weight={0: 1.0, 1: 2.0}))

    def test_a_pipeline_or_estimator_is_described_for_readers(self) -> None:
        spec = head_spec(CASES["pipeline"][0], representation="average", seed=4)
        assert spec.model_dump(mode="json") == {
            "name": "custom",
            "seed": 4,
            "calibration": None,
            "settings": {
                "representation": "average",
                "standardize": True,
                "components": None,
                "classifier": "sklearn.pipeline.Pipeline",
                "parameters": "Pipeline(steps=[('standardscaler', StandardScaler()), "
                "('lineardiscriminantanalysis', LinearDiscriminantAnalysis())])",
            },
        }

    def test_the_fingerprint_depends_on_the_parameters_alone(self) -> None:
        def fingerprint(estimator: Any) -> str:
            return head_spec(estimator, trusted=[NEAREST]).fingerprint

        assert (
            fingerprint(Nearest(1.0))
            == fingerprint(clone(Nearest(1.0)))
            != fingerprint(Nearest(2.0))
        )
        weights = [RandomForestClassifier(class_weight={0: w, 1: 1.0}) for w in (1.0, 2.0)]
        assert fingerprint(weights[0]) != fingerprint(weights[1])

    def test_a_function_s_address_is_not_in_the_description(self) -> None:
        spec = head_spec(
            make_pipeline(FunctionTransformer(np.negative), LinearDiscriminantAnalysis())
        )
        assert " at 0x" not in spec.canonical_json()

    def test_a_spec_from_a_file_describes_the_classifier_but_can_t_build_it(
        self, forest: HeadSpec
    ) -> None:
        back = HeadSpec.model_validate_json(forest.model_dump_json())
        assert back.fingerprint == forest.fingerprint
        with pytest.raises(InputError, match=r"RandomForestClassifier\(n_estimators=10\)"):
            build(back)

    def test_the_default_features_are_those_of_the_other_heads(self, spec: HeadSpec) -> None:
        steps, others = (dict(build(s).steps) for s in (spec, HeadSpec.choose("logreg")))  # type: ignore[attr-defined]
        assert {name: str(step) for name, step in steps.items() if name != "classifier"} == {
            name: str(step) for name, step in others.items() if name != "classifier"
        }


class TestFitting:
    def test_it_is_scored_out_of_fold_and_fitted_and_comes_back_from_disk(
        self, spec: HeadSpec, cache: Cache, tmp_path: Path
    ) -> None:
        data = read(cache, spec)
        scores = out_of_fold(spec, data, seed=0).scores["score"]
        assert scores.between(0, 1).all()
        head = fit_head(spec, data, data.originals)
        assert isinstance(head, Head)
        name = save_head(head, tmp_path, spec.trusted)
        back = load_head(tmp_path / name, spec.trusted)
        embeddings = cache.read(cache.row_numbers(splits=("test",), copies=False))
        assert np.array_equal(back.predict_proba(embeddings), head.predict_proba(embeddings))

    def test_equal_seeds_give_equal_scores_and_the_given_classifier_stays_unfitted(
        self, forest: HeadSpec, cache: Cache
    ) -> None:
        data = read(cache, forest)
        one, same = (fit_head(forest, data, data.originals) for _ in range(2))
        other = forest.model_copy(update={"seed": 4})
        assert np.array_equal(one.predict_proba(data.X), same.predict_proba(data.X))
        differs = fit_head(other, data, data.originals).predict_proba(data.X)
        assert not np.array_equal(one.predict_proba(data.X), differs)
        assert not hasattr(forest._estimator, "estimators_")
        assert forest._estimator.random_state is None

    def test_a_seed_of_one_s_own_stays_and_parts_are_seeded(self) -> None:
        inner = DecisionTreeClassifier()
        made = head_spec(BaggingClassifier(inner, random_state=8), seed=3, trusted=[TREE])
        classifier = made.classifier()
        assert (classifier.random_state, classifier.estimator.random_state) == (8, 3)

    def test_margins_become_probabilities_on_held_out_patients(self) -> None:
        spec = head_spec(LinearSVC())
        assert spec.calibration == "sigmoid"
        assert "CalibratedHead" in str(build(spec))

    def test_other_pooling_reaches_the_classifier(self, cache: Cache) -> None:
        pipeline = CASES["pipeline"][0]
        shapes = [
            read(cache, head_spec(pipeline, representation=how)).X.shape[1]
            for how in ("average", "average+max")
        ]
        assert shapes[1] == 2 * shapes[0]

    def test_a_fit_that_fails_is_one_line(self, cache: Cache) -> None:
        spec = head_spec(RadiusNeighborsClassifier(radius=-1.0))
        data = read(cache, spec)
        with pytest.raises(InputError, match="the custom head can't be fitted") as caught:
            fit_head(spec, data, data.originals)
        assert "\n" not in str(caught.value)


class TestTrust:
    def test_a_class_that_is_not_trusted_is_named_before_anything_is_fitted(self) -> None:
        with pytest.raises(InputError, match=rf"{NEAREST}.*as `trusted`") as caught:
            head_spec(Nearest())
        assert caught.value.parameter == "trusted"

    def test_a_type_that_only_the_fitted_classifier_holds_ends_the_first_fold(
        self, cache: Cache
    ) -> None:
        spec = head_spec(RandomForestClassifier(3))
        with pytest.raises(InputError, match=rf"{TREE}.*as `trusted`"):
            out_of_fold(spec, read(cache, spec), seed=0)

    def test_what_can_t_be_read_back_is_refused_though_it_is_trusted(self) -> None:
        class Local(Nearest):
            pass

        with pytest.raises(InputError, match="a Local can't be kept in a file"):
            head_spec(Local(), trusted=[f"{Local.__module__}.{Local.__name__}"])

    def test_a_file_is_not_trusted_by_its_own_word(self, tmp_path: Path) -> None:
        X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3)
        spec = head_spec(Nearest(), trusted=[NEAREST])
        path = tmp_path / save_head(build(spec).fit(X, y), tmp_path, [NEAREST])
        assert NEAREST in refused(load_head, path)
        assert NEAREST in refused(lambda p: load_head(p, [TREE]), path)
        assert load_head(path, [NEAREST]).predict_proba(X).shape == (6, 2)

    def test_nothing_is_written_when_a_type_is_not_trusted(self, tmp_path: Path) -> None:
        X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3)
        head = build(head_spec(Nearest(), trusted=[NEAREST])).fit(X, y)
        with pytest.raises(InputError, match=NEAREST):
            save_head(head, tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_loaded_head_works_inside_scikit_learn_on_the_embeddings_of_a_cache(
    forest: HeadSpec, cache: Cache, tmp_path: Path
) -> None:
    data = read(cache, forest)
    path = tmp_path / save_head(fit_head(forest, data, data.originals), tmp_path, [TREE])
    head = load_head(path, [TREE])
    X, y, _ = cache.as_arrays("train", copies=0)
    scores = head.predict_proba(X)[:, 1]
    careful = FixedThresholdClassifier(FrozenEstimator(head), threshold=0.3).fit(X, y)
    assert np.array_equal(careful.predict(X), (scores >= 0.3).astype(int))
    score, _, p = permutation_test_score(FrozenEstimator(head), X, y, n_permutations=20, cv=2)
    assert score > 0.9
    assert p < 0.1
