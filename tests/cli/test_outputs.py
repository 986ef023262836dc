"""Whatever a user names as an output: nothing is replaced unasked, and an input never."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cache.test_outputs import device
from tests.dicoms import dicom

if TYPE_CHECKING:
    from tests.cli.conftest import Featx

pytestmark = pytest.mark.usefixtures("networks_are_built_once")

Command = Callable[[Path], list[str | Path]]
"""The arguments of a command that writes to a path."""


@pytest.fixture
def images(phantom_data: Path, tmp_path: Path) -> Path:
    """A folder with two X-rays, one of them DICOM without a suffix."""
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(sorted((phantom_data / "test").rglob("*.png"))[0], folder / "a.png")
    dicom(folder / "IM0001", np.full((40, 40), 90, np.uint8))
    return folder


@pytest.fixture(params=["predict", "evaluate --json", "evaluate --csv", "data split", "fix-splits"])
def command(
    request: pytest.FixtureRequest, tiny_run: Path, images: Path, phantom_data: Path
) -> Command:
    """A command that writes one file."""
    given: dict[str, list[str | Path]] = {
        "predict": ["predict", tiny_run, images, "--format", "csv", "--out"],
        "evaluate --json": ["evaluate", tiny_run, "--json"],
        "evaluate --csv": ["evaluate", tiny_run, "--csv"],
        "data split": ["data", "split", phantom_data, "--out"],
        "fix-splits": ["data", "check", phantom_data, "--fix-splits"],
    }
    return lambda out: [*given[request.param], out]


def test_what_is_there_is_replaced_when_asked_and_a_link_stays(
    featx: Featx, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "old.csv", tmp_path / "link.csv"
    file.write_text("mine")
    link.symlink_to(file)
    for path in (file, link):
        answer = featx(*command(path))
        assert answer.code == 2
        assert f"{path} exists already. Give another --" in answer.error
        assert "--force" in answer.error
        assert file.read_text() == "mine"
    assert featx(*command(link), "--force").code == 0
    assert link.is_symlink()
    assert len(file.read_text()) > 100
    assert [path.name for path in file.parent.iterdir()] == ["old.csv"]


def test_a_pipe_and_a_device_are_written_to_and_stay(
    featx: Featx, command: Command, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert featx(*command(pipe)).code == 0
    reader.join(60)
    assert len(got[0]) > 100
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    node = device(tmp_path / "null.csv")
    assert featx(*command(node)).code == 0
    assert stat.S_ISCHR(node.lstat().st_mode)
    assert not list(tmp_path.glob(".*"))


def test_standard_output_has_the_file_and_nothing_else(
    featx: Featx, command: Command, tmp_path: Path
) -> None:
    answer = featx(*command(tmp_path / "file.csv"))
    dashed = featx(*command(Path("-")))
    assert dashed.code == answer.code == 0
    whole = (tmp_path / "file.csv").read_text()
    if dashed.out.startswith("{"):
        assert json.loads(dashed.out) == json.loads(whole)
    else:
        rows = list(csv.reader(io.StringIO(dashed.out)))
        assert len(rows) == len(list(csv.reader(io.StringIO(whole)))) > 1
        assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
@pytest.mark.parametrize("name", ["a.png", "IM0001"])
def test_an_image_is_never_replaced(
    featx: Featx, tiny_run: Path, images: Path, tmp_path: Path, name: str, way: str
) -> None:
    image, out = images / name, tmp_path / "out.csv"
    before = image.read_bytes()
    if way == "itself":
        out = image
    elif way == "link":
        out.symlink_to(image)
    else:
        out.hardlink_to(image)
    for given in (images, image):
        for command in (
            ["predict", tiny_run, given, "--out", out],
            ["evaluate", tiny_run, "--csv", out],
            ["evaluate", tiny_run, "--json", out],
        ):
            answer = featx(*command, "--force")
            assert answer.code == 2, command
            assert "and is not replaced" in answer.error
            assert image.read_bytes() == before


def test_files_of_runs_caches_and_manifests_are_never_replaced(
    featx: Featx, tiny_run: Path, tiny_cache: Path, phantom_data: Path, tmp_path: Path
) -> None:
    run, cache = (shutil.copytree(path, tmp_path / path.name) for path in (tiny_run, tiny_cache))
    manifest = tmp_path / "m.csv"
    assert featx("data", "split", phantom_data, "--out", manifest).code == 0
    shard = next((cache / "shards").iterdir())
    (tmp_path / "link.csv").symlink_to(manifest)
    for command, out in (
        (["evaluate", run, cache, "--json"], run / "run.json"),
        (["evaluate", run, cache, "--csv"], run / "oof.csv"),
        (["evaluate", run, cache, "--csv"], shard),
        (["evaluate", run, cache, "--csv"], cache / "index.h5"),
        (["predict", run, phantom_data, "--out"], run / "head.skops"),
        (["data", "split", manifest, "--root", phantom_data, "--out"], manifest),
        (["data", "split", manifest, "--root", phantom_data, "--out"], tmp_path / "link.csv"),
        (["data", "check", manifest, "--root", phantom_data, "--fix-splits"], manifest),
    ):
        before = out.read_bytes()
        answer = featx(*command, out, "--force")
        assert answer.code == 2, command
        assert f"{out} is what is read" in answer.error
        assert out.read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ["show", "{data}", "--out", "{out}"],
        ["check", "{data}", "--cache", "{cache}", "--sheet", "{out}/sizes.png"],
    ],
    ids=["data show", "data check"],
)
def test_pictures_replace_their_own_and_nothing_else(
    featx: Featx, phantom_data: Path, tiny_cache: Path, tmp_path: Path, words: list[str]
) -> None:
    places = {"data": phantom_data, "cache": tiny_cache, "out": tmp_path}
    command = ["data", *(word.format(**places) for word in words)]
    for name in ("sizes.png", "sizes.svg"):
        (tmp_path / name).write_text("mine")
        answer = featx(*command)
        assert (answer.code, (tmp_path / name).read_text()) == (2, "mine")
        assert f"{tmp_path / name} exists already" in answer.error
        answer = featx(*command, "--force")
        assert (answer.code, (tmp_path / name).read_text()) == (2, "mine")
        assert "featx didn't draw it" in answer.error
        (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []
    assert featx(*command).code == 0
    assert "exists already" in featx(*command).error
    assert featx(*command, "--force").code == 0
