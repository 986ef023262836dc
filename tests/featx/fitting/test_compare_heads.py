"""Several heads on the same folds, and the table of how they did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from featx._run import load_run
from featx.errors import InputError, NoFeasibleThresholdError
from featx.fitting import Comparison, fit, fit_heads
from featx.fitting._fit import fit_on
from featx.heads import HeadSpec
from featx.thresholds import Criterion
from featx.training import load_training_data
from featx_cache import Cache

NAMES = ("logreg", "svm", "knn", "lda")
# Few images: as many components as images would leave nothing to tell the classes by.
FEW = {"components": 4}
SPECS = [HeadSpec.choose(name, settings=FEW if name != "logreg" else None) for name in NAMES]


@pytest.fixture(scope="module")
def compared(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return fit_heads(cache, SPECS, tmp_path_factory.mktemp("compared"), accuracy_floor=0.6)


def test_each_head_has_its_run_and_a_line(compared: Comparison) -> None:
    assert sorted(p.name for p in compared.folder.iterdir()) == sorted((*NAMES, "comparison.csv"))
    assert sorted(compared.table["head"]) == sorted(NAMES)
    back = pd.read_csv(compared.folder / "comparison.csv")
    pd.testing.assert_frame_equal(back, compared.table)


def test_the_lines_say_what_the_runs_say_best_first(compared: Comparison) -> None:
    best = compared.table["head"].iloc[0]
    for line in compared.table.to_dict("records"):
        record = load_run(compared.folder / line["head"]).record
        metrics = record.metrics["out_of_fold"]
        for name in ("roc_auc", "recall", "accuracy", "specificity"):
            assert line[name] == metrics[name]
        assert line["threshold"] == record.threshold
        assert line["fit_seconds"] > 0
        assert line["predict_microseconds"] > 0
    assert repr(compared) == f"Comparison(4 heads in {compared.folder}, best: {best})"
    assert compared._repr_html_().count("<tr") == 5
    pd.testing.assert_frame_equal(compared.to_frame(), compared.table)
    order = list(zip(compared.table["recall"], compared.table["roc_auc"], strict=True))
    assert order == sorted(order, reverse=True)


def test_a_head_does_as_it_does_alone_and_all_have_the_same_folds(
    compared: Comparison, cache: Cache, tmp_path: Path
) -> None:
    alone = fit(
        cache, HeadSpec.choose("lda", settings=FEW), tmp_path / "lda", accuracy_floor=0.6
    ).path
    assert (alone / "oof.csv").read_bytes() == (compared.folder / "lda" / "oof.csv").read_bytes()
    folds = [pd.read_csv(compared.folder / name / "oof.csv")["fold"] for name in NAMES]
    assert all(fold.equals(folds[0]) for fold in folds)


def test_embeddings_are_pooled_once_for_heads_that_pool_alike(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def spy(cache: Cache, spec: HeadSpec, **options: Any) -> Any:
        reads.append(spec.name)
        return load_training_data(cache, spec, **options)

    monkeypatch.setattr("featx.fitting._compare_heads.load_training_data", spy)
    average = HeadSpec.choose("knn", settings={"representation": "average"})
    specs = [average, HeadSpec.choose("logreg"), HeadSpec.choose("lda", settings=FEW)]
    fit_heads(cache, specs, tmp_path, accuracy_floor=0.5)
    assert len(reads) == 2


def test_runs_that_are_there_are_kept_when_resuming(cache: Cache, tmp_path: Path) -> None:
    first = fit(
        cache, HeadSpec.choose("lda", settings=FEW), tmp_path / "lda", accuracy_floor=0.6
    ).path
    before = (first / "run.json").read_bytes()
    with pytest.raises(InputError, match=r"there is a run at .*lda already"):
        fit_heads(cache, SPECS, tmp_path, accuracy_floor=0.6)
    again = fit_heads(cache, SPECS, tmp_path, accuracy_floor=0.6, resume=True)
    assert (first / "run.json").read_bytes() == before
    assert len(again.table) == len(NAMES)
    for change in ({"accuracy_floor": 0.5}, {"accuracy_floor": 0.6, "folds": 4}):
        with pytest.raises(InputError, match="other settings"):
            fit_heads(cache, SPECS, tmp_path, resume=True, **change)  # type: ignore[arg-type]


def test_a_table_is_not_replaced_unasked_and_somebody_else_s_never(
    cache: Cache, tmp_path: Path
) -> None:
    spec = [HeadSpec.choose("lda", settings=FEW)]
    table = tmp_path / "comparison.csv"
    table.write_text("mine")
    for force, said in ((False, "there is a comparison at"), (True, "isn't a comparison of featx")):
        with pytest.raises(InputError, match=said):
            fit_heads(cache, spec, tmp_path, accuracy_floor=0.6, force=force)
        assert [path.name for path in tmp_path.iterdir()] == ["comparison.csv"]
    table.unlink()
    for _ in range(2):
        fit_heads(cache, spec, tmp_path, accuracy_floor=0.6, force=True)
    assert table.read_text().startswith("head,roc_auc")


def test_a_run_of_one_head_is_no_place_for_several(cache: Cache, tmp_path: Path) -> None:
    run = fit(cache, SPECS[0], tmp_path / "run", accuracy_floor=0.6).path
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match="is a run of one head"):
        fit_heads(cache, SPECS, run, accuracy_floor=0.6, force=True)
    assert sorted(run.iterdir()) == before


def test_a_head_that_misses_the_floor_is_listed_with_its_area_and_best_accuracy(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach_for_knn(data: Any, cache: Cache, job: Any, progress: Any) -> Any:
        floor = 1.0 if job.head.name == "knn" else job.accuracy_floor
        changed = replace(job, criterion=Criterion(accuracy_floor=floor))
        return fit_on(data, cache, changed, progress)

    monkeypatch.setattr("featx.fitting._compare_heads.fit_on", out_of_reach_for_knn)
    table = fit_heads(cache, SPECS, tmp_path, accuracy_floor=0.6).table
    knn = table.iloc[-1]
    assert knn["head"] == "knn"
    assert pd.isna(knn["threshold"])
    assert 0.5 < knn["roc_auc"] < 1.0
    assert 0.5 < knn["best_accuracy"] < 1.0
    assert table["best_accuracy"].notna().sum() == 1
    assert not (tmp_path / "knn").exists()


def test_no_head_at_the_floor_is_an_error_that_names_the_best(cache: Cache, tmp_path: Path) -> None:
    folder = tmp_path / "compared"
    with pytest.raises(NoFeasibleThresholdError) as caught:
        fit_heads(cache, SPECS[:3], folder, accuracy_floor=1.0)
    assert 0.5 < caught.value.best_accuracy < 1.0
    assert not folder.exists()
