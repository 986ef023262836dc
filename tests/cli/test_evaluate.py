"""``featx evaluate``: a table, JSON and CSV."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from featx._run import load_run

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.conftest import MakeDisk


def test_the_table_names_the_head_the_split_the_threshold_and_every_metric(
    featx: Featx, tiny_run: Path
) -> None:
    code, out, _ = featx("evaluate", tiny_run)
    metrics = load_run(tiny_run).evaluate().metrics
    assert code == 0
    title = " ".join(out.split("\n\n")[0].split())
    assert "logreg on test" in title
    assert f"{metrics.images} images of {metrics.patients} patients" in title
    assert f"threshold {metrics.threshold:.6g}" in title
    for name in ("Accuracy", "Recall (sensitivity)", "Specificity", "Precision (PPV)", "F1"):
        assert f"{name} " in out
    assert f"{metrics.roc_auc:.4f}" in out
    assert f"{metrics.log_loss:.4f}" in out
    interval = metrics.intervals["accuracy"]
    assert f"{interval.low:.4f} – {interval.high:.4f}" in out
    assert "called NORMAL   called PNEUMONIA" in out
    assert "untrained" in out


def test_json_holds_what_was_measured_on_what(
    featx: Featx, tiny_run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "metrics.json"
    assert featx("evaluate", tiny_run, tiny_cache, "--split", "test", "--json", file).code == 0
    content = json.loads(file.read_text())
    run = load_run(tiny_run)
    expected = run.evaluate().metrics.as_dict()
    assert {name: content[name] for name in expected} == json.loads(json.dumps(expected))
    assert content["run"] == str(tiny_run)
    assert content["head"] == "logreg"
    assert content["split"] == "test"
    assert content["classes"] == ["NORMAL", "PNEUMONIA"]
    assert content["accuracy_floor"] == 0.5
    assert content["excluded"] == 0
    assert content["trained_embeddings"] is False


def test_predictive_values_at_a_stated_prevalence(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "metrics.json"
    answer = featx("evaluate", tiny_run, "--prevalence", "0.05", "--json", file)
    assert answer.code == 0
    found = json.loads(file.read_text())
    assert found["at_prevalence"]["prevalence"] == 0.05
    words = " ".join(answer.out.split())
    for name in ("ppv", "npv"):
        value = found["at_prevalence"][name]
        shown = "undefined" if value is None else f"{value:.4f}"  # nobody may be called NORMAL
        assert f"{name.upper()} at prevalence 0.05 {shown}" in words
    refused = featx("evaluate", tiny_run, "--prevalence", "5")
    assert refused.code == 2
    assert "--prevalence 5 is not between 0 and 1" in refused.error


def test_csv_has_these_columns_and_a_line_an_image(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    featx("evaluate", tiny_run, "--csv", tmp_path / "scores.csv")
    table = pd.read_csv(tmp_path / "scores.csv")
    assert list(table.columns) == ["path", "label", "group", "score"]
    expected = load_run(tiny_run).evaluate().scores
    assert table["score"].to_numpy() == pytest.approx(expected["score"].to_numpy())


def test_all_splits_count_what_was_left_out(featx: Featx, tiny_run: Path, tmp_path: Path) -> None:
    answer = featx("evaluate", tiny_run, "--split", "all", "--json", tmp_path / "m.json")
    images = load_run(tiny_run).record.images
    said = f"{images} images left out: {images} files that the run was fitted on."
    assert said in answer.err.splitlines()
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["excluded"] == content["left_out"]["same_file"] == images


def test_images_of_training_patients_are_left_out_unless_they_are_to_be_kept(
    featx: Featx, tiny_run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    import h5py

    shutil.copytree(tiny_cache, tmp_path / "cache")
    with h5py.File(tmp_path / "cache" / "index.h5", "r+") as index:
        split, group = (index[f"images/{name}"][:] for name in ("split", "group"))
        test, train = np.flatnonzero(split == b"test"), np.flatnonzero(split == b"train")
        group[test[0]] = group[train[0]]
        index["images/group"][...] = group
    arguments = ("evaluate", tiny_run, tmp_path / "cache", "--json", tmp_path / "m.json")
    answer = featx(*arguments)
    assert answer.code == 0
    assert "1 image left out: 1 image of 1 patient that the run was fitted on." in answer.err
    assert "If these are other people with the same names, add --keep-known-patients." in answer.err
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["left_out"]["known_patient"] == content["excluded"] == 1
    assert content["images"] == len(test) - 1
    quiet = featx("-q", *arguments[:-1], "-")
    assert json.loads(quiet.out) == content
    assert quiet.err.splitlines() == answer.err.splitlines()[-2:]
    kept = featx(*arguments, "--keep-known-patients", "--force")
    assert "1 image of patients that the run was fitted on is measured, too" in kept.err
    assert json.loads((tmp_path / "m.json").read_text())["images"] == len(test)


def test_the_first_lines_name_the_positive_class_and_count_in_words(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    out = featx("-q", "evaluate", tiny_run, "--json", tmp_path / "m.json").out
    content = json.loads((tmp_path / "m.json").read_text())
    first, second = out.splitlines()[:2]
    assert first == "Positive class (sick): PNEUMONIA. Negative class (healthy): NORMAL."
    n = content["confusion"]
    assert second == content["in_words"]
    assert second.startswith(f"{n['fn']} of {n['fn'] + n['tp']} sick (PNEUMONIA) missed")
    assert content["positive_class"] == "PNEUMONIA"


def test_people_are_counted_in_sentences_and_in_json(
    featx: Featx, tiny_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "m.json"
    out = featx("-q", "evaluate", tiny_run, "--json", file).out
    here = json.loads(file.read_text())["per_thousand"]
    assert here["in_words"] in " ".join(out.split())
    assert out.count("Per 1,000 patients") == 1
    assert json.loads(file.read_text())["per_thousand_at_prevalence"] is None
    out = featx("-q", "evaluate", tiny_run, "--prevalence", "0.001", "--json", file, "--force").out
    content = json.loads(file.read_text())
    assert content["per_thousand"] == here
    rare = content["per_thousand_at_prevalence"]
    assert (rare["sick"], rare["found"] + rare["missed"]) == (1, 1)
    assert rare["false_alarms"] + rare["cleared"] == 999
    for people in (here, rare):
        assert people["in_words"] in " ".join(out.split())


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_that_it_was_fitted_on_are_refused_as_a_measure(
    featx: Featx, tiny_run: Path, tmp_path: Path, split: str
) -> None:
    answer = featx("evaluate", tiny_run, "--split", split, "--json", tmp_path / "m.json")
    assert answer.code == 2
    assert "was fitted on these very images" in answer.error
    assert not list(tmp_path.iterdir())


def test_a_split_without_sick_images_shows_undefined_metrics(
    featx: Featx, tiny_run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    import h5py

    shutil.copytree(tiny_cache, tmp_path / "cache")
    with h5py.File(tmp_path / "cache" / "index.h5", "r+") as index:
        label = index["images/label"]
        label[...] = [b"NORMAL"] * len(label)
    answer = featx("evaluate", tiny_run, tmp_path / "cache", "--json", tmp_path / "m.json")
    assert answer.code == 0
    assert answer.out.count("undefined") >= 3
    assert json.loads((tmp_path / "m.json").read_text())["recall"] is None
    assert "Per 1,000 patients, 0 of them sick, as in these images: 0 found" in answer.out


def test_quiet_prints_the_results_alone(featx: Featx, tiny_run: Path) -> None:
    answer = featx("-q", "evaluate", tiny_run)
    assert answer.err == ""
    assert answer.out == featx("evaluate", tiny_run).out


def test_json_is_written_whole_or_the_old_file_stays(
    featx: Featx, tiny_run: Path, small_disk: MakeDisk
) -> None:
    disk = small_disk("64k")
    (disk / "metrics.json").write_text("old")
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 1024)
    answer = featx("evaluate", tiny_run, "--json", disk / "metrics.json", "--force")
    assert answer.code == 2
    assert "no room left on the disk" in answer.error
    assert (disk / "metrics.json").read_text() == "old"
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "metrics.json"]


def test_a_run_whose_positive_class_is_healthy_is_warned_of(
    featx: Featx, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.data._positive.is_healthy_name", lambda name: name == "PNEUMONIA")
    said = "WARNING: the positive class PNEUMONIA has the name of healthy people"
    assert featx("evaluate", tiny_run, "-q").err.startswith(said)
    assert featx("evaluate", tiny_run, "--json", "-", "-q").err.startswith(said)
