"""A run in the hands of a user: what it takes, what it gives, and how that looks in a notebook."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.tree import DecisionTreeClassifier

import featx
from featx.backbones import Backbone
from featx.data import ReadingOptions
from featx.errors import InputError, NoFeasibleThresholdError, NoLabelsError
from featx.scoring import Predictions, compare
from featx_cache import Cache, open_cache
from tests.featx.conftest import MakeCache


@pytest.fixture(scope="module")
def run(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> featx.Run:
    folder = tmp_path_factory.mktemp("run") / "logreg"
    return featx.fit(cache, "logreg", folder, accuracy_floor=0.6, progress=False)


@pytest.fixture(scope="module")
def local(make_cache: MakeCache, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Other patients, who look sicker."""

    def change(made: Any) -> None:
        made.embeddings += 0.7 * (np.arange(made.embeddings.shape[-1]) < 3)
        for name in ("group", "path"):
            made.images[name] = "other/" + made.images[name]
        made.images["sha256"] = [sha256[::-1] for sha256 in made.images["sha256"]]

    return make_cache(tmp_path_factory.mktemp("local") / "cache", patients=40, change=change)


@pytest.fixture
def tiny(tiny_run: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> featx.Run:
    """A run on embeddings of a real network, which is built once."""
    run = featx.load_run(tiny_run)
    monkeypatch.setattr(run, "backbone", lambda *_, **__: tiny_backbone)
    return run


class TestEvaluating:
    def test_data_may_be_a_folder_a_manifest_a_table_a_cache_or_a_path_to_one(
        self, tiny: featx.Run, tiny_cache: Path, phantom_data: Path
    ) -> None:
        manifest = featx.load_manifest(phantom_data, progress=False)
        table = manifest.to_frame().assign(
            path=[str(phantom_data / p) for p in manifest.table.path]
        )
        reading = ReadingOptions(allow_outside=True)
        found = [
            tiny.evaluate(progress=False),
            tiny.evaluate(tiny_cache, progress=False),
            tiny.evaluate(open_cache(tiny_cache), progress=False),
            tiny.evaluate(str(phantom_data), progress=False),
            tiny.evaluate(manifest, progress=False),
            tiny.evaluate(table, reading=reading, progress=False),
        ]
        for evaluation in found:
            assert evaluation.split == "test"
            assert evaluation.scores["label"].tolist() == found[0].scores["label"].tolist()
            expected = found[0].scores["score"].to_numpy()
            assert evaluation.scores["score"].to_numpy() == pytest.approx(expected, abs=1e-3)
        assert [evaluation.data for evaluation in found[3:]] == [str(phantom_data)] * 2 + [
            "the table"
        ]

    def test_other_names_of_the_classes_are_told_not_guessed(
        self, tiny: featx.Run, phantom_data: Path
    ) -> None:
        manifest = featx.load_manifest(phantom_data, progress=False)
        label = manifest.table["label"].map({"NORMAL": "well", "PNEUMONIA": "ill"})
        table = manifest.table.assign(label=label.astype(manifest.table["label"].dtype))
        other = featx.Manifest(manifest.root, table, ("well", "ill"))
        with pytest.raises(InputError, match="NORMAL from PNEUMONIA, and the manifest has well"):
            tiny.evaluate(other, progress=False)
        told = ReadingOptions(classes=("well", "ill"))
        found = tiny.evaluate(other, reading=told, progress=False)
        assert set(found.scores["label"]) == {"NORMAL", "PNEUMONIA"}
        assert found.metrics == tiny.evaluate(manifest, progress=False).metrics

    def test_images_without_labels_are_an_error_of_their_own(
        self, tiny: featx.Run, phantom_data: Path, tmp_path: Path
    ) -> None:
        shutil.copy(next(phantom_data.rglob("*.png")), tmp_path / "a.png")
        for data in (tmp_path, tmp_path / "a.png", pd.DataFrame({"path": ["a.png"]})):
            with pytest.raises(NoLabelsError) as caught:
                tiny.evaluate(data, progress=False)
            assert caught.value.code == "no-labels"

    def test_it_is_a_table_with_words(self, run: featx.Run) -> None:
        found = run.evaluate(progress=False)
        assert re.fullmatch(
            r"Evaluation\(logreg on test: recall \S+, accuracy \S+, ROC AUC \S+, 8 images\)",
            repr(found),
        )
        table = found.to_frame().set_index("metric")
        assert table.loc["recall", "value"] == found.metrics.recall
        assert table.loc["recall", "low"] == found.metrics.intervals["recall"].low
        html = found._repr_html_()
        assert found.in_words in html
        assert "<td>recall (sensitivity)</td>" in html

    def test_people_are_told_of_at_the_images_own_share_and_at_a_stated_one(
        self, run: featx.Run
    ) -> None:
        found = run.evaluate(prevalence=0.05, progress=False)
        here, stated = found.per_thousand, found.per_thousand_at_prevalence
        assert here is not None
        assert stated is not None
        assert (here.sick, here.stated, stated.sick, stated.stated) == (500, False, 50, True)
        assert found.people_in_words == (here.in_words, stated.in_words)
        assert here.in_words in found._repr_html_()
        assert stated.in_words in found._repr_html_()
        told = found.as_dict()
        assert list(told)[-2:] == ["per_thousand", "per_thousand_at_prevalence"]
        assert told["per_thousand_at_prevalence"] == stated.as_dict()
        plain = run.evaluate(progress=False)
        assert plain.as_dict()["per_thousand_at_prevalence"] is None
        assert plain.people_in_words == (here.in_words,)

    def test_its_decision_curve_has_the_verdicts_of_the_run_at_its_threshold(
        self, run: featx.Run
    ) -> None:
        found = run.evaluate(progress=False)
        curve = found.decision_curve()
        own = curve.operating_point
        assert own is not None
        assert own == run.probability(np.array([run.record.threshold]))[0]
        n = found.metrics.confusion
        net = n["tp"] / 8 - n["fp"] / 8 * own / (1.0 - own)
        assert curve.net_benefit[curve.thresholds == own] == pytest.approx(net)
        rare = found.decision_curve(prevalence=0.05, thresholds=[0.1])
        assert (rare.prevalence, rare.thresholds.tolist()) == (0.05, [0.1])
        assert rare.treat_all == pytest.approx(0.05 - 0.95 / 9)

    def test_runs_are_compared(self, run: featx.Run, cache: Cache, tmp_path: Path) -> None:
        other = featx.fit(cache, "knn", tmp_path / "knn", accuracy_floor=0.5, progress=False)
        comparison = run.evaluate(compare=[other], progress=False).comparison
        assert comparison == compare([run, other], progress=False)
        assert repr(comparison) == "RunComparison(logreg, knn on 8 images of 4 patients)"
        assert comparison is not None
        assert len(comparison.to_frame()) == len(comparison.differences)
        assert "resampling patients" in comparison._repr_html_()
        with pytest.raises(InputError, match="compared with itself"):
            compare([run, run], progress=False)


class TestPredicting:
    def test_a_folder_a_path_and_a_list_give_rows(
        self, tiny: featx.Run, phantom_data: Path
    ) -> None:
        folder = phantom_data / "test"
        files = sorted(folder.rglob("*.png"))
        found = tiny.predict(str(folder), progress=False)
        assert isinstance(found, Predictions)
        assert sorted(p.path for p in found) == [str(file) for file in files]
        assert tiny.predict(files[0], progress=False)[0].path == str(files[0])
        both = tiny.predict([files[0], folder], progress=False)
        assert [p.path for p in both[:1]] == [str(files[0])]
        assert len(both) == len(files) + 1

    @pytest.mark.parametrize("images", ["", b"data", None, 3, ["a.png", None], [""]])
    def test_what_is_no_path_is_refused(self, tiny: featx.Run, images: Any) -> None:
        with pytest.raises(InputError, match="is not a path"):
            tiny.predict(images, progress=False)

    @pytest.mark.parametrize("progress", ["yes", None, 1])
    def test_what_shows_no_progress_is_refused(self, tiny: featx.Run, progress: Any) -> None:
        with pytest.raises(InputError, match="`progress` can't be"):
            tiny.evaluate(progress=progress)

    def test_rows_are_a_table_with_counts_in_words(
        self, tiny: featx.Run, phantom_data: Path, tmp_path: Path
    ) -> None:
        shutil.copy(next((phantom_data / "test").rglob("*.png")), tmp_path / "a.png")
        (tmp_path / "<b>.png").write_text("not an image")
        (tmp_path / "notes.txt").write_text("hello")
        found = tiny.predict(tmp_path, progress=False)
        table = found.to_frame()
        assert table["path"].tolist() == [p.path for p in found]
        assert table["score"].isna().tolist() == [True, False]
        assert (found.counts.images, found.counts.failed) == (2, 1)
        said = f"{found.counts.in_words} 1 of 2 files could not be scored: see the column error."
        assert repr(found) == f"Predictions({said})"
        html = found._repr_html_()
        for words in (found.counts.in_words, "1 of 2 files could not be", "1 .txt", "&lt;b&gt;"):
            assert words in html


def test_explaining_writes_a_figure_of_each_image(
    tiny: featx.Run, phantom_data: Path, tmp_path: Path
) -> None:
    image = next((phantom_data / "test").rglob("*.png"))
    (found,) = tiny.explain(image, tmp_path / "out", progress=False)
    assert found.path == str(image)
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


class TestCalibrating:
    def test_it_gives_a_run_whose_threshold_is_the_local_one(
        self, run: featx.Run, local: Cache, tmp_path: Path
    ) -> None:
        new = run.calibrate(local.path, tmp_path / "new", accuracy_floor=0.75, progress=False)
        assert isinstance(new, featx.Run)
        assert new.record.threshold > run.record.threshold
        assert new.record.calibrated is not None
        said = f"calibrated on {new.record.calibrated.images} images of another population"
        assert said in new._repr_html_()
        assert new.to_frame()["metric"].tolist() == run.to_frame()["metric"].tolist()

    def test_without_labels_it_corrects_for_the_share_of_the_sick(
        self, run: featx.Run, local: Cache, tmp_path: Path
    ) -> None:
        new = run.calibrate(
            local, tmp_path / "new", accuracy_floor=0.6, unlabelled=True, progress=False
        )
        assert new.record.recalibration is not None
        assert new.record.recalibration.method == "prior"

    @pytest.mark.parametrize(
        "given", [{"recalibrate": "sigmoid"}, {"guarantee": 0.9}, {"cache": "kept"}]
    )
    def test_what_needs_labels_is_refused_without(
        self, run: featx.Run, local: Cache, tmp_path: Path, given: dict[str, Any]
    ) -> None:
        with pytest.raises(InputError, match=next(iter(given))):
            run.calibrate(local, tmp_path / "new", unlabelled=True, progress=False, **given)


def test_the_shift_protocol_is_a_table(run: featx.Run) -> None:
    with pytest.raises(InputError, match="seam"):
        run.shift_protocol(progress=False)
    with pytest.raises(InputError, match="is none"):
        run.shift_protocol(cache=run.path, progress=False)


def test_it_prints_its_threshold_and_its_metrics(run: featx.Run) -> None:
    recall = run.record.metrics.out_of_fold.recall
    assert repr(run).startswith(f"Run({run.path}: logreg, threshold {run.record.threshold:.6g}, ")
    assert f"recall {recall:.3f}" in repr(run)
    html = run._repr_html_()
    for words in ("<td>ROC AUC</td>", "sick (PNEUMONIA) missed", "accuracy ≥ 0.6 out of fold"):
        assert words in html
    assert f"<td>{recall:.4f}</td>" in html
    assert str(run.record) == repr(run.record)


def test_a_name_that_a_terminal_would_obey_is_printed_without(
    run: featx.Run, tmp_path: Path
) -> None:
    odd = shutil.copytree(run.path, tmp_path / "a\x1b[2Jb\nc")
    assert "a?[2Jb?c: logreg" in repr(featx.load_run(odd))


def test_an_error_comes_whole_out_of_a_worker() -> None:
    error = NoFeasibleThresholdError("none reaches 0.9", "Lower it.", best_accuracy=0.5)
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.best_accuracy, back.hint) == (str(error), 0.5, "Lower it.")


class TestClassifiersOfYourOwn:
    def test_it_is_fitted_and_opened_again(self, cache: Cache, tmp_path: Path) -> None:
        own = LinearDiscriminantAnalysis()
        run = featx.fit(cache, own, tmp_path / "own", accuracy_floor=0.5, progress=False)
        again = featx.load_run(run.path)
        assert again.evaluate(progress=False).metrics == run.evaluate(progress=False).metrics

    def test_types_that_must_be_trusted_are_named_to_fit_and_to_load(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        from sklearn.tree import DecisionTreeClassifier

        own, trusted = DecisionTreeClassifier(max_depth=2), ["sklearn.tree._tree.Tree"]
        run = featx.fit(
            cache, own, tmp_path / "own", accuracy_floor=0.4, trusted=trusted, progress=False
        )
        expected = run.evaluate(progress=False).metrics
        assert featx.load_run(run.path, trusted).evaluate(progress=False).metrics == expected
        with pytest.raises(InputError, match=r"sklearn\.tree\._tree\.Tree"):
            _ = featx.load_run(run.path).head


def test_its_head_works_in_scikit_learn(run: featx.Run, cache: Cache) -> None:
    X, _, _ = cache.as_arrays(("test",), copies=0)
    frozen = FixedThresholdClassifier(
        FrozenEstimator(run.head),
        threshold=run.record.threshold,
        response_method="predict_proba",
    )
    called = run.score(np.asarray(X)) >= run.record.threshold
    assert frozen.fit(X, np.arange(len(X)) % 2).predict(X).tolist() == called.tolist()


def test_an_argument_of_another_type_is_named(run: featx.Run, cache: Cache) -> None:
    api: Any = featx
    wrong: dict[str, list[Callable[[], object]]] = {
        "accuracy_floor": [lambda: api.fit(cache, "lda", "x", accuracy_floor="1")],
        "folds": [
            lambda: api.fit(cache, "lda", "x", folds="5"),
            lambda: api.fold_manifest("", "5"),
        ],
        "cache": [lambda: api.fit(run, "lda", "x"), lambda: api.fit_heads(run, "lda", "x")],
        "search": [lambda: api.tune(cache, "lda", "x")],
        "data": [lambda: api.load_manifest(3)],
        "test": [lambda: api.split_manifest("", test="1")],
        "images": [lambda: api.Run.predict(run, run.to_frame())],
        "compare": [lambda: api.Run.evaluate(run, compare=["runs/other"])],
        "runs": [lambda: api.report([run, 3])],
        "scores": [lambda: api.plots.roc_curve(run)],
    }
    for parameter, calls in wrong.items():
        for call in calls:
            with pytest.raises(InputError, match=f"`{parameter}` can't be of type .*Give") as error:
                call()
            assert error.value.parameter == parameter


def test_one_name_is_taken_where_several_may_be_given(
    run: featx.Run, cache: Cache, tmp_path: Path
) -> None:
    found = featx.fit_heads(cache.path, "lda", tmp_path, accuracy_floor=0.3, progress=False)
    assert repr(found).startswith("Comparison(1 head in ")
    with pytest.raises(InputError, match="no head to fit"):
        featx.fit_heads(cache, [], tmp_path)
    assert run.evaluate(by="split", progress=False)
    tree, type_of_tree = DecisionTreeClassifier(), "sklearn.tree._tree.Tree"
    made = featx.fit(cache, tree, tmp_path / "t", accuracy_floor=0, trusted=type_of_tree)
    assert featx.load_run(made.path, type_of_tree).head


def test_a_method_that_is_not_there_is_refused_before_any_work(
    run: featx.Run, cache: Cache, tmp_path: Path
) -> None:
    method: Any = "platt"
    with pytest.raises(InputError, match="Choose sigmoid or temperature"):
        run.calibrate(cache, tmp_path / "new", recalibrate=method)
