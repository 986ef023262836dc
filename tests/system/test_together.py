"""Two of every command that writes, on the same target at once, and readers while one writes.

Both succeed and the target is whole, or one does and the other says why in one line.
(`extract`: test_extract_together.py.)
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from featx._run import load_run
from featx.errors import InputError
from featx_cache import open_cache
from tests.processes import Command, Server

FLOOR = ("--accuracy-floor", "0.5")
LOGREG, LDA = ("--head", "logreg"), ("--head", "lda")
AT_WORK = r"another featx is at work on \S+\. Wait for it"


@pytest.fixture(scope="module")
def runs(
    commands: Server, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Two runs, to be read: another head each."""
    folder = tmp_path_factory.mktemp("runs")
    for head in (LOGREG, LDA):
        commands.run("fit", tiny_cache, *head, "--run", folder / head[1], *FLOOR)
    return folder / "logreg", folder / "lda"


def both(
    commands: Server, one: Sequence[object], other: Sequence[object]
) -> tuple[Command, Command]:
    """Run two commands at once and wait for them."""
    started = commands.start(*one), commands.start(*other)
    for command in started:
        command.code = command.wait()
    return started


def the_winner(pair: tuple[Command, Command], why: str) -> int:
    """Say which of two succeeded. The other gave the reason in one line."""
    codes = [command.code for command in pair]
    assert {*codes} == {0, 2}, [command.err for command in pair]
    assert re.search(why, pair[codes.index(2)].error)
    return codes.index(0)


def both_succeeded(pair: tuple[Command, Command]) -> None:
    assert [command.code for command in pair] == [0, 0], [command.err for command in pair]


def assert_whole_run(run: Path, head: str) -> None:
    """Read every file of a run, and the folder around it, in which nothing else is left."""
    opened = load_run(run)
    assert opened.record.head.name == head
    for name in opened.record.files:
        opened.file(name)
    assert {path.name for path in run.iterdir() if path.is_file()} == {
        *opened.record.files, "run.json",
    }  # fmt: skip
    assert len(opened.out_of_fold) == opened.record.images
    assert opened.head is not None
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_fit(commands: Server, tiny_cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"
    one, other = (["fit", tiny_cache, *head, "--run", run, *FLOOR] for head in (LOGREG, LDA))
    winner = the_winner(both(commands, one, other), "there is a run at .* already. Give another")
    assert_whole_run(run, ("logreg", "lda")[winner])
    both_succeeded(both(commands, [*one, "--force"], [*other, "--force"]))
    assert_whole_run(run, load_run(run).record.head.name)


def test_tune(commands: Server, tiny_cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "tuned"
    command = ["tune", tiny_cache, *LOGREG, "--run", run, *FLOOR, "--trials", 4, "--seed"]
    pair = both(commands, [*command, 1], [*command, 2])
    winner = the_winner(pair, f"{AT_WORK}|there is a run at .* already")
    assert_whole_run(run, "logreg")
    tuning = load_run(run).record.tuning
    assert tuning is not None
    assert tuning["search"]["seed"] == 1 + winner


def test_calibrate(
    commands: Server, tiny_cache: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    new = tmp_path / "runs" / "new"
    one, other = (["calibrate", run, tiny_cache, "--run", new, *FLOOR] for run in runs)
    winner = the_winner(both(commands, one, other), "there is a run at .* already. Give another")
    assert_whole_run(new, runs[winner].name)


def assert_whole_report(page: Path, titles: tuple[str, ...]) -> None:
    """Find one report: of one title, with the figures that its text shows, and no others."""
    html, text = page.read_text(), page.with_suffix(".md").read_text()
    assert html.rstrip().endswith("</html>")
    assert re.findall(r"<title>(\w+)</title>", html) == re.findall(r"\A# (\w+)$", text, re.M)
    (title,) = re.findall(r"\A# (\w+)$", text, re.M)
    assert title in titles
    shown = set(re.findall(r"\]\(\w+_files/([^)]+)\)", text))
    assert shown == {path.name for path in page.with_name(f"{page.stem}_files").glob("[!.]*")}
    # The two runs have different names, and so has what is made of them.
    name = {"One": "logreg", "Other": "lda"}[title]
    card = (page.parent / "r_model_card.md").read_text()
    assert re.search(rf"^# Model card: {name}$", card, re.M)
    assert {path.name for path in page.parent.iterdir()} == {
        "r.html", "r.md", "r_files", "r_model_card.md",
    }  # fmt: skip


def test_report(commands: Server, runs: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "new" / "r.html"
    one, other = (
        ["report", run, "--out", page, "--title", title, "--out-of-fold"]
        for run, title in zip(runs, ("One", "Other"), strict=True)
    )
    winner = the_winner(both(commands, one, other), "exists already. Give another file, or --force")
    assert_whole_report(page, (("One", "Other")[winner],))
    both_succeeded(both(commands, [*one, "--force"], [*other, "--force"]))
    assert_whole_report(page, ("One", "Other"))


@pytest.mark.torture
def test_predict(
    commands: Server, runs: tuple[Path, Path], phantom_data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "verdicts.csv"
    orders = [
        ["predict", run, phantom_data / "test", "--format", "csv", "--out", file] for run in runs
    ]
    the_winner(both(commands, *orders), "exists already")
    both_succeeded(both(commands, *([*order, "--force"] for order in orders)))
    assert [path.name for path in file.parent.iterdir()] == ["verdicts.csv"]
    rows = list(csv.DictReader(file.open()))
    assert len(rows) == len(list(phantom_data.glob("test/*/*")))
    # Each threshold is of one run.
    assert {float(row["threshold"]) for row in rows} in (
        {load_run(run).record.threshold} for run in runs
    )


def test_data_split(commands: Server, phantom_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "m.csv"
    orders = [
        ["data", "split", phantom_data, "--out", file, "--test", share] for share in (0.2, 0.4)
    ]
    winner = the_winner(both(commands, *orders), "m.csv exists already. Give another --out")
    assert [path.name for path in file.parent.iterdir()] == ["m.csv"]
    alone = tmp_path / "alone.csv"
    commands.run(*[alone if word == file else str(word) for word in orders[winner]])
    splits = [[row["split"] for row in csv.DictReader(path.open())] for path in (file, alone)]
    assert len(splits[0]) == len(list(phantom_data.glob("*/*/*")))
    assert splits[0] == splits[1]


@pytest.mark.torture
def test_data_show(commands: Server, phantom_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    order = ["data", "show", phantom_data, "--out", out]
    the_winner(both(commands, order, [*order, "--seed", 1]), f"{AT_WORK}|exists already")
    assert {path.suffix for path in out.iterdir()} == {".png", ".svg"}
    for path in out.glob("*.png"):
        Image.open(path).load()


@pytest.mark.torture
def test_explain(
    commands: Server, runs: tuple[Path, Path], phantom_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new"
    orders = [["explain", run, phantom_data / "test" / "NORMAL", "--out", out] for run in runs]
    winner = the_winner(both(commands, *orders), f"{AT_WORK}|exists already")
    about = json.loads((out / "explanations.json").read_text())
    assert about["head"] == runs[winner].name
    assert not list(out.glob(".*"))


@pytest.mark.torture
def test_export(commands: Server, runs: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "new" / "run.onnx"
    orders = [["export", run, "--onnx", file] for run in runs]
    the_winner(both(commands, *orders), "exists already")
    both_succeeded(both(commands, *([*order, "--force"] for order in orders)))
    onnx.checker.check_model(file)
    assert [path.name for path in file.parent.iterdir()] == ["run.onnx"]


@pytest.mark.torture
@pytest.mark.parametrize("more", [[], ["--force"], ["--resume"]], ids=["new", "force", "resume"])
def test_fit_of_a_keras_head(
    commands: Server, tiny_cache: Path, tmp_path: Path, more: list[str]
) -> None:
    run = tmp_path / "runs" / "new"
    order = ["fit", tiny_cache, "--head", "keras", "--run", run, *FLOOR, "--epochs", "1", *more]
    order += ["--set", "architecture=gap", "--set", "dense_units=4"]
    pair = both(commands, order, order)
    one_after_the_other = more == ["--force"] and [each.code for each in pair] == [0, 0]
    if not one_after_the_other:  # a training is so short that one may end before the other begins
        the_winner(pair, f"{AT_WORK}|there is a run at .* already")
    assert_whole_run(run, "keras")


REPLACE = """
import shutil, sys, time
from pathlib import Path
from featx_cache.files import lock, atomic_folder
target, *sources = map(Path, sys.argv[1:])
end = time.monotonic() + 2
while time.monotonic() < end:
    for source in sources:
        with lock(target), atomic_folder(target) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
"""


def test_a_run_that_is_replaced_again_and_again_is_read_as_one_or_the_other(
    tiny_cache: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    cache, run = open_cache(tiny_cache), tmp_path / "run"
    embeddings = cache.read(cache.row_numbers(splits=("test",), copies=False))

    def said(run: Path) -> str:
        opened = load_run(run)
        opened.require_match(cache)
        known = opened.out_of_fold["score"].tolist()
        return json.dumps([opened.record.threshold, known, opened.score(embeddings).tolist()])

    allowed = {said(source) for source in runs}
    shutil.copytree(runs[0], run)
    replacer = subprocess.Popen([sys.executable, "-c", REPLACE, run, *runs])
    answers, refusals = [], []
    while replacer.poll() is None:
        try:
            answers.append(said(run))
        except InputError as error:
            refusals.append(str(error))
    assert replacer.returncode == 0
    assert set(answers) == allowed
    assert {re.sub(r".*(was replaced while it was read)\..*", r"\1", why) for why in refusals} <= {
        "was replaced while it was read"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_cache_that_grows_is_read_as_it_was_or_as_it_is(
    commands: Server, phantom_data: Path, tmp_path: Path
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    order: list[object] = ["extract", data, "--cache", cache, "--backbone", "vgg16"]
    order += [
        "--weights",
        "random",
        "--input-size",
        "32",
        "--shard-rows",
        "5",
        "--copies",
        "1",
        "--batch-size",
        "1",
    ]
    shutil.copytree(phantom_data / "test", data / "test")
    commands.run(*order)
    before = open_cache(cache)
    known = before.read(np.arange(len(before.rows)))
    shutil.copytree(phantom_data / "train", data / "train")
    writer, seen = commands.start(*order), []
    while True:
        last = not writer.works
        opened = open_cache(cache)
        assert all(error is None for _, error in opened.verify())
        seen.append(len(opened.images))
        rows = np.flatnonzero(opened.images["split"].to_numpy()[opened.rows["image"]] == "test")
        np.testing.assert_array_equal(opened.read(rows), known)
        if last:
            break
    assert writer.wait() == 0, writer.err
    assert set(seen) == {len(before.images), len(list(data.glob("*/*/*")))}
    assert seen == sorted(seen)
