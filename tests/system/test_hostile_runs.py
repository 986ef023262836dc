"""Runs made to do harm: paths that lead out, links, values nobody writes: refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx._run import load_run
from featx.errors import FeatxError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs._record import checksum
from featx_cache import open_cache
from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("unharmed")]
Commands = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def fitted(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run. Copy it before a change."""
    run = tmp_path_factory.mktemp("hostile") / "run"
    fit(open_cache(tiny_cache), HeadSpec.choose("logreg"), run, accuracy_floor=0.5)
    return run


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    """A run that may be changed, beside a file that is nobody's business."""
    shutil.copytree(fitted, tmp_path / "run")
    (tmp_path / "secret.txt").write_text("path,label,group,fold,score\n")
    return tmp_path / "run"


@pytest.fixture
def commands(tiny_cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Commands:
    """Evaluate a run and make another of it. Return the error of each command, or nothing."""

    def every(run: Path) -> list[str]:
        said = []
        for arguments in (
            ["evaluate", run],
            ["calibrate", run, tiny_cache, "--run", tmp_path / "out" / "calibrated"],
        ):
            capsys.readouterr()
            code = _run(["-q", *map(str, arguments)])
            set_verbosity(Verbosity.NORMAL)
            told = capsys.readouterr().err.splitlines()
            # Known images that are left out are told with -q, too, and are no error.
            error = "\n".join(
                line for line in told if line.startswith("featx: error") or "left out: " not in line
            )
            assert code in (0, 1, 2)
            assert (code == 0) == (error == "")
            assert "unexpected" not in error
            assert "Traceback" not in error
            assert error.count("\n") == 0
            said.append(error)
        return said

    return every


def rewrite(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record, checksum and all, as somebody would who means it."""
    values = json.loads((run / "run.json").read_text())
    change(values)
    values["checksum"] = checksum(values)
    (run / "run.json").write_text(json.dumps(values))


def test_a_record_that_is_only_rewritten_is_read(run: Path, commands: Commands) -> None:
    rewrite(run, lambda values: values)
    assert commands(run)[0] == ""


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        [
            "../secret.txt",
            "../../secret.txt",
            "/etc/passwd",
            "tensorboard/x",
            "..",
            ".",
            "",
            "a\0b",
            "./head.skops",
        ],
    )
    def test_of_files_that_lead_out_are_refused(
        self, run: Path, commands: Commands, tmp_path: Path, name: str
    ) -> None:
        rewrite(run, lambda values: values["files"].update({name: "0" * 64}))
        with pytest.raises(FeatxError, match=r"run\.json can't be used: files: .*beside it"):
            load_run(run)
        assert all("is not a file beside it" in said for said in commands(run))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "name", ["../head.skops", "/tmp/head.skops", "head.pkl", "head.joblib", "", 3, None]
    )
    def test_of_a_head_that_lead_out_are_refused(self, run: Path, name: Any) -> None:
        shutil.copy(run / "head.skops", run.parent)
        rewrite(run, lambda values: values.update(head_file=name))
        with pytest.raises(FeatxError, match=r"run\.json can't be used: head_file"):
            load_run(run)

    @pytest.mark.parametrize("field", ["cache", "weights"])
    @pytest.mark.parametrize(
        "value", ["/dev/zero", "/proc/self/mem", "../secret.txt", "/", "", "a\0b", "x" * 5000]
    )
    def test_of_caches_and_weights_are_opened_as_such_or_refused(
        self, run: Path, field: str, value: str
    ) -> None:
        rewrite(run, lambda values: values.update({field: value}))
        with pytest.raises(FeatxError):
            load_run(run).evaluate() if field == "cache" else load_run(run).backbone()


class TestLinks:
    NAMES = ("head.skops", "oof.csv", "reference.h5", "training.txt", "run.json", "fit.log")

    @pytest.mark.parametrize("name", NAMES)
    def test_out_of_a_run_are_never_followed(
        self, run: Path, commands: Commands, tmp_path: Path, name: str
    ) -> None:
        """Not even to the very same file: what is copied from a run may be given away."""
        shutil.move(run / name, tmp_path / "elsewhere")
        (run / name).symlink_to(tmp_path / "elsewhere")
        said = commands(run)
        assert any("leads out of the run" in each and name in each for each in said)
        assert not (tmp_path / "out" / "calibrated").exists()

    @pytest.mark.parametrize("name", NAMES)
    def test_to_nothing_to_themselves_and_to_devices_are_refused(
        self, run: Path, name: str
    ) -> None:
        for target in (run / "nothing", run / name, Path("/dev/zero"), run.parent):
            (run / name).unlink()
            (run / name).symlink_to(target)
            with pytest.raises(FeatxError):
                load_run(run).file(name)

    def test_of_whole_runs_are_as_good_as_the_runs(self, run: Path, commands: Commands) -> None:
        (run.parent / "link").symlink_to(run)
        assert commands(run.parent / "link")[0] == ""


WRONG_VALUES: dict[str, list[Any]] = {
    "threshold": [None, "0.5", "nan", [], 10**400, -1, 2, 1e300],
    "accuracy_floor": [None, -1, 2, "x"],
    "classes": [[], ["A"], ["A", "B", "C"], ["A", "A"], "AB", [1, 2], None],
    "head": [{}, {"name": "os.system"}, {"name": "keras", "settings": {"epochs": "x"}}, []],
    "extraction": [{}, [], None, {"backbone": "vgg16"}],
    "metrics": [{}, {"out_of_fold": {}}, {"out_of_fold": {"recall": "x"}}, [], None],
    "search": [{}, {"trials": "x"}, [], None],
    "tuning": [{}, {"trials": []}, [], "x"],
    "promise": [{}, {"kind": "x"}, [], "x"],
    "band": [[], [1, 0], ["a", "b"], [-1e300, 1e300]],
    "recalibration": [{}, [], "x", {"slope": "x"}, {"slope": 1e300, "intercept": -1e300}],
    "calibrated": [{}, [], "x"],
    "seconds": [{}, {"fit": "x"}, [], None],
    "versions": [{}, {"python": 3}, [], None],
    "fitted_splits": [[], ["nowhere"], "train", [1]],
    "images": [-1, 10**30, "x", None, 1.5],
    "patients": [-1, 10**30],
    "folds": [-1, 10**30],
    "copies": [-1, 10**9],
    "tta": [-1, 10**9, "x"],
    "seed": [-1, 10**30],
    "created": ["", "never", 3],
    "fingerprint": ["", "../x", 3],
    "schema_version": [0, 2, 1, 4, "3", None],
}


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value"), [(name, v) for name, values in WRONG_VALUES.items() for v in values]
    )
    def test_that_nobody_writes_are_a_result_or_one_error(
        self, run: Path, name: str, value: Any
    ) -> None:
        rewrite(run, lambda values: values.update({name: value}))
        try:
            opened = load_run(run)
            scores = opened.score(np.zeros((2, 1, 1, 512), np.float16))
            assert opened.probability(scores).shape == (2,)
            opened.require_match(open_cache(opened.record.cache))
        except FeatxError as error:
            assert "\n" not in str(error)  # noqa: PT017

    @pytest.mark.torture
    @pytest.mark.parametrize(
        ("name", "value"), [(name, v) for name, values in WRONG_VALUES.items() for v in values]
    )
    def test_that_nobody_writes_are_a_result_or_one_line(
        self, run: Path, commands: Commands, name: str, value: Any
    ) -> None:
        rewrite(run, lambda values: values.update({name: value}))
        commands(run)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"[]",
            b"3",
            b"\xff\xfe",
            b"[" * 10**5,
            b'{"a":' * 10**5,
            b'{"images": ' + b"9" * 5000 + b"}",
            b"{" + b'"a": 1,' * 10**5 + b'"b": 2}',
        ],
        ids=lambda content: repr(content[:12]),
    )
    def test_that_are_no_record_are_refused(self, run: Path, content: bytes) -> None:
        (run / "run.json").write_bytes(content)
        with pytest.raises(FeatxError, match=r"run\.json"):
            load_run(run)

    @pytest.mark.parametrize("extra", [b"9" * 5000, b"1e999", b"NaN", b'"\\ud800"', b"[" * 300])
    def test_that_are_unknown_are_a_result_or_one_line(self, run: Path, extra: bytes) -> None:
        content = (run / "run.json").read_bytes().rstrip().removesuffix(b"}")
        (run / "run.json").write_bytes(content + b', "unknown": ' + extra + b"}")
        with pytest.raises(FeatxError, match=r"run\.json"):
            load_run(run)


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "path\n",
            "path,label,group,fold,score\n",
            "path,label,group,fold,score\na,A,g,0,x\n",
            "path,label,group,fold,score\na,A,g,zero,1\n",
            "path,label,group,fold,score\na,A,g,0,nan\n",
            "path,label,group,fold,score\na,A,g,0,1e999\n",
            "path,label,group,fold,score\na,A,g,0,0.5\n",
            'path,label,group,fold,score\n"a,A,g,0,0.5\n',
            "path,label,group,fold,score\n" + "a," * 1000,
            "\0" * 1000,
        ],
        ids=lambda text: repr(text[-12:]),
    )
    def test_of_scores_that_nobody_writes_are_refused(self, run: Path, text: str) -> None:
        (run / "oof.csv").write_text(text)
        rewrite(run, lambda values: values["files"].pop("oof.csv"))
        with pytest.raises(FeatxError):
            _ = load_run(run).calibration

    @pytest.mark.parametrize("harm", ["link", "external", "virtual", "huge", "text", "flat", "nan"])
    def test_of_the_population_that_lie_elsewhere_are_refused(
        self, run: Path, tmp_path: Path, harm: str
    ) -> None:
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["vectors"] = np.zeros((20, 512), "f2")
        with h5py.File(run / "reference.h5", "r+") as file:
            shape = file["vectors"].shape
            del file["vectors"]
            if harm == "link":
                file["vectors"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "vectors")
            elif harm == "external":
                place = [(str(tmp_path / "secret.txt"), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("vectors", shape, "f2", external=place)
            elif harm == "virtual":
                layout = h5py.VirtualLayout(shape, "f2")
                layout[:10] = h5py.VirtualSource(str(tmp_path / "other.h5"), "vectors", shape)[:10]
                file.create_virtual_dataset("vectors", layout)
            elif harm == "huge":
                file.create_dataset("vectors", (shape[0], 10**12), "f2", chunks=(1, 1000))
            elif harm == "text":
                file["vectors"] = ["a"] * shape[0]
            else:
                file["vectors"] = np.zeros(shape[0] if harm == "flat" else (3, 3), "f2")
        rewrite(run, lambda values: values["files"].pop("reference.h5"))
        with pytest.raises(FeatxError, match=r"reference\.h5 is damaged"):
            _ = load_run(run).reference
