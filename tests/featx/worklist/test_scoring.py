"""The process that scores, and the loop that feeds it: deaths, blame, turns, replaced runs."""

from __future__ import annotations

import io
import math
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from featx.errors import FeatxError, InputError
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.runs import FittedRun
from featx.scoring import Prediction
from featx.worklist import (
    RunFacts,
    RunSettings,
    ScoringDiedError,
    ScoringLoop,
    ScoringProcess,
    Worklist,
    _messages,
    _scoring_loop,
    _scoring_process,
)
from featx_cache import open_cache
from tests.featx.worklist.conftest import picture

DEADLY, BAD = picture(99), picture(98)
STUB = """
import os, time
from pathlib import Path
from featx.scoring import Prediction
from featx.worklist import RunFacts
from featx.worklist import _scoring_worker as worker

class Worker(worker.Worker):
    "Scores without a network, and does what its images and files say."
    def __init__(self, settings):
        folder = Path(settings.paths[0])
        if (folder / "deadly").exists():
            os.kill(os.getpid(), 9)
        self.settings, self._stamps, self.notice = settings, [worker._stamp(folder)], ""
        self.runs = [type("Run", (), {"path": folder})]
        self.facts = (RunFacts("ab", "stub", str(folder), "stub", ("NORMAL", "SICK"), 0.5),)
    def score(self, paths):
        contents = [Path(path).read_bytes() for path in paths]
        if any(DEADLY == content for content in contents):
            os.kill(os.getpid(), 9)
        if any(BAD == content for content in contents):
            raise ValueError("Doe^Jane")
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        if os.environ.get("TMPDIR", "").endswith("scratch"):
            (Path(os.environ["TMPDIR"]) / "scored").touch()
        made = [(Prediction(path, 0.7, 0.7, 0.5, "SICK"),) for path in paths]
        return worker.ScoredFiles(self.facts, tuple(made))

worker.Worker = Worker
worker.main()
"""


@pytest.fixture
def stub(fitted: FittedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run whose worker does without a network."""
    program = f"DEADLY, BAD = {DEADLY!r}, {BAD!r}\n{STUB}"
    monkeypatch.setattr(_scoring_process, "_MAIN", program)
    run = tmp_path / "run"
    shutil.copytree(fitted.path, run)
    return run


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scoring_loop, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(_scoring_loop, "FIRST_PAUSE_SECONDS", 0.05)


@contextmanager
def scoring(
    worklist: Worklist, *runs: Path
) -> Iterator[tuple[ScoringProcess, ScoringLoop, list[str]]]:
    """Have a loop score a worklist's images."""
    said: list[str] = []
    process = ScoringProcess(RunSettings(tuple(map(str, runs))))
    loop = ScoringLoop(worklist, process, report=said.append)
    loop.start()
    try:
        yield process, loop, said
    finally:
        loop.stop()
    assert process.pid is None


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def note_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the kinds of requests in the order in which they are sent."""
    asked: list[str] = []
    exchange = ScoringProcess._exchange

    def note(process: ScoringProcess, request: _messages.Request, *more: Any) -> Any:
        asked.append(request.kind)
        return exchange(process, request, *more)

    monkeypatch.setattr(ScoringProcess, "_exchange", note)
    return asked


def states(worklist: Worklist) -> list[str]:
    """State of each image, in the order in which they came."""
    return [item.state for item in reversed(worklist.items())]


RUNS = b'{"runs": [{"id": "ab", "name": "a", "path": "a", "head": "a", "classes": ["N", "S"], '
RUNS += b'"threshold": 0.5}]'


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


class Touch:
    """What touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class TestMessages:
    """The process that decodes strangers' files can't do more than answer."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"Traceback (most recent call last):",
            struct.pack(">I", 2**31) + bytes(64),
            framed(b"[" * 100_000),
            framed(b'"iVBORw0KGgo="'),
            framed(b'{"what": "a", "hint": "", "expected": "yes"}'),
            framed(RUNS + b"}"),
            framed(RUNS + b', "predictions": [[]]}'),
            framed(RUNS + b', "predictions": [[{"path": 7}]]}'),
            "pickle",
        ],
    )
    def test_an_answer_of_another_form_is_a_death(
        self, answer: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touched = tmp_path / "touched"
        content = answer if isinstance(answer, bytes) else pickle.dumps(Touch(touched))
        program = f"import os, time; os.write(1, {framed(RUNS + b'}') + content!r}); time.sleep(60)"
        monkeypatch.setattr(_scoring_process, "_MAIN", program)
        monkeypatch.setattr(_scoring_process, "IMAGE_SECONDS", 0.5)
        process = ScoringProcess(RunSettings(("run",)))
        for starts in (1, 2):
            with pytest.raises(ScoringDiedError) as error:
                process.score([tmp_path])
            assert type(error.value) is ScoringDiedError
            assert process.pid is None
            assert process.starts == starts
        assert not touched.exists()

    def test_a_process_that_cant_be_started_is_said(
        self, worklist: Worklist, stub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worklist.add(picture(1), "a.png", "upload")
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(stub / "none"))
            with scoring(worklist, stub) as (_, loop, _):
                until(lambda: loop.notice)
                assert "can't be started: No such file or directory" in loop.notice
        assert states(worklist) == ["waiting"]

    def test_floats_keep_their_bits(self) -> None:
        rng = np.random.default_rng(0)
        drawn = [*rng.random(1000), *rng.integers(0, 2**63, 1000).view(np.float64)]
        edges = [0.0, -0.0, 1.0, 5e-324, 1e300, math.inf, -math.inf, math.nan]
        values = [*map(float, drawn), *edges, None]
        made = tuple((Prediction("a", each, each, 0.1, ""),) for each in values)
        facts = RunFacts("ab", "ä", "a", "a", ("N", "S"), 0.1 + 0.2, (0.1, 0.7))
        sent = _messages.ScoredFiles((facts,), made)
        pipe = io.BytesIO()
        _messages.write(pipe, sent, _messages.SCORED)
        pipe.seek(0)
        found = _messages.read(pipe, _messages.SCORED)
        assert repr(found) == repr(sent)

    def test_pictures_keep_their_bytes(self) -> None:
        content = np.random.default_rng(0).bytes(1000)
        pipe = io.BytesIO()
        for thumbnail in (content, None):
            nearest = (_messages.NearestImage("N", 0.1, thumbnail),)
            sent = _messages.Shown("a", "b", "c", content, nearest, ("d",), "ab")
            _messages.write(pipe, sent, _messages.SHOWN)
            pipe.seek(0)
            assert _messages.read(pipe, _messages.SHOWN) == sent
            pipe.seek(0)


@pytest.mark.usefixtures("stub")
class TestDeaths:
    @pytest.mark.long
    def test_an_image_that_kills_twice_fails_and_the_others_are_scored(
        self, worklist: Worklist, stub: Path
    ) -> None:
        for content in (picture(1), picture(2), DEADLY, picture(3), BAD, picture(4)):
            worklist.add(content, "a.png", "upload")
        with scoring(worklist, stub) as (process, loop, said):
            until(lambda: not worklist.count_waiting())
            assert process.starts == 4
            assert loop.notice == ""
        expected = ["scored", "scored", "failed", "scored", "failed", "scored"]
        assert states(worklist) == expected
        deadly, bad = (item.error for item in reversed(worklist.items()) if item.error)
        assert deadly == "the process that scores images died with it, twice"
        assert bad == "an unexpected ValueError in <string>:23"
        assert "Doe" not in " ".join(said)

    @pytest.mark.long
    def test_a_kill_while_images_are_scored_blames_none_of_them(
        self, worklist: Worklist, stub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_scoring_loop, "IDLE_SECONDS", 600.0)  # then it asks for scores alone
        asked = note_requests(monkeypatch)
        with scoring(worklist, stub) as (process, _, said):
            until(lambda: process.pid and process.runs())
            first = process.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)  # so that it is in the middle of them
            for number in range(3):
                worklist.add(picture(number), "a.png", "upload")
            until(lambda: "score" in asked)
            os.kill(first, signal.SIGKILL)
            until(lambda: not worklist.count_waiting())
        assert states(worklist) == ["scored"] * 3
        assert said == ["the scoring process died; it is started again"]

    @pytest.mark.long
    def test_a_process_that_stands_still_is_ended(
        self, worklist: Worklist, stub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_scoring_process, "IMAGE_SECONDS", 3.0)
        monkeypatch.setattr(_scoring_loop, "IDLE_SECONDS", 600.0)  # then it asks for scores alone
        with scoring(worklist, stub) as (process, _, said):
            until(lambda: process.pid and process.runs())
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            worklist.add(picture(1), "a.png", "upload")
            until(lambda: not worklist.count_waiting())
        assert states(worklist) == ["scored"]
        assert len(said) == 1

    @pytest.mark.long
    def test_deaths_while_loading_blame_no_image_and_are_said_once(
        self, worklist: Worklist, stub: Path
    ) -> None:
        (stub / "deadly").touch()
        worklist.add(picture(1), "a.png", "upload")
        notice = "the process that scores images died while it loaded the run. Images wait."
        with scoring(worklist, stub) as (process, loop, said):
            until(lambda: process.starts == 3)
            assert states(worklist) == ["waiting"]
            assert said == [loop.notice] == [notice]
            (stub / "deadly").unlink()
            until(lambda: not worklist.count_waiting())
            assert loop.notice == ""
        assert said == [notice]
        assert worklist._database.rows("SELECT tries FROM images")[0]["tries"] == 0

    @pytest.mark.long
    def test_no_temporary_file_outlives_it(self, stub: Path, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(picture(1))
        (tmp_path / "deadly.png").write_bytes(DEADLY)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        (scratch / "of the one before").touch()
        process = ScoringProcess(RunSettings((str(stub),)), scratch)
        for _ in range(2):
            process.score([tmp_path / "a.png"])
            assert [path.name for path in scratch.iterdir()] == ["scored"]
            with pytest.raises(ScoringDiedError):
                process.score([tmp_path / "deadly.png"])
            assert not scratch.exists()
        process.score([tmp_path / "a.png"])
        process.close()
        assert not scratch.exists()

    @pytest.mark.long
    @pytest.mark.parametrize("seconds", ["0", "100"])
    def test_it_ends_with_its_parent_even_in_the_middle_of_an_image(
        self, stub: Path, tmp_path: Path, seconds: str
    ) -> None:
        (tmp_path / "a.png").write_bytes(picture(1))
        program = (
            "import sys\nfrom featx.worklist import *\n"
            "from featx.worklist import _scoring_process\n"
            f"_scoring_process._MAIN = {_scoring_process._MAIN!r}\n"
            "process = ScoringProcess(RunSettings((sys.argv[1],)))\nprocess.runs()\n"
            "print(process.pid, flush=True)\nprocess.score([sys.argv[2]])\ninput()"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, str(stub), str(tmp_path / "a.png")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "STUB_SECONDS": seconds},
        )
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.3)
        parent.kill()
        parent.wait()
        child.wait(60)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("empty", [True, False])
def test_images_wait_while_their_folder_is_away(
    worklist: Worklist, stub: Path, monkeypatch: pytest.MonkeyPatch, *, empty: bool
) -> None:
    def score(_: ScoringProcess, paths: list[Path]) -> _messages.ScoredFiles:
        made = Prediction("", 0.7, 0.7, 0.5, "SICK")
        if not paths[0].exists():
            made = Prediction("", None, None, 0.5, "", error="no such file or directory")
        return _messages.ScoredFiles(worklist.runs, ((made,),))

    monkeypatch.setattr(ScoringProcess, "score", score)
    worklist.add(picture(1), "a.png", "upload")
    folder = worklist.images_folder
    away = folder.rename(folder.with_name("away"))
    if empty:  # where a disk isn't mounted
        folder.mkdir()
    with scoring(worklist, stub) as (_, loop, said):
        until(lambda: loop.notice)
        assert states(worklist) == ["waiting"]
        away.rename(folder)
        until(lambda: not worklist.count_waiting())
    assert states(worklist) == ["scored"]
    assert said == [f"the folder {folder} is {'empty' if empty else 'gone'}. Images wait."]


@pytest.mark.long
class TestTurns:
    def test_a_reader_goes_before_the_queue(
        self, worklist: Worklist, stub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STUB_SECONDS", "0.4")
        asked = note_requests(monkeypatch)
        for number in range(64):
            item, _ = worklist.add(picture(number), "a.png", "upload")
        assert item.path is not None
        with scoring(worklist, stub) as (process, _, _):
            until(lambda: worklist.count_waiting() < 64)
            for _ in range(3):
                before = len(asked)
                assert process.picture(item.path, 16).startswith(b"\x89PNG")
                assert asked[before:].index("picture") <= 1  # after the batch at hand
            assert worklist.count_waiting()
            until(lambda: not worklist.count_waiting())

    def test_a_picture_needs_no_run(self, stub: Path, tmp_path: Path) -> None:
        (stub / "deadly").touch()
        (tmp_path / "a.png").write_bytes(picture(1))
        process = ScoringProcess(RunSettings((str(stub),)))
        assert process.picture(tmp_path / "a.png", 16).startswith(b"\x89PNG")
        with pytest.raises(FeatxError, match="died while it loaded the run"):
            process.runs()
        process.close()


@pytest.mark.long
class TestReplacedRuns:
    def test_a_run_that_takes_the_place_scores_what_comes_then(
        self, worklist: Worklist, tiny_ncnn_run: Path, tmp_path: Path
    ) -> None:
        run, other = tmp_path / "run", tmp_path / "other"
        shutil.copytree(tiny_ncnn_run, run)
        spec = HeadSpec.choose("logreg", settings={"C": 1e-5})
        cache = open_cache(tiny_ncnn_run.parent / "cache")
        fit(cache, spec, other, accuracy_floor=0.5)
        with scoring(worklist, run, tiny_ncnn_run) as (process, loop, said):
            first, beside = worklist.runs
            worklist.add(picture(1), "a.png", "upload")
            until(lambda: not worklist.count_waiting())

            # It is being copied there: half of it is no run.
            (run / "run.json").write_bytes((other / "run.json").read_bytes()[:500])
            until(lambda: loop.notice)
            assert "The run that was loaded before is used." in loop.notice
            assert worklist.runs == (first, beside)
            worklist.add(picture(2), "a.png", "upload")
            until(lambda: not worklist.count_waiting())
            assert worklist.items()[0].prediction(first).score is not None

            for file in other.iterdir():
                if file.is_file():
                    shutil.copy(file, run)
            until(lambda: worklist.runs[0] != first and not loop.notice)
            second = worklist.runs[0]
            assert worklist.runs == (second, beside)
            worklist.add(picture(3), "a.png", "upload")
            until(lambda: not worklist.count_waiting())
            new, _, old = worklist.items()
            assert set(new.predictions) == {second.id, beside.id}
            assert set(old.predictions) == {first.id, beside.id}
            assert worklist.rescore() == 2
            until(lambda: not worklist.count_waiting())
            again = worklist.items()[-1]
            assert set(again.predictions) == {first.id, second.id, beside.id}
            assert again.prediction(first) == old.prediction(first)
            assert again.prediction(second).score != old.prediction(first).score

            # `featx fit --force` swaps the folder.
            fit(cache, HeadSpec.choose("logreg"), run, accuracy_floor=0.5, force=True)
            until(lambda: worklist.runs[0] not in (first, second))
            third = worklist.runs[0]

            shutil.rmtree(run)
            until(lambda: loop.notice)
            worklist.add(picture(4), "a.png", "upload")
            until(lambda: not worklist.count_waiting())
            assert worklist.items()[0].prediction(third).score is not None
            assert process.starts == 1
            assert len(said) == len(set(said))

    def test_a_run_that_cant_be_loaded_ends_the_loop_and_says_why(
        self, worklist: Worklist, tiny_ncnn_run: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_ncnn_run, run)
        (run / "head.skops").unlink()
        loop = ScoringLoop(worklist, ScoringProcess(RunSettings((str(run),))))
        loop.start()
        until(lambda: loop.failure)
        loop.stop()
        assert isinstance(loop.failure, InputError)
        assert "head.skops" in loop.failure.what

    def test_what_is_no_run_is_said_before_anything_is_started(
        self, worklist: Worklist, tiny_ncnn_run: Path, tmp_path: Path
    ) -> None:
        for paths in ((tmp_path,), (tiny_ncnn_run, tiny_ncnn_run)):
            process = ScoringProcess(RunSettings(tuple(map(str, paths))))
            with pytest.raises(InputError):
                ScoringLoop(worklist, process).start()
            assert process.starts == 0
