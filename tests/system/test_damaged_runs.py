"""A run directory on a bad disk: each file damaged in turn, then evaluated and predicted with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from featx._run import load_run
from featx.backbones import StandardizationSpec, load_backbone
from featx.data import load_manifest
from featx.errors import InputError
from featx.extraction import extract
from featx.extraction._standardization import standardize
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity
from tests.folds import use_two_folds

COMMON = [
    "fit.log",
    "oof.csv",
    "reference.h5",
    "run.json",
    "standardization.npz",
    "training.txt",
]
FILES = {
    "logreg": [*COMMON, "head.skops"],
    "keras": [*COMMON, "curves.png", "head.keras", "history.csv"],
}
Commands = Callable[[Path], list[tuple[int, str, str]]]


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = (truncated, emptied, a_bit_flipped, removed)


@pytest.fixture(scope="module")
def runs(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind of head, its network tiny and its input standardized."""
    import keras

    folder = tmp_path_factory.mktemp("damaged")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16, 16, 1)), keras.layers.Conv2D(8, 4, strides=4, activation="relu")]
    keras.Sequential(layers).save(folder / "tiny.keras")
    manifest = load_manifest(phantom_data)
    spec = StandardizationSpec(featurewise_std=True)
    tiny = load_backbone(str(folder / "tiny.keras"))
    backbone = standardize(tiny, spec, manifest, folder / "cache")
    extract(manifest, folder / "cache", backbone, augmentation=AugmentationSpec(copies=0))
    cache = open_cache(folder / "cache")
    settings = {"keras": {"architecture": "gap", "epochs": 1}, "logreg": {}}
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        for name in FILES:
            head = HeadSpec.choose(name, settings=settings[name])
            fit(cache, head, folder / name, accuracy_floor=0.1)
    return {name: folder / name for name in FILES}


@pytest.fixture
def commands(phantom_data: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Evaluate and predict with a run: exit code, standard output and error of each."""
    images = sorted((phantom_data / "test").rglob("*.png"))[:3]

    def run(path: Path) -> list[tuple[int, str, str]]:
        answers = []
        for arguments in (["evaluate", path], ["predict", path, *images, "--format", "json"]):
            capsys.readouterr()
            code = _run(["-q", *map(str, arguments)])
            set_verbosity(Verbosity.NORMAL)
            answers.append((code, *capsys.readouterr()))
        return answers

    return run


@pytest.mark.parametrize("head", FILES)
def test_the_run_has_these_files(runs: dict[str, Path], head: str) -> None:
    found = {path.name for path in runs[head].iterdir() if path.is_file()}
    assert found == set(FILES[head])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        # A run of a Keras head takes longer.
        pytest.param(head, name, marks=[pytest.mark.long] * (head == "keras"))
        for head, names in FILES.items()
        for name in names
    ],
)
def test_a_damaged_file_changes_no_result_or_is_named_in_one_line(
    runs: dict[str, Path], commands: Commands, tmp_path: Path, head: str, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[head], run)
    whole = commands(run)
    assert [code for code, _, _ in whole] == [0, 0]
    noticed = 0
    for damage in DAMAGES:
        shutil.copy(runs[head] / name, run / name)
        damage(run / name)
        for (code, out, err), before in zip(commands(run), whole, strict=True):
            if code == 0:
                assert (out, err) == before[1:], damage.__name__
                continue
            noticed += 1
            assert code in (1, 2), damage.__name__
            assert out == ""
            (line,) = err.splitlines()
            assert line.startswith("featx: error: ")
            assert name in line, damage.__name__
            assert "unexpected" not in line
    # Damage may stay unnoticed in a file that no result comes from. All other damage is noticed.
    bystanders = ("fit.log", "curves.png", "history.csv")
    assert (noticed >= len(DAMAGES)) == (name not in bystanders)


def test_each_flipped_bit_of_run_json_changes_no_result_or_is_told(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["logreg"], run)
    content = (run / "run.json").read_bytes()
    whole = load_run(run).record
    told = []
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (run / "run.json").write_bytes(damaged)
        try:
            assert load_run(run).record == whole
        except InputError as error:
            told.append(str(error))
    assert all(str(run / "run.json") in message for message in told)
    assert len(told) > len(content) / 6


def test_an_edited_threshold_is_told_of(runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["logreg"], run)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"threshold": record["threshold"] + 0.1}))
    with pytest.raises(InputError, match=r"run\.json is damaged: it isn't what featx wrote"):
        load_run(run)
