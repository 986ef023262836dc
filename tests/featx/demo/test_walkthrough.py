"""The demo from end to end, as small as it can be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from featx._progress import SILENT
from featx._run import load_run
from featx.demo import DemoResult, DemoSize, run_demo, write_phantoms
from featx.demo import _walkthrough as walkthrough
from featx.demo._results import CALIBRATED, NEXT_DOOR, OUT_OF_FOLD, STRESS, TEST
from featx.errors import InputError
from featx_cache import open_cache
from tests.folds import use_two_folds

SIZE = DemoSize(
    patients=12, next_door=16, labelled=8, input_size=32, copies=1, epochs=1, disturbed=20
)
NO_STRESS = dataclasses.replace(SIZE, disturbed=0)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report where nobody looks at it."""
    written = SimpleNamespace(html=Path("no-report.html"))
    page = SimpleNamespace(save=lambda *_, **__: written)
    monkeypatch.setattr(walkthrough, "report", lambda *_, **__: page)
    monkeypatch.setattr(walkthrough, "with_section", lambda page, *_, **__: page)


class Notes:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stages: list[str] = []

    def task(self, description: str, total: int, unit: str) -> Any:
        if unit == walkthrough.STAGE:
            self.stages.append(description)
        return SILENT.task(description, total, unit)

    def note(self, message: str) -> None:
        self.lines.append(message)


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
    }


@pytest.fixture(autouse=True, scope="module")
def _quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two folds, and no pretrained weights on the machine but those that come with featx."""
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        patch.delenv("FEATX_WEIGHTS_DIR", raising=False)
        yield


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, notes: Notes) -> DemoResult:
    out = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(out, SIZE, seed=3, offline=True, progress=notes)


def test_everything_it_promises_is_there(made: DemoResult) -> None:
    out = made.cache.parent
    assert made.data == out / "phantoms" / "images"
    assert list((out / "phantoms" / "lesion_masks").rglob("*.png"))
    assert made.report == out / "report.html"
    runs = ["keras", "logreg", "svm"]
    expected = sorted([*runs, *(f"{name}-next-door" for name in runs)])
    assert sorted(path.name for path in (out / "runs").iterdir()) == expected
    assert sorted(path.stem for path in (out / "stress").iterdir()) == runs


def test_every_head_is_measured_in_five_places(made: DemoResult) -> None:
    assert [head.name for head in made.heads] == ["keras", "svm", "logreg"]
    images = open_cache(made.cache).images
    labels = images.loc[images["split"] == "test", "label"].value_counts()
    for head in made.heads:
        of = {counts.where: counts.confusion for counts in head.counts}
        assert list(of) == [OUT_OF_FOLD, TEST, STRESS, NEXT_DOOR, CALIBRATED]
        assert of[TEST]["tp"] + of[TEST]["fn"] == labels["PNEUMONIA"]
        assert of[TEST]["tn"] + of[TEST]["fp"] == labels["NORMAL"]
        assert sum(of[STRESS].values()) % 27 == 0
        assert load_run(head.run.path).record == head.run.record


def test_next_door_nobody_is_measured_who_was_calibrated_on(made: DemoResult) -> None:
    for head in made.heads:
        calibrated = head.calibrated_run.record.calibrated
        assert calibrated is not None
        assert calibrated["images"] == SIZE.labelled
        for found in (head.next_door, head.calibrated):
            assert found.metrics.images == SIZE.next_door - SIZE.labelled
        assert head.next_door.metrics.threshold == head.run.record.threshold
        assert head.calibrated.metrics.threshold == head.calibrated_run.record.threshold
        assert head.next_door.metrics.roc_auc == head.calibrated.metrics.roc_auc


def test_offline_it_says_that_it_takes_featx_mini(made: DemoResult, notes: Notes) -> None:
    assert made.backbone == "featx-mini"
    assert notes.lines[0].startswith("Network: featx-mini, because it comes with featx")


@pytest.mark.usefixtures("made")
def test_it_tells_its_stages_and_nothing_of_what_runs_in_them(notes: Notes) -> None:
    assert [stage.split()[0] for stage in notes.stages] == [
        *("Drawing", "Embedding", "Fitting", "Stress", "Next", "Writing")
    ]
    assert all(line.startswith("Network:") or "no threshold" in line for line in notes.lines)


def test_a_floor_that_cannot_be_kept_is_said_and_a_lower_one_is_taken(
    made: DemoResult, notes: Notes
) -> None:
    for head in made.heads:
        missed = f"{head.name}: no threshold reaches accuracy 0.9"
        said = any(line.startswith(missed) for line in notes.lines)
        assert said == (head.run.record.accuracy_floor < walkthrough.CHOSEN_FLOOR)
        known = head.run.record.metrics["out_of_fold"]
        assert known["accuracy"] >= head.run.record.accuracy_floor


def test_the_report_shows_the_next_hospital_and_the_stress_test(made: DemoResult) -> None:
    page = made.report.read_text()
    assert page.index('id="glance"') < page.index('id="next-door"') < page.index('id="data"')
    assert (made.report.with_name("report_files") / "next-door.svg").stat().st_size > 5_000
    assert 'id="disturbances"' in page
    floors = sorted({head.calibrated_run.record.accuracy_floor for head in made.heads})
    assert f"at the accuracy floor {' or '.join(f'{one:g}' for one in floors)} there" in page
    kept = [
        sum(head.counts[n].accuracy >= head.run.record.accuracy_floor for head in made.heads)
        for n in (1, 3, 4)
    ]
    said = f"{kept[0]} of 3 at home, {kept[1]} of 3 next door, and {kept[2]} of 3 after calibration"
    assert f"Heads whose accuracy keeps the floor: {said}" in page


@pytest.mark.usefixtures("without_report")
def test_running_it_again_goes_on_and_gives_the_same_numbers(made: DemoResult) -> None:
    out = made.cache.parent
    before = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file() and path.parent.name != "report_files"
    }
    shutil.rmtree(out / "runs" / "svm-next-door")
    notes = Notes()
    again = run_demo(out, SIZE, seed=3, progress=notes)
    assert notes.lines[0] == "Network: featx-mini, because this demo began with it."
    for one, other in zip(made.heads, again.heads, strict=True):
        assert [c.confusion for c in one.counts] == [c.confusion for c in other.counts]
    made_again = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    index = "cache"  # which extract writes anew
    assert {path.parent.name for path in made_again} <= {"svm-next-door", index}


def test_a_demo_that_was_interrupted_while_drawing_draws_anew(
    made: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> NoReturn:
        raise KeyboardInterrupt

    draw = write_phantoms

    def draw_and_stop(*arguments: Any, **options: Any) -> NoReturn:
        draw(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(walkthrough, "load_manifest", interrupt)  # the next step
    monkeypatch.setattr(walkthrough, "write_phantoms", draw_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", SIZE, seed=3, offline=True)
    assert not (tmp_path / "out" / "phantoms").exists()
    monkeypatch.setattr(walkthrough, "write_phantoms", draw)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", SIZE, seed=3, offline=True)
    assert digests(tmp_path / "out" / "phantoms" / "images", "*.png") == digests(made.data, "*.png")
    masks = digests(made.cache.parent / "phantoms" / "lesion_masks", "*.png")
    assert digests(tmp_path / "out" / "phantoms" / "lesion_masks", "*.png") == masks


@pytest.mark.usefixtures("without_report")
def test_another_folder_with_the_same_seed_gets_the_same_images_embeddings_and_scores(
    made: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walkthrough, "DEMO_HEADS", ("logreg",))
    other = run_demo(tmp_path / "out", NO_STRESS, seed=3, offline=True)
    assert digests(other.data, "*.png") == digests(made.data, "*.png")
    caches = [open_cache(result.cache) for result in (made, other)]
    rows = caches[0].row_numbers(splits=None, copies=True)
    one, two = (cache.read(rows).astype(np.float32) for cache in caches)
    assert one == pytest.approx(two, rel=1e-3, abs=1e-4)
    scores = [result.heads[-1].test.scores["score"].to_numpy() for result in (made, other)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize(
    "changed",
    [{"seed": 4}, {"size": dataclasses.replace(SIZE, patients=13)}, {"backbone": "vgg16"}],
)
def test_a_demo_of_another_size_seed_or_network_is_not_mixed_in(
    made: DemoResult, changed: dict[str, Any]
) -> None:
    before = digests(made.cache.parent, "*.png")
    options: dict[str, Any] = {"size": SIZE, "seed": 3} | changed
    with pytest.raises(InputError, match="another size, seed or network"):
        run_demo(made.cache.parent, **options)
    assert digests(made.cache.parent, "*.png") == before


def test_a_marker_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    (tmp_path / walkthrough.MARKER_NAME).write_text("[1]")
    with pytest.raises(InputError, match="another size, seed or network"):
        run_demo(tmp_path, SIZE)


def test_a_seed_out_of_range_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`seed` can't be -1"):
        run_demo(tmp_path / "out", SIZE, seed=-1)
    assert not (tmp_path / "out").exists()


def test_offline_a_demo_of_a_network_without_weights_is_not_continued(tmp_path: Path) -> None:
    settings = {**dataclasses.asdict(SIZE), "seed": 3, "backbone": "vgg16"}
    (tmp_path / walkthrough.MARKER_NAME).write_text(json.dumps(settings))
    for backbone in (None, "VGG16"):
        with pytest.raises(InputError, match="weights of vgg16 are not on this machine"):
            run_demo(tmp_path, SIZE, seed=3, backbone=backbone, offline=True)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and not a demo"):
        run_demo(tmp_path, SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        run_demo(tmp_path / "out", SIZE)
    assert (tmp_path / "out").read_text() == "mine"
