"""``featx fit``: what it prints, and what it leaves."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from featx._run import load_run
from featx.evaluation import counts_in_words
from featx.thresholds import Criterion
from featx_cache import open_cache
from featx_cli.commands.fit import comparison_table

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

POSITIVE = "Positive class (sick): PNEUMONIA. Negative class (healthy): NORMAL."
FLOOR = ("--accuracy-floor", "0.5")


def test_it_writes_a_run_and_prints_its_metrics_threshold_and_place(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "first"
    code, out, err = featx("fit", tiny_cache, "--head", "logreg", "--run", run, *FLOOR)
    assert code == 0
    record = json.loads((run / "run.json").read_text())
    metrics = record["metrics"]["out_of_fold"]
    for name in ("accuracy", "recall", "specificity", "precision", "f1", "roc_auc"):
        assert f"{metrics[name]:.4f}" in out
    interval = metrics["intervals"]["recall"]
    assert f"{interval['low']:.4f} – {interval['high']:.4f}" in out
    confusion = metrics["confusion"]
    rows = [line.split() for line in out.splitlines()]
    assert ["NORMAL", str(confusion["tn"]), str(confusion["fp"])] in rows
    assert ["PNEUMONIA", str(confusion["fn"]), str(confusion["tp"])] in rows
    words = counts_in_words(confusion, ("NORMAL", "PNEUMONIA"))
    assert f"Out of fold: {words}\n" in out.split("logreg, out of fold")[0]
    assert f"Threshold {record['threshold']:.6g}" in out
    assert "accuracy ≥ 0.5" in out
    assert out.splitlines()[0] == POSITIVE
    assert out.splitlines()[-1] == f"Run: {run}"
    assert "the embeddings are untrained" in err
    assert "featx: error:" not in err


def test_a_path_is_printed_on_one_line_however_long(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / ("a" * 90) / ("b" * 90)
    out = featx("fit", tiny_cache, "--head", "logreg", "--run", run, *FLOOR).out
    assert f"Run: {run}\n" in out


def test_the_positive_class_is_told_of_several_heads_and_when_quiet(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    heads = ("-q", "fit", tiny_cache, "--head", "lda,knn", "--run", tmp_path / "both")
    tuned = ("-q", "tune", tiny_cache, "--head", "lda", "--run", tmp_path / "tuned")
    for command in ((*heads, *FLOOR), (*tuned, "--trials", "2", "--accuracy-floor", "0.1")):
        answer = featx(*command)
        assert answer.code == 0
        assert answer.out.splitlines()[0] == POSITIVE
        assert answer.err == ""


def test_it_warns_of_patients_who_are_trained_and_tested_on_and_of_unknown_ones(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    silent = featx("fit", tiny_cache, "--head", "lda", "--run", tmp_path / "a", *FLOOR).err
    assert "patient" not in silent
    shutil.copytree(tiny_cache, tmp_path / "cache")
    images = open_cache(tiny_cache).images
    known = images["group"][images["split"] == "train"].iloc[0]
    test = (images["split"] == "test").to_numpy()

    def fit_with(groups: pd.Series[str], run: str) -> str:
        change_images(tmp_path / "cache", groups)
        return featx(
            "fit", tmp_path / "cache", "--head", "lda", "--run", tmp_path / run, *FLOOR
        ).err

    first = test & (images["group"] == images["group"][test].iloc[0]).to_numpy()
    said = fit_with(images["group"].mask(first, known), "b")
    assert "WARNING: 1 patient has images in train or val and in test, too" in said
    assert f"({first.sum()} of {test.sum()} test images)" in said
    said = fit_with(images["path"], "c")
    assert "No patient is known: every image counts as a patient of its own." in said
    assert "--group-column or --group-regex" in said


def change_images(cache: Path, groups: pd.Series[str]) -> None:
    """Call patients otherwise in an index, and take its checksum away: earlier ones had none."""
    content = (cache / "index.h5").read_bytes()
    signature = content.rfind(b"featx-index-sha256 ")
    (cache / "index.h5").write_bytes(content[:signature] if signature > 0 else content)
    with h5py.File(cache / "index.h5", "r+") as file:
        texts = [group.encode() for group in groups]
        del file["images/group"]
        file["images/group"] = np.array(texts)


def test_options_reach_the_fit(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    options = ("--seed", "5", "--folds", "3", "--use-copies", "--accuracy-floor", "0.51")
    featx("fit", tiny_cache, "--head", "svm", "--run", tmp_path / "run", *options)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seed"] == record["head"]["seed"] == 5
    assert record["head"]["name"] == "svm"
    assert (record["accuracy_floor"], record["folds"]) == (0.51, 3)
    assert record["copies"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--recall-floor", "0.6"), "the highest specificity with recall ≥ 0.6 on "),
        (
            ("--cost", "4:1", "--specificity-floor", "0.1"),
            "the lowest expected cost (4 for a missed sick patient, 1 for a false alarm) with "
            "specificity ≥ 0.1 on ",
        ),
        (("--youden",), "the highest recall + specificity - 1 (Youden) on "),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_criterion_is_an_option_and_the_run_says_it(
    options: tuple[str, ...], words: str, featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    answer = featx("fit", tiny_cache, "--head", "logreg", "--run", run, *options)
    assert answer.code == 0, answer.err
    assert words in " ".join(answer.out.split())
    record = load_run(run).record
    assert record.accuracy_floor == 0.0
    assert record.criterion.accuracy_floor is None
    assert words.split(" on ")[0] in f"the {record.criterion.in_words}"
    found = record.metrics.out_of_fold
    for name, floor in record.criterion.floors.items():
        assert found[name] >= floor
    assert record.criterion.in_words in (run / "fit.log").read_text()
    assert record.criterion.in_words in load_run(run)._repr_html_()
    assert record.band is not None
    assert record.band[0] <= record.threshold <= record.band[1]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--cost", "10"), 2, "'10' isn't FN:FP. Give two numbers above 0"),
        (("--cost", "10:a"), 2, "'10:a' isn't FN:FP"),
        (("--cost", "1:2:3"), 2, "'1:2:3' isn't FN:FP"),
        (("--cost", "10:-1"), 2, "'10:-1' has a cost that isn't above 0"),
        (("--cost", "nan:1"), 2, "'nan:1' has a cost that isn't above 0"),
        (("--cost", "10:1", "--youden"), 2, "--cost and --youden are two objectives"),
        (("--recall-floor", "97"), 2, "the recall floor 97.0 is not between 0 and 1"),
        (
            ("--recall-floor", "1", "--specificity-floor", "1"),
            1,
            "no threshold reaches recall 1 and specificity 1: the best is accuracy 0.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_criterion_that_can_not_be_meant_is_one_line(
    options: tuple[str, ...],
    code: int,
    said: str,
    featx: Featx,
    tiny_cache: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    answer = featx("fit", tiny_cache, "--head", "logreg", "--run", run, *options)
    assert answer.code == code
    assert said in answer.error
    assert answer.out == ""
    assert not list(tmp_path.iterdir())


def test_heads_are_compared_by_what_the_criterion_maximizes(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    heads = ("--head", "logreg,knn,lda", "--run", tmp_path / "runs")
    answer = featx("fit", tiny_cache, *heads, "--recall-floor", "0.5")
    assert "Out of fold, at the highest specificity with recall ≥ 0.5" in answer.out
    table = pd.read_csv(tmp_path / "runs" / "comparison.csv")
    assert table["specificity"].is_monotonic_decreasing
    assert (table["recall"] >= 0.5).all()


SMALL = ("--set", "architecture=gap", "--set", "dense_units=none", "--epochs", "1")


def test_settings_come_from_a_file_and_the_command_line_has_the_last_word(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    config = tmp_path / "head.yaml"
    config.write_text("kernel: linear\ncomponents: 5\nC: 0.1\n")
    options = ("--head-config", config, "--set", "C=0.2", "--set", "standardize=false")
    featx("fit", tiny_cache, "--head", "svm", "--run", tmp_path / "run", *options, *FLOOR)
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["head"]["settings"]
    assert (settings["kernel"], settings["components"], settings["C"]) == ("linear", 5, 0.2)
    assert settings["standardize"] is False


@pytest.mark.usefixtures("two_folds")
def test_an_option_has_the_last_word_over_the_file_too(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    config = tmp_path / "head.yaml"
    config.write_text("architecture: gap\nepochs: 3\nprecision: bfloat16\nbatch_size: 8\n")
    options = ("--head-config", config, "--epochs", "1", "--precision", "float32")
    run = tmp_path / "run"
    featx("fit", tiny_cache, "--head", "keras", "--run", run, "--accuracy-floor", "0", *options)
    settings = json.loads((run / "run.json").read_text())["head"]["settings"]
    assert (settings["epochs"], settings["precision"], settings["batch_size"]) == (1, "float32", 8)


@pytest.mark.usefixtures("two_folds")
def test_a_head_of_one_s_own_from_a_file(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    config = tmp_path / "head.yaml"
    config.write_text(
        "epochs: 1\nstopping: dual\nlayers:\n  - Flatten\n  - Dense: {units: 3, activation: relu}\n"
    )
    run = tmp_path / "run"
    answer = featx(
        "fit",
        tiny_cache,
        "--head",
        "keras",
        "--run",
        run,
        "--head-config",
        config,
        "--accuracy-floor",
        "0",
    )
    assert answer.code == 0
    assert "fold 1: kept epoch 1" in answer.err
    history = pd.read_csv(run / "history.csv")
    assert list(history.columns[:4]) == ["training", "member", "epoch", "accuracy"]
    assert set(history["training"]) == {"fold 1", "fold 2", "final"}
    assert {"val_loss", "val_accuracy", "val_recall", "seconds"} <= set(history.columns)
    assert (run / "curves.png").stat().st_size > 10_000
    assert list((run / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_reduction_is_told(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    options = ("--set", "representation=flatten", "--set", "components=4")
    answer = featx("fit", tiny_cache, "--head", "lda", "--run", tmp_path / "r", *options, *FLOOR)
    assert "512 features an image (flatten), reduced to 4 principal components" in answer.err


@pytest.mark.usefixtures("two_folds")
def test_all_heads_are_compared_in_one_table(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    few = ("--set", "components=4", "--set", "max_iter=5", *SMALL)
    run = tmp_path / "all"
    answer = featx("fit", tiny_cache, "--head", "all", "--run", run, "--accuracy-floor", "0", *few)
    assert answer.code == 0
    table = pd.read_csv(run / "comparison.csv")
    assert sorted(table["head"]) == sorted(["keras", "logreg", "svm", "knn", "lda", "hgb"])
    lines = {line.split()[0]: line.split() for line in answer.out.splitlines() if line.split()}
    for row in table.to_dict("records"):
        assert lines[row["head"]][1] == f"{row['roc_auc']:.4f}"
        assert lines[row["head"]][-1] == f"{row['predict_microseconds']:.0f}"
        assert (run / row["head"] / "run.json").exists()


def test_several_heads_with_commas(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    heads = ("--head", "lda, logreg,lda")
    assert featx("fit", tiny_cache, *heads, "--run", tmp_path / "two", *FLOOR).code == 0
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [
        "comparison.csv",
        "lda",
        "logreg",
    ]


def test_a_run_is_replaced_only_by_force(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    command = ("fit", tiny_cache, "--head", "logreg", "--run", tmp_path / "run", *FLOOR)
    assert featx(*command).code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    refused = featx(*command, "--seed", "1")
    assert refused.code == 2
    assert "--force" in refused.error
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert featx(*command, "--seed", "1", "--force").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 1


def test_no_feasible_threshold_is_a_failure_that_names_what_can_be_had(
    featx: Featx, tiny_cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    answer = featx("fit", tiny_cache, "--head", "logreg", "--run", run, "--accuracy-floor", "1")
    assert answer.code == 1
    assert answer.out == ""
    assert "no threshold reaches accuracy 1: the best is 0." in answer.error
    assert "Lower --accuracy-floor to 0." in answer.error
    assert not list(tmp_path.iterdir())


def test_one_fold_holds_nobody_out(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = featx("fit", tiny_cache, "--head", "logreg", "--run", run, "--folds", "1")
    assert answer.code == 2
    assert "1 fold can't hold a patient out. Give --folds at least 2." in answer.error


@pytest.mark.parametrize("typed", ["log", "svn"])
def test_a_misspelt_head_is_answered_with_did_you_mean(
    featx: Featx, tiny_cache: Path, tmp_path: Path, typed: str
) -> None:
    answer = featx("fit", tiny_cache, "--head", typed, "--run", tmp_path / "run")
    assert answer.code == 2
    assert "Did you mean" in answer.error


def test_quiet_prints_the_results_alone(featx: Featx, tiny_cache: Path, tmp_path: Path) -> None:
    command = ("fit", tiny_cache, "--head", "logreg", *FLOOR, "--run")
    quiet = featx("-q", *command, tmp_path / "quiet")
    normal = featx(*command, tmp_path / "normal")
    assert quiet.err == ""
    assert normal.err != ""
    assert quiet.out.splitlines()[:-1] == normal.out.splitlines()[:-1]


ONE_LAYER = """
import featx.heads._keras_head as module

def build_network(shape, settings, seed, *, steps, parts):
    from keras import Input, Sequential, layers
    return Sequential([Input(shape), layers.Flatten(), layers.Dense(1, "sigmoid")])

module.build_network = build_network
from featx_cli.__main__ import main
main()
"""


@pytest.mark.long
def test_a_keras_head_in_a_process_of_its_own_prints_results_only(
    tiny_cache: Path, tmp_path: Path
) -> None:
    """TensorFlow and Keras write to standard error in many ways. None may reach a quiet user.

    The network has one layer and there are two folds: each training has to be traced.
    """
    options = ["--head", "keras", "--epochs", "1", "--folds", "2", "--accuracy-floor", "0", "--run"]
    done = subprocess.run(
        [sys.executable, "-c", ONE_LAYER, "-q", "fit", tiny_cache, *options, tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "keras, out of fold" in done.stdout
    table = pd.read_csv(tmp_path / "run" / "oof.csv")
    assert list(table.columns) == ["path", "label", "group", "fold", "score"]
    assert (tmp_path / "run" / "head.keras").stat().st_size > 0


def test_a_head_that_misses_the_floor_shows_its_area_and_its_best_accuracy() -> None:
    missing = dict.fromkeys(("recall", "accuracy", "specificity", "threshold"), float("nan"))
    table = pd.DataFrame([{"head": "knn", "roc_auc": 0.91234, "best_accuracy": 0.8756, **missing}])
    text = io.StringIO()
    Console(width=120, file=text).print(comparison_table(table, Criterion(accuracy_floor=0.95)))
    (line,) = (line for line in text.getvalue().splitlines() if "knn" in line)
    assert line.split() == ["knn", "0.9123", "none", "≤", "0.8756"]
