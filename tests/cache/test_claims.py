"""Claims on shards: one owner at a time, and none for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from featx_cache.files import Claims
from featx_cache.files import _claims as claims

NAME = "shard-0123.h5"
HOLD = """
import sys, time
from pathlib import Path
from featx_cache.files import Claims
claims = Claims(Path(sys.argv[1]))
assert claims.take(sys.argv[2])
Path(sys.argv[1], f".{sys.argv[2]}.0a1b2c3d.tmp").write_text("half")
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def foreign(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that has claimed the shard and begun to write it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), NAME], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_a_claim_is_had_once_and_again_after_release(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(NAME)
    assert not other.take(NAME)
    assert not other.is_free(NAME)
    one.release(NAME)
    assert other.is_free(NAME)
    assert other.take(NAME)
    other.release_all()
    assert list(tmp_path.iterdir()) == []


def test_claims_on_other_shards_are_no_matter(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.held(NAME) as first, other.held("shard-4567.h5") as second:
        assert (first, second) == (True, True)


def test_it_names_its_owner_and_machine(tmp_path: Path) -> None:
    with Claims(tmp_path).held(NAME):
        text = (tmp_path / f".{NAME}.lock").read_text()
    assert f"pid={os.getpid()}" in text
    assert "host=" in text


def test_a_killed_owner_s_claim_and_leftovers_go_at_once(
    tmp_path: Path, foreign: subprocess.Popen[str]
) -> None:
    mine = Claims(tmp_path)
    assert not mine.take(NAME)
    mine.sweep()
    assert len(list(tmp_path.iterdir())) == 2, "the owner is alive"
    foreign.kill()
    foreign.wait()
    mine.sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_a_killed_process_was_about_to_break_goes(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".{NAME}.lock.break.{ended.pid}.00ff"
    alive = tmp_path / f".{NAME}.lock.break.{os.getpid()}.00ff"
    odd = tmp_path / f".{NAME}.lock.break.x.00ff"
    for path in (dead, alive, odd):
        path.touch()
    Claims(tmp_path).sweep()
    assert sorted(tmp_path.iterdir()) == sorted([alive, odd])


def test_an_owner_on_another_machine_is_given_up_when_it_shows_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LEASE_SECONDS", 1.0)
    owner, mine = Claims(tmp_path), Claims(tmp_path)
    assert owner.take(NAME)
    lock = tmp_path / f".{NAME}.lock"
    text = lock.read_text()
    owner.release_all()
    host = next(line for line in text.splitlines() if line.startswith("host="))
    lock.write_text(text.replace(host, "host=elsewhere"))
    assert not mine.take(NAME)
    deadline = time.monotonic() + 60
    while not mine.is_free(NAME):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []


def test_an_owner_on_another_machine_that_lives_keeps_its_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LEASE_SECONDS", 3.0)
    owner, mine = Claims(tmp_path), Claims(tmp_path)
    assert owner.take(NAME)
    touched: set[int] = set()
    end = time.monotonic() + 4.0
    while time.monotonic() < end or len(touched) < 3:
        assert not mine.is_free(NAME)
        touched.add((tmp_path / f".{NAME}.lock").stat().st_mtime_ns)
        time.sleep(0.1)
    owner.release_all()


def test_a_claim_whose_owner_was_killed_before_signing_it_is_given_up(tmp_path: Path) -> None:
    """Found by a random SIGKILL: filelock leaves an empty file alone for ever."""
    (tmp_path / f".{NAME}.lock").touch()
    mine = Claims(tmp_path)
    assert not mine.take(NAME), "its owner may be about to sign"
    deadline = time.monotonic() + 30
    while not mine.is_free(NAME):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
