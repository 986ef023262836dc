"""The worklist: what was acknowledged stays, what isn't kept is gone, and the order is right."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sqlite3
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import InputError, StorageError
from featx.worklist import (
    FullQueueError,
    Limits,
    RefusedImageError,
    Worklist,
    _clock,
    _state_folder,
)
from featx.worklist._database import SCHEMA_VERSION
from tests.conftest import MakeDisk
from tests.dicoms import PATIENT, dicom
from tests.featx.worklist.conftest import picture, run_facts, scored

DAY = 24 * 60 * 60.0


def days_pass(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now, steady = time.time(), _clock.steady()
    monkeypatch.setattr(time, "time", lambda: now + days * DAY)
    monkeypatch.setattr(_clock, "steady", lambda: steady + days * DAY)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


class TestAdding:
    def test_the_same_image_twice_is_one_row(self, worklist: Worklist) -> None:
        first, new = worklist.add(picture(1), "a.png", "upload")
        again, anew = worklist.add(io.BytesIO(picture(1)), "b.png", "upload")
        assert (new, anew) == (True, False)
        assert (again.id, again.name) == (first.id, "a.png")
        assert len(worklist.items()) == 1

    def test_the_same_image_from_8_threads_at_once_is_one_row(self, worklist: Worklist) -> None:
        contents = [picture(number) for number in range(5)] * 8
        ready = threading.Barrier(8)

        def add(part: int) -> list[bool]:
            ready.wait()
            return [worklist.add(each, "a.png", "upload")[1] for each in contents[part::8]]

        with ThreadPoolExecutor(8) as pool:
            new = sum(map(sum, pool.map(add, range(8))))
        assert new == len(worklist.items()) == 5
        assert all(item.path and item.path.is_file() for item in worklist.items())

    def test_two_files_of_one_data_set_are_one_row(
        self, worklist: Worklist, tmp_path: Path
    ) -> None:
        file = dicom(tmp_path / "a.dcm", np.zeros((16, 16), np.uint8))
        found, _ = worklist.add(file.read_bytes(), "Doe.dcm", "dicom")
        other = file.read_bytes().replace(b"\0" * 128 + b"DICM", b"\1" * 128 + b"DICM")
        assert worklist.add(other, "b.dcm", "upload") == (found, False)

    @pytest.mark.parametrize("claimed", [2**31, 300, 2])
    def test_a_wrong_length_of_the_meta_information_hides_no_pixels(
        self, worklist: Worklist, tmp_path: Path, claimed: int
    ) -> None:
        ids = set()
        for value in (0, 200):
            pixels = np.zeros((16, 16), np.uint8)
            pixels[0] = value
            content = bytearray(dicom(tmp_path / "a.dcm", pixels).read_bytes())
            struct.pack_into("<I", content, 140, claimed)
            item, new = worklist.add(bytes(content), "a.dcm", "upload")
            assert new
            ids.add(item.id)
        assert len(ids) == 2

    def test_nothing_of_a_header_is_outside_the_image_itself(
        self, worklist: Worklist, tmp_path: Path
    ) -> None:
        file = dicom(tmp_path / "a.dcm", np.zeros((16, 16), np.uint8))
        item, _ = worklist.add(file.read_bytes(), f"{PATIENT}.dcm", "dicom")
        assert item.patient
        assert item.path is not None
        assert item.name == f"{item.code}.dcm"
        for path in worklist.folder.rglob("*"):
            if path.is_file() and path != item.path:
                content = path.read_bytes()
                assert b"Doe" not in content
                assert b"Q-4711" not in content

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "the file is empty"),
            (b"some text", "text, not an image"),
            (picture(0, 40), "an image of 40 x 40 pixels, of which 1,100 are taken at most"),
            (bytes(2**20 + 1), "a file of more than 1 MiB"),
        ],
    )
    def test_what_is_refused_leaves_nothing(
        self, tmp_path: Path, content: bytes, reason: str
    ) -> None:
        limits = Limits(file_bytes=2**20, pixels=1100)
        with Worklist(tmp_path / "state", limits=limits) as worklist:
            with pytest.raises(RefusedImageError) as refused:
                worklist.add(content, "a.png", "upload")
            assert refused.value.what == reason
            assert not worklist.items()
            assert not files_in(worklist.folder / "images")

    def test_a_full_queue_takes_no_more_until_there_is_room(self, tmp_path: Path) -> None:
        with Worklist(tmp_path / "state", limits=Limits(waiting=2)) as worklist:
            worklist.use_runs([run_facts()])
            ids = [worklist.add(picture(n), "", "upload")[0].id for n in range(2)]
            with pytest.raises(FullQueueError, match="2 images wait"):
                worklist.add(picture(3), "", "upload")
            worklist.save([(ids[0], [scored()])])
            worklist.add(picture(3), "", "upload")

    def test_a_file_that_vanished_comes_back(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "a.png", "upload")
        assert item.path is not None
        item.path.unlink()
        worklist.save([(item.id, [scored(None, "no such file")])])
        assert worklist.items()[0].state == "failed"
        again, new = worklist.add(picture(1), "a.png", "upload")
        assert (again.state, new) == ("waiting", False)
        assert item.path.read_bytes() == picture(1)


class TestDurability:
    def test_what_was_acknowledged_survives_kills(self, tmp_path: Path) -> None:
        acknowledged: list[str] = []
        for round_ in range(12):
            reader, writer = os.pipe()
            if not (child := os.fork()):
                _add_until_killed(tmp_path / "state", 1000 * round_, writer)
            os.close(writer)
            with os.fdopen(reader) as lines:
                acknowledged += [lines.readline().strip() for _ in range(round_ + 1)]
                os.kill(child, signal.SIGKILL)
                acknowledged += [line.strip() for line in lines if line.endswith("\n")]
            os.waitpid(child, 0)
        with Worklist(tmp_path / "state") as worklist:
            items = worklist.items(limit=10**6)
            assert set(acknowledged) <= {item.id for item in items}
            assert len({item.id for item in items}) == len(items)
            kept = {item.path.name for item in items if item.path and item.path.is_file()}
            assert len(kept) == len(items)
            # At most one image a kill was whole, and not acknowledged yet.
            assert len(acknowledged) <= len(items) <= len(acknowledged) + 12
            names = {path.name for path in (worklist.folder / "images").rglob("*.*")}
            assert {name for name in names if not name.endswith(".name")} == kept

    def test_file_and_folders_are_on_the_disk_before_the_row(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []

        def fsync(handle: int) -> None:
            synced.append(Path(f"/proc/self/fd/{handle}").resolve().name)
            assert not worklist.items()

        monkeypatch.setattr(os, "fsync", fsync)
        item, _ = worklist.add(picture(1), "a.png", "upload")
        temporary, name, inner, outer = synced
        assert temporary.startswith(".arriving-")
        assert (name, inner, outer) == (f"{item.id}.name", item.id[:2], "images")
        (mode,) = worklist._database.rows("PRAGMA journal_mode")[0]
        (synchronous,) = worklist._database.rows("PRAGMA synchronous")[0]
        assert (mode, synchronous) == ("wal", 2)

    def test_the_next_start_removes_only_what_is_its_own(self, tmp_path: Path) -> None:
        with Worklist(tmp_path / "state") as worklist:
            item, _ = worklist.add(picture(1), "a.png", "upload")
            gone, _ = worklist.add(picture(2), "b.png", "upload")
            worklist.use_runs([run_facts()])
            worklist.save([(gone.id, [scored()])])
            worklist.keep_days = 0
            worklist.expire()
        images = tmp_path / "state/images"
        own = ["ab/" + "ab" * 16 + ".png", ".arriving-x", f"{gone.id[:2]}/{gone.id}.png"]
        own += [
            f"{gone.id[:2]}/{gone.id}.picture.png",
            f"{gone.id[:2]}/{gone.id}.ab.explained.json",
        ]
        own += [f"{item.id[:2]}/.{item.id}.picture.png.0a1b2c3d.tmp"]
        foreign = ["notes.txt", "ab/notes.txt", "other/" + "ab" * 16 + ".png", "ab/abc.png"]
        for name in own + foreign:
            (images / name).parent.mkdir(exist_ok=True)
            (images / name).write_bytes(b"x")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / ("cd" * 16 + ".png")).write_bytes(b"x")
        (images / "cd").symlink_to(elsewhere)
        with Worklist(tmp_path / "state") as worklist:
            assert item.path is not None
            assert item.path.read_bytes() == picture(1)
            assert worklist.items(limit=1)[0].name == f"{gone.code}.png"
        assert not any((images / name).exists() for name in own)
        assert all((images / name).exists() for name in foreign)
        assert len(list(elsewhere.iterdir())) == 1

    def test_a_full_disk_leaves_nothing_half(
        self, small_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_state_folder, "RESERVED_BYTES", 0)
        disk = small_disk("800k")
        (ballast := disk / "ballast").write_bytes(bytes(200_000))
        with Worklist(disk / "state", keep_days=0) as worklist:
            worklist.use_runs([run_facts()])
            ids, error = add_until_full(worklist)
            assert "no room" in error.what or "disk is full" in error.what
            assert {item.id for item in worklist.items()} == set(ids)
            assert len(files_in(disk / "state/images")) == 2 * len(ids)
            ballast.write_bytes(b"")
            worklist.add(picture(5000, 64), "a.png", "upload")
            worklist.save([(identifier, [scored()]) for identifier in ids])
            assert worklist.expire() == len(ids)

    @pytest.mark.parametrize("name", ["images", "worklist.sqlite", "."])
    def test_nothing_is_taken_if_the_disk_wouldnt_have_it(
        self, worklist: Worklist, tmp_path: Path, name: str
    ) -> None:
        (worklist.folder / name).rename(tmp_path / "away")
        with pytest.raises(StorageError, match="is gone"):
            worklist.add(picture(1), "a.png", "upload")
        (tmp_path / "away").rename(worklist.folder / name)
        worklist.add(picture(1), "a.png", "upload")

    def test_images_dont_take_the_room_that_scores_need(
        self, small_disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_state_folder, "RESERVED_BYTES", 10**6)
        with Worklist(small_disk("2m") / "state") as worklist:
            worklist.use_runs([run_facts()])
            ids, error = add_until_full(worklist)
            assert error.what == f"no room left on the disk of {worklist.folder}"
            for identifier in ids:
                worklist.save([(identifier, [scored()])])
                worklist.read(identifier, "NORMAL")

    @pytest.mark.parametrize("kind", ["database", "memory"])
    def test_a_row_that_cant_be_written_takes_its_file_with_it(
        self, worklist: Worklist, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if kind == "database":
            worklist._database.rows("PRAGMA query_only = ON")
            expected: type[BaseException] = StorageError
        else:
            expected = MemoryError
            monkeypatch.setattr(time, "time", _no_memory)
        with pytest.raises(expected):
            worklist.add(picture(1), "a.png", "upload")
        assert not files_in(worklist.folder / "images")
        monkeypatch.undo()
        worklist._database.rows("PRAGMA query_only = OFF")
        assert worklist.add(picture(1), "a.png", "upload")[1]


class TestFolder:
    def test_only_its_owner_may_read_it(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "a.png", "upload")
        assert item.path is not None
        folders = [worklist.folder, worklist.folder / "images", item.path.parent]
        assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
        files = [item.path, item.path.with_suffix(".name")]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    def test_one_in_use_is_refused(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_state_folder, "LOCK_WAIT_SECONDS", 0.1)
        with pytest.raises(InputError, match="another featx is at work"):
            Worklist(worklist.folder)

    def test_one_of_something_else_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text("{}")
        tmp_path.chmod(0o755)
        with pytest.raises(InputError, match="isn't empty, and it is no worklist"):
            Worklist(tmp_path)
        assert files_in(tmp_path) == {"run.json"}
        assert tmp_path.stat().st_mode & 0o777 == 0o755

    def test_images_whose_database_is_lost_are_left_as_they_are(self, tmp_path: Path) -> None:
        with Worklist(tmp_path / "state") as worklist:
            item, _ = worklist.add(picture(1), "a.png", "upload")
        for file in (tmp_path / "state").glob("*worklist.sqlite*"):
            file.unlink()
        with pytest.raises(InputError, match="isn't empty, and it is no worklist"):
            Worklist(tmp_path / "state")
        assert item.path is not None
        assert item.path.is_file()

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("")
        with pytest.raises(InputError, match="is a file"):
            Worklist(tmp_path / "state")

    def test_a_folder_that_cant_be_written_is_said(self, read_only_folder: Path) -> None:
        with pytest.raises(StorageError, match="no permission to write"):
            Worklist(read_only_folder / "state")

    def test_a_later_schema_is_refused(self, tmp_path: Path) -> None:
        with Worklist(tmp_path) as worklist:
            worklist._database.rows(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(InputError, match="a worklist of a later version of featx"):
            Worklist(tmp_path)

    def test_another_database_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "worklist.sqlite"
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE mine (x)")
        connection.close()
        before = file.read_bytes()
        with pytest.raises(InputError, match="isn't a worklist"):
            Worklist(tmp_path)
        assert file.read_bytes() == before

    def test_text_instead_of_a_database_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "worklist.sqlite").write_text("some text" * 1000)
        with pytest.raises(InputError, match="isn't a database"):
            Worklist(tmp_path)

    def test_a_damaged_database_is_said_at_the_start(self, tmp_path: Path) -> None:
        with Worklist(tmp_path) as worklist:
            for number in range(60):
                worklist.add(picture(number, 8), "a.png", "upload")
        file = tmp_path / "worklist.sqlite"
        content = bytearray(file.read_bytes())
        content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
        file.write_bytes(content)
        with pytest.raises(StorageError, match=r"worklist.sqlite failed: it is damaged"):
            Worklist(tmp_path)
        assert len(files_in(tmp_path / "images")) == 120


class TestOrder:
    def test_a_clock_that_goes_backwards_changes_no_turn(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = itertools.count(10**9, -1000)
        monkeypatch.setattr(time, "time", lambda: float(next(clock)))
        ids = [worklist.add(picture(number), "", "upload")[0].id for number in range(5)]
        assert [item.id for item in worklist.waiting(3)] == ids[:3]
        assert [item.id for item in worklist.items()] == ids

    def test_new_images_go_before_those_that_are_scored_again(self, worklist: Worklist) -> None:
        old = [worklist.add(picture(number), "", "upload")[0].id for number in range(3)]
        worklist.save([(each, [scored()]) for each in old])
        worklist.use_runs([run_facts("cd")])
        assert worklist.rescore() == 3
        new = worklist.add(picture(7), "", "upload")[0].id
        assert [item.id for item in worklist.waiting(9)] == [new, *old]
        assert worklist.count_waiting() == 4
        worklist.save([(each, [scored(0.1)]) for each in old])
        assert worklist.rescore() == 0
        # Who sends one again waits like others.
        assert not any(row["again"] for row in worklist._database.rows("SELECT again FROM images"))
        kept = worklist.get(old[0])
        assert kept is not None
        assert {run: made.score for run, made in kept.predictions.items()} == {
            "ab": 0.8,
            "cd": 0.1,
        }

    def test_times_are_those_of_the_first_score(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        item, _ = worklist.add(picture(1), "", "upload")
        for seconds, run in ((1.0, "ab"), (3600.0, "cd")):
            worklist.use_runs([run_facts(run)])
            worklist.rescore()
            monkeypatch.setattr(time, "time", lambda later=now + seconds: later)
            worklist.save([(item.id, [scored()])])
        assert worklist.times(now) == [(item.received.timestamp(), now + 1.0)]
        assert worklist.times(now + 1.0) == []

    def test_the_queue_isnt_full_of_images_that_are_scored_again(self, tmp_path: Path) -> None:
        with Worklist(tmp_path / "state", limits=Limits(waiting=2)) as worklist:
            worklist.use_runs([run_facts()])
            for number in range(4):
                item, _ = worklist.add(picture(number), "", "upload")
                worklist.save([(item.id, [scored()])])
            worklist.use_runs([run_facts("cd")])
            assert worklist.rescore() == 4
            worklist.add(picture(7), "", "upload")

    def test_an_image_that_comes_again_is_scored_by_the_run_that_took_the_place(
        self, worklist: Worklist
    ) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        worklist.save([(item.id, [scored()])])
        worklist.use_runs([run_facts("cd")])
        assert worklist.add(picture(1), "", "watch")[0].state == "scored"
        assert worklist.add(picture(1), "", "upload")[0].state == "waiting"


class TestBlame:
    def test_an_image_fails_the_second_time(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        for state in ("waiting", "failed"):
            worklist.blame(item.id, "it kills")
            (found,) = worklist.items()
            assert found.state == state
        assert found.error == "it kills"
        worklist.rescore()
        assert [(each.state, each.error) for each in worklist.items()] == [("waiting", "")]


class TestExpiry:
    def test_images_and_names_go_and_scores_and_readings_stay(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item, _ = worklist.add(picture(1), "Jane-Doe.png", "upload")
        waiting, _ = worklist.add(picture(2), "waits.png", "upload")
        worklist.save([(item.id, [scored()])])
        worklist.read(item.id, "PNEUMONIA")
        assert worklist.expire() == 0
        days_pass(monkeypatch, 31)
        assert worklist.expire() == 1
        found = worklist.get(item.id)
        assert found is not None
        assert (found.path, found.name, found.reading) == (None, f"{item.code}.png", "PNEUMONIA")
        assert found.predictions["ab"].score == 0.8
        assert files_in(worklist.folder / "images") == {f"{waiting.id}.png", f"{waiting.id}.name"}
        for path in worklist.folder.rglob("*"):
            assert not path.is_file() or b"Jane" not in path.read_bytes()
        assert [each.path for each in worklist.readings()] == [None]

    @pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock that nobody sets")
    def test_a_clock_that_is_set_removes_nothing_for_a_day(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item, _ = worklist.add(picture(1), "a.png", "upload")
        worklist.save([(item.id, [scored()])])
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 31 * DAY)
        assert worklist.expire() == 0
        assert worklist.expire() == 0
        days_pass(monkeypatch, 1.1)
        assert worklist.expire() == 1

    def test_what_stays_in_the_watched_folder_isnt_taken_again(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "a.png", "watch")
        worklist.save([(item.id, [scored()])])
        worklist.keep_days = 0
        assert worklist.expire() == 1
        assert worklist.add(picture(1), "a.png", "watch")[0].path is None
        assert worklist.add(picture(1), "a.png", "upload")[0].path is not None
        assert len(worklist.items()) == 1

    def test_no_days_keep_an_image_until_it_has_its_score(self, tmp_path: Path) -> None:
        with Worklist(tmp_path / "state", keep_days=0) as worklist:
            worklist.use_runs([run_facts()])
            item, _ = worklist.add(picture(1), "", "upload")
            assert worklist.expire() == 0
            worklist.save([(item.id, [scored()])])
            assert worklist.expire() == 1

    def test_an_image_that_is_asked_for_meanwhile_stays(
        self, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        worklist.save([(item.id, [scored()])])
        worklist.keep_days = 0
        worklist.use_runs([run_facts("cd")])
        rows = worklist._database.rows

        def find_and_ask(question: str, *values: Any) -> Any:
            found = rows(question, *values)
            if "received <" in question:
                assert worklist.rescore() == 1
            return found

        with monkeypatch.context() as patched:
            patched.setattr(worklist._database, "rows", find_and_ask)
            assert worklist.expire() == 0
        (waiting,) = worklist.waiting(1)
        assert waiting.path is not None
        assert waiting.path.is_file()

    def test_an_image_whose_result_is_to_be_delivered_stays_a_day_longer(
        self, worklist: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = dicom(tmp_path / "a.dcm", np.zeros((16, 16), np.uint8))
        item, _ = worklist.add(file.read_bytes(), "", "dicom")
        worklist.save([(item.id, [scored()])], ["results"])
        worklist.keep_days = 0
        assert worklist.expire() == 0
        assert worklist.count_undelivered() == 1
        days_pass(monkeypatch, 1.1)
        assert worklist.expire() == 1
        (due,) = worklist.due_deliveries()  # whoever delivers says that it can't
        worklist.delivered(due, "the image isn't kept any more")
        assert not worklist.due_deliveries()
        worklist.add(file.read_bytes(), "", "dicom")
        assert [each.image for each in worklist.due_deliveries()] == [item.id]


class TestDeliveries:
    def test_what_fails_is_tried_again_or_given_up(
        self, worklist: Worklist, tmp_path: Path
    ) -> None:
        for number in range(2):
            pixels = np.full((16, 16), number, np.uint8)
            file = dicom(tmp_path / "a.dcm", pixels)
            item, _ = worklist.add(file.read_bytes(), "", "dicom")
            worklist.save([(item.id, [scored()])], ["results"])
        plain, _ = worklist.add(picture(1), "", "upload")
        worklist.save([(plain.id, [scored()])], ["results"])
        one, other = worklist.due_deliveries()
        worklist.delivered(one, "no answer", retry_in=0.0)
        worklist.delivered(other)
        assert [(due.image, due.tries) for due in worklist.due_deliveries()] == [(one.image, 1)]
        worklist.delivered(one, "no answer", retry_in=100.0)
        assert not worklist.due_deliveries()
        assert worklist.count_undelivered() == 1
        worklist.delivered(one, "no answer")
        assert worklist.count_undelivered() == 0

    def test_an_image_that_is_sent_again_brings_its_result_where_it_never_was(
        self, worklist: Worklist, tmp_path: Path
    ) -> None:
        content = dicom(tmp_path / "a.dcm", np.zeros((16, 16), np.uint8)).read_bytes()
        item, _ = worklist.add(content, "", "dicom")
        worklist.save([(item.id, [scored()])])
        worklist.destinations = ("results",)
        worklist.add(content, "", "upload")
        assert worklist.count_undelivered() == 0
        worklist.add(content, "", "dicom")
        (due,) = worklist.due_deliveries()
        worklist.delivered(due)
        worklist.add(content, "", "dicom")
        assert worklist.count_undelivered() == 0

    def test_there_is_no_result_without_a_score(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        assert worklist.result(item.id, "ab") is None
        worklist.save([(item.id, [scored(None, "its pixels are damaged")])])
        assert worklist.result(item.id, "ab") is None

    def test_a_clock_that_is_set_back_keeps_nothing_from_its_way(
        self, worklist: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = dicom(tmp_path / "a.dcm", np.zeros((16, 16), np.uint8))
        item, _ = worklist.add(file.read_bytes(), "", "dicom")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 400 * DAY)
        worklist.save([(item.id, [scored()])], ["results"])
        monkeypatch.setattr(time, "time", lambda: now)
        assert len(worklist.due_deliveries()) == 1


class TestListing:
    def test_many_rows_take_no_more_questions_than_one(self, worklist: Worklist) -> None:
        asked: list[str] = []
        counts = []
        for number in range(20):
            item, _ = worklist.add(picture(number), f"{number}.png", "upload")
            worklist.save([(item.id, [scored(number / 20)])])
            if number in (0, 19):
                worklist._database._connection.set_trace_callback(asked.append)
                found = worklist.items()
                worklist._database._connection.set_trace_callback(None)
                counts.append(len(asked))
                asked.clear()
        assert counts == [2, 2]
        assert [item.name for item in found] == [f"{n}.png" for n in reversed(range(20))]
        assert [item.prediction(run_facts()).score for item in found][:2] == [0.95, 0.9]

    def test_rows_of_a_time(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        came = item.received.timestamp()
        assert worklist.items(since=came - 1, before=came + 1, limit=1)
        assert not worklist.items(since=came + 1)
        assert not worklist.items(before=came - 1)

    @pytest.mark.parametrize(
        "question",
        [
            "SELECT * FROM images WHERE received >= ? AND received < ? "
            "ORDER BY received DESC, number DESC LIMIT ?",
            "SELECT * FROM images WHERE state = 'waiting' ORDER BY again, number LIMIT 8",
            "SELECT count(*) FROM images WHERE state = 'waiting'",
            "SELECT count(*) FROM images WHERE state = 'waiting' AND NOT again",
            "SELECT * FROM deliveries WHERE done IS NULL AND next_try <= ? ORDER BY next_try",
        ],
    )
    def test_what_is_asked_often_has_an_index(self, worklist: Worklist, question: str) -> None:
        values = (0,) * question.count("?")
        plan = [
            row["detail"]
            for row in worklist._database.rows(f"EXPLAIN QUERY PLAN {question}", *values)
        ]
        assert len(plan) == 1
        assert "INDEX" in plan[0]

    def test_the_version_grows_with_each_change_and_is_another_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        with Worklist(tmp_path / "state") as worklist:
            before = worklist.version
            worklist.use_runs([run_facts()])
            item, _ = worklist.add(picture(1), "", "upload")
            worklist.save([(item.id, [scored()])])
            worklist.read(item.id, "NORMAL")
            assert worklist.version == before + 4
        with Worklist(tmp_path / "state") as worklist:
            assert worklist.version not in range(before, before + 5)


class TestReadings:
    def test_the_last_reading_counts_and_can_be_taken_back(self, worklist: Worklist) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        worklist.read(item.id, "NORMAL")
        assert worklist.read(item.id, "PNEUMONIA").reading == "PNEUMONIA"
        assert [each.reading for each in worklist.readings()] == ["PNEUMONIA"]
        assert worklist.read(item.id, "").reading == ""
        assert not worklist.readings()

    @pytest.mark.parametrize(
        ("identifier", "label"), [("0" * 32, "NORMAL"), ("", "NORMAL"), ("known", "normal")]
    )
    def test_one_of_no_class_or_image_is_refused(
        self, worklist: Worklist, identifier: str, label: str
    ) -> None:
        item, _ = worklist.add(picture(1), "", "upload")
        with pytest.raises(InputError, match=r"no class of the run|there is no image"):
            worklist.read(item.id if identifier == "known" else identifier, label)


def add_until_full(worklist: Worklist) -> tuple[list[str], StorageError]:
    """Add images until the disk takes no more. Return their identifiers."""
    ids: list[str] = []
    try:
        for number in range(1000):
            ids.append(worklist.add(picture(number, 64), "a.png", "upload")[0].id)
    except StorageError as error:
        return ids, error
    raise AssertionError("the disk is never full")


def _add_until_killed(folder: Path, first: int, writer: int) -> None:
    """Add images in a process of its own, and say so once each is acknowledged."""
    try:
        with Worklist(folder) as worklist:
            for number in range(first, first + 1000):
                identifier = worklist.add(picture(number, 8), "a.png", "upload")[0].id
                os.write(writer, f"{identifier}\n".encode())
    finally:
        os._exit(1)


def _no_memory() -> Any:
    raise MemoryError
