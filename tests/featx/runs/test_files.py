"""Files of a run: as they were written, and never of two runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featx._run import load_run
from featx.errors import InputError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx_cache import Cache
from featx_cache.files import atomic_folder


@pytest.fixture(scope="module")
def others(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run, of another head."""
    return fit(
        cache, HeadSpec.choose("lda"), tmp_path_factory.mktemp("lda") / "run", accuracy_floor=0.6
    ).path


def replace(run: Path, by: Path) -> None:
    with atomic_folder(run) as folder:
        shutil.copytree(by, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


@pytest.fixture
def run(fitted: FittedRun, tmp_path: Path) -> Path:
    return shutil.copytree(fitted.path, tmp_path / "run")


def test_a_run_that_was_replaced_since_is_not_read_on(run: Path, others: Path) -> None:
    opened = load_run(run)
    replace(run, others)
    for read in (lambda: opened.head, lambda: opened.out_of_fold, lambda: opened.reference):
        with pytest.raises(InputError, match=r"was replaced while it was read\. Run the command"):
            read()


def test_nor_one_that_came_and_went_while_a_file_was_read(
    run: Path, fitted: FittedRun, others: Path
) -> None:
    seen: list[str] = []

    def reader(path: Path) -> str:
        if not seen:
            replace(run, others)
        seen.append(path.read_text())
        if len(seen) == 1:
            replace(run, fitted.path)
        return seen[-1]

    own = (fitted.path / "oof.csv").read_text()
    assert load_run(run).read("oof.csv", reader) == own
    assert seen == [(others / "oof.csv").read_text(), own], "it was read again"


def test_one_that_is_always_being_replaced_is_given_up(run: Path, fitted: FittedRun) -> None:
    opened = load_run(run)
    with pytest.raises(InputError, match="was replaced while it was read"):
        opened.read("oof.csv", lambda _: replace(run, fitted.path))
