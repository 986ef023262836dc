"""Embeddings of several layers, from ``featx extract`` to reports and graphs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx._run import load_run
from featx.backbones import split_parts
from featx.reports._commands import CommandPaths, rebuild_commands
from featx.runs import FittedRun
from featx.scoring import score_images
from featx_cache import open_cache
from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once", "two_folds")

PARTS = "block5_pool 2x2x512 + block4_pool 10x512"
BACKBONE = ["--backbone", "vgg16", "--weights", "random", "--precision", "float32"]
BACKBONE += ["--input-size", "64", "--layer", "block5_pool,block4_pool", "--pool-extra", "pyramid"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layers")


@pytest.fixture
def cache(featx: Featx, phantom_data: Path, folder: Path) -> Path:
    if not (folder / "cache").exists():
        options = ["--copies", "1", "--copies-of", "all"]
        code, _, err = featx(
            "extract", phantom_data, "--cache", folder / "cache", *BACKBONE, *options
        )
        assert code == 0
        assert f"embedding 7,168 from {PARTS}, float32 by ncnn on cpu" in err
    return folder / "cache"


@pytest.fixture
def fitted(featx: Featx, cache: Path, folder: Path) -> Callable[..., Path]:
    def fit(name: str, *options: str) -> Path:
        if not (folder / name).exists():
            floor = ["--accuracy-floor", "0.5"]
            assert featx("fit", cache, "--run", folder / name, *floor, *options).code == 0
        return folder / name

    return fit


def test_a_cache_says_what_its_embeddings_are_of(featx: Featx, cache: Path) -> None:
    assert f"7168 from {PARTS}" in " ".join(featx("cache", "info", cache).out.split())
    spec = json.loads(featx("cache", "info", cache, "--json").out)["spec"]["backbone"]
    opened = open_cache(cache)
    parts = split_parts(opened.to_numpy("test")[0], spec["parts"])
    assert parts["block4_pool"].shape == (10, 10, 512)
    frame = opened.to_frame("test", pooled=True)
    pooled = frame[[f"embedding_{number}" for number in range(512)]].to_numpy()
    mean = parts["block5_pool"].astype(np.float32).mean(axis=(1, 2))
    np.testing.assert_allclose(pooled, mean, rtol=1e-5)
    assert "embedding_512" not in frame


def test_images_are_scored_as_a_cache_s_embeddings_are(
    featx: Featx, cache: Path, fitted: Callable[..., Path], phantom_data: Path, folder: Path
) -> None:
    tta = fitted("tta", "--head", "logreg", "--tta")
    keras = fitted("keras", "--head", "keras", "--set", "architecture=gap", "--epochs", "2")
    out = folder / "scores.csv"
    for run in (tta, keras):
        assert featx("evaluate", run, cache).code == 0
        assert featx("predict", run, phantom_data / "test", "--out", out, "--force").code == 0
        with out.open(newline="") as file:
            predicted = {Path(row["path"]).name: row for row in csv.DictReader(file)}
        scored = score_images(FittedRun(run), open_cache(cache), progress=False)
        for path, score in zip(scored.table["path"], scored.table["score"], strict=True):
            assert float(predicted[Path(path).name]["score"]) == pytest.approx(score, abs=1e-5)


def test_explanations_and_reports_name_the_layers(
    featx: Featx, cache: Path, fitted: Callable[..., Path], phantom_data: Path, folder: Path
) -> None:
    run = fitted("logreg", "--head", "logreg")
    images = sorted((phantom_data / "test").rglob("*.png"))[:2]
    assert featx("explain", run, *images, "--out", folder / "why").code == 0
    with (folder / "why" / "explanations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    written = json.loads((folder / "why" / "explanations.json").read_text())["explanations"]
    for row, explanation in zip(rows, written, strict=True):
        for name in ("from_block5_pool", "from_block4_pool"):
            assert float(row[name]) == pytest.approx(explanation[name])
        assert np.shape(explanation["heat"]) == (2, 2)
    explained = load_run(run).explain(images[:1], progress=False)[0]
    assert explained.notes[0].startswith("The map shows block5_pool. Layers: block5_pool ")
    assert featx("report", run, "--cache", cache, "--out", folder / "report.html").code == 0
    text = (folder / "report.html").read_text()
    assert f"vgg16, layers {PARTS}, random weights" in text
    command = rebuild_commands(load_run(run).record, CommandPaths())
    assert "--layer block4_pool,block5_pool --pool-extra pyramid" in command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pool-extra", "pyramid"], "--pool-extra pyramid is for layers beyond the deepest"),
        (["--layer", "block4_pool,"], "a name in --layer is empty"),
        (["--layer", "block4_pool,nothing"], "vgg16 has no layer 'nothing'"),
    ],
)
def test_misuse_is_refused(
    featx: Featx, phantom_data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    few = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32"]
    answer = featx("extract", phantom_data, "--cache", tmp_path / "cache", *few, *options)
    assert answer.code == 2
    assert message in answer.error
    assert not (tmp_path / "cache").exists()
