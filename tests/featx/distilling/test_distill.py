"""`featx.distill`: a small network that makes a large one's embeddings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import featx
from featx._progress import Advance
from featx.backbones import Backbone, load_backbone
from featx.backbones._mini import build_mini
from featx.distilling import Agreement, Distillation, distill
from featx.distilling import _training as training
from featx.distilling import _work_folder as work_folder
from featx.distilling._student import build_student, round_weights, save_student
from featx.errors import FeatxError, InputError, SpecMismatchError, StorageError
from featx.extraction import ExtractionOptions
from featx.images import decode
from featx_cache import open_cache
from featx_cache._shards import RowKeys

if TYPE_CHECKING:
    from tests.conftest import MakeDisk

Distill = Callable[..., Distillation]


class Watching:
    """Count the units of every task, keep the notes, and press Ctrl-C at a unit of a task."""

    def __init__(self, interrupt: tuple[str, int] = ("", 0)) -> None:
        self.done: Counter[str] = Counter()
        self.notes: list[str] = []
        self.interrupt = interrupt

    @contextlib.contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Advance]:  # noqa: ARG002
        def advance(done: int) -> None:
            self.done[description] += done
            if (description, self.done[description]) == self.interrupt:
                raise KeyboardInterrupt

        yield advance

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="session")
def loose_images(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images of as many patients in no class folder, one of them twice. Only read it."""
    folder = tmp_path_factory.mktemp("loose") / "images"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, path in enumerate(sorted(phantom_data.rglob("*.png"))[:11]):
        shutil.copy(path, (folder if number % 2 else folder / "deep" / "er") / f"{number}.png")
    shutil.copy(folder / "1.png", folder / "again.png")
    (folder / "empty.png").touch()
    content = (folder / "1.png").read_bytes()
    (folder / "half.png").write_bytes(content[: len(content) // 2])
    (folder / "notes.txt").write_text("not an image")
    return folder


def make_student(path: Path, grid: int = 1, size: int | None = 32, channels: int = 1) -> Path:
    """Save a network of one convolution."""
    image = keras.Input((size, size, channels))
    small = keras.layers.Rescaling(1 / 128, -1)(image)
    side = 32 // grid
    keras.Model(image, keras.layers.Conv2D(512, side, side)(small)).save(path)
    return path


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_student(tmp_path_factory.mktemp("student") / "student.keras")


@pytest.fixture
def run(loose_images: Path, tiny_backbone: Backbone, student: Path, tmp_path: Path) -> Distill:
    """Distill in a second, with other settings if some are given."""

    def run(out: str | Path = "mini.keras", data: Any = loose_images, **settings: Any) -> Any:
        known: dict[str, Any] = {
            "backbone": tiny_backbone,
            "student": student,
            "copies": 1,
            "epochs": 2,
        }
        known |= {"precision": "float32", "progress": False}
        known |= {"options": ExtractionOptions(batch_size=4)}
        return distill(data, tmp_path / out, **known | settings)

    return run


def weights_of(path: Path) -> list[Any]:
    return [np.asarray(each) for each in keras.models.load_model(path).variables]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestStudent:
    def test_is_a_backbone_that_makes_nearly_the_same_embeddings(
        self, run: Distill, loose_images: Path, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        found = run(epochs=20, learning_rate=5e-4)
        assert names_in(tmp_path) == {"mini.keras", "mini.json", "mini-embeddings"}
        made = load_backbone(str(found.path), precision="float32", runtime="tensorflow")
        image = decode(loose_images / "1.png", 32)[np.newaxis]
        one, other = tiny_backbone.embed(image).ravel(), made.embed(image).ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.7
        assert found.agreement["untouched"].rows == 1
        assert found.history["loss"].iloc[-1] < 0.5 * found.history["loss"].iloc[0]
        for each in weights_of(found.path):
            np.testing.assert_array_equal(each, each.astype(np.float16))

    def test_says_what_it_was_made_from(self, run: Distill, tiny_backbone: Backbone) -> None:
        watching = Watching()
        found = run(progress=watching)
        facts = json.loads(found.facts_path.read_text())
        assert facts["sha256"] == hashlib.sha256(found.path.read_bytes()).hexdigest()
        assert facts["bytes"] == found.path.stat().st_size
        assert (facts["images"], facts["rows"]) == (11, 22) == (found.images, found.rows)
        assert facts["teacher"]["backbone"] == tiny_backbone.spec.model_dump(mode="json")
        assert facts["teacher"]["augmentation"]["copies"] == 1
        assert facts["featx"] == featx.__version__
        assert facts["loss"] == pytest.approx(found.history["loss"].iloc[-1], abs=1e-6)
        assert set(facts["held_out"]) == {"untouched", "copies"} == set(found.to_frame().index)
        assert "11 images, correlation with the teacher" in repr(found)
        assert set(found.unreadable) == {"empty.png", "half.png"}
        assert (facts["unreadable"], facts["repeated"]) == (2, 1)
        assert any(note.startswith("Skipped half.png: ") for note in watching.notes)
        assert any("1 file has the content of another" in note for note in watching.notes)
        assert "Skipped empty.png: the file is empty" in watching.notes
        assert any(".txt" in note for note in watching.notes)
        assert "22 of 24 embeddings of the teacher were computed." in watching.notes

    def test_of_featx_mini_has_weights_that_its_layers_load(self, run: Distill) -> None:
        found = run("mini.weights.h5", student=None, epochs=1)
        assert found.path.stat().st_size < 2.5e6
        assert found.facts["student"] == "featx-mini"
        mini = build_mini()
        mini.load_weights(found.path)
        for each in map(np.asarray, mini.variables):
            np.testing.assert_array_equal(each, each.astype(np.float16))

    def test_has_the_same_weights_in_both_files(
        self, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        mini, again, other = (build_student(None, tiny_backbone, seed=s) for s in (0, 0, 1))
        round_weights(mini, again.variables)
        one, two = tmp_path / "a.keras", tmp_path / "a.weights.h5"
        for path, suffix in ((one, ".keras"), (two, ".weights.h5")):
            save_student(mini, path, suffix, tmp_path)
        assert names_in(tmp_path) == {one.name, two.name}
        loaded = build_mini()
        loaded.load_weights(two)
        for a, b in zip(weights_of(one), loaded.variables, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b))
        drawn = np.asarray(other.weights[0]).astype(np.float16)
        assert (drawn != np.asarray(mini.weights[0])).all()  # the seed counts

    def test_of_three_channels_gets_the_images_colors(self, run: Distill, tmp_path: Path) -> None:
        color = make_student(tmp_path / "color.keras", channels=3)
        found = run(student=color, copies=0)
        assert found.facts["channels"] == 3
        assert set(found.agreement) == {"untouched"}
        assert found.rows == 11


class TestRows:
    def test_are_what_the_teacher_saw_and_made(
        self, run: Distill, tiny_backbone: Backbone, tmp_path: Path
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(progress=Watching(("Training the student", 1)))
        unfinished = tmp_path / "mini.keras.unfinished"
        with np.load(unfinished / "rows.npz") as file:
            hashes, copies = file["image_sha256"].astype(str), file["copy"]
        pixels, targets = (np.load(unfinished / f"{n}.npy") for n in ("pixels", "embeddings"))
        assert pixels.shape == (22, 32, 32, 1)
        assert pixels.dtype == np.uint8
        assert copies.tolist() == [0, 1] * 11
        assert sorted(set(hashes)) == hashes[::2].tolist()
        made = tiny_backbone.embed(pixels.astype(np.float32))
        np.testing.assert_allclose(made, targets, rtol=0.05, atol=0.02 * targets.max())

    def test_need_no_labels_and_leave_those_of_a_cache_as_they_are(
        self, run: Distill, phantom_data: Path, tiny_cache: Path, tmp_path: Path
    ) -> None:
        cache = Path(shutil.copytree(tiny_cache, tmp_path / "cache"))
        index = (cache / "index.h5").read_bytes()
        before = open_cache(cache)
        watching = Watching()
        run(data=phantom_data, cache=cache, copies=None, epochs=1, progress=watching)
        missing = int((before.images["split"] != "train").sum())  # copies of val and test
        wanted = 2 * before.images["sha256"].nunique()
        assert f"{missing} of {wanted} embeddings of the teacher were computed." in watching.notes
        assert (cache / "index.h5").read_bytes() == index
        assert open_cache(cache).classes == before.classes
        again = Watching()
        run("b.keras", data=phantom_data, cache=cache, copies=None, epochs=1, progress=again)
        assert f"0 of {wanted} embeddings of the teacher were computed." in again.notes

    def test_of_several_layers_are_those_of_the_deepest(self, run: Distill) -> None:
        layers = load_backbone(
            "vgg16", weights="random", input_size=32, layer="block4_pool,block5_pool",
            precision="float32", runtime="tensorflow",
        )  # fmt: skip
        assert layers.embedding_shape == (2 * 2 * 512 + 512,)
        found = run(backbone=layers)
        assert load_backbone(str(found.path)).embedding_shape == (1, 1, 512)

    def test_come_from_links_to_data_sets(
        self, run: Distill, loose_images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "joined").mkdir()
        (tmp_path / "joined" / "linked").symlink_to(loose_images)
        assert run(data=tmp_path / "joined", epochs=1).images == 11


class TestInterruption:
    def test_goes_on_to_the_same_weights(
        self, run: Distill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "BATCH_SIZE", 5)
        monkeypatch.setattr(training, "STEPS_BETWEEN_STATES", 2)
        whole = run("whole.keras", epochs=3)
        assert whole.history["epoch"].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
        for step in (3, 8):  # of 12: in the middle of a part, and of another
            with pytest.raises(KeyboardInterrupt):
                run(epochs=3, progress=Watching(("Training the student", step)))
            assert not (tmp_path / "mini.keras").exists()
        watching = Watching()
        found = run(epochs=3, progress=watching)
        assert "Extracting embeddings" not in watching.done
        assert watching.done["Training the student"] == 12
        assert found.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
        for one, other in zip(weights_of(found.path), weights_of(whole.path), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ({"epochs": 3}, "training.epochs: 2 -> 3"),
            ({"copies": 0}, "augmentation.copies: 1 -> 0"),
        ],
    )
    def test_refuses_other_settings(
        self, run: Distill, tmp_path: Path, settings: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(progress=Watching(("Training the student", 1)))
        with pytest.raises(SpecMismatchError, match=field) as error:
            run(**settings)
        assert f"remove {tmp_path / 'mini.keras.unfinished'}" in str(error.value)

    @pytest.mark.parametrize("name", ["pixels.npy", "rows.npz"])
    def test_makes_damaged_rows_again(self, run: Distill, tmp_path: Path, name: str) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(progress=Watching(("Training the student", 1)))
        damaged = tmp_path / "mini.keras.unfinished" / name
        damaged.write_bytes(damaged.read_bytes()[:-1])
        watching = Watching()
        run(progress=watching)
        assert watching.done["Inputs of the student"] == 22

    def test_leaves_a_folder_alone_that_is_somebody_elses(
        self, run: Distill, tmp_path: Path
    ) -> None:
        (tmp_path / "mini.keras.unfinished").mkdir()
        (tmp_path / "mini.keras.unfinished" / "thesis.txt").write_text("years of work")
        with pytest.raises(InputError, match=r"no unfinished distillation \(it has thesis.txt"):
            run()
        assert names_in(tmp_path / "mini.keras.unfinished") == {"thesis.txt"}


class TestDivergence:
    def test_is_an_error_after_which_other_rates_go_on(self, run: Distill, tmp_path: Path) -> None:
        with pytest.raises(FeatxError, match=r"diverged at step \d+: the loss is (nan|inf)"):
            run(learning_rate=1e38, epochs=4)
        assert not (tmp_path / "mini.keras").exists()
        watching = Watching()
        run(learning_rate=1e-3, epochs=4, progress=watching)
        assert set(watching.done) == {"Reading files", "Training the student"}

    def test_in_the_last_step_is_an_error(self, run: Distill, tmp_path: Path) -> None:
        with pytest.raises(FeatxError, match="diverged in its last step"):
            run(learning_rate=1e38, epochs=1)
        assert not (tmp_path / "mini.keras").exists()


class TestRefusal:
    @pytest.mark.parametrize("name", ["mini.h5", "mini.onnx", "mini", ".keras", ".weights.h5"])
    def test_of_another_suffix(self, run: Distill, name: str) -> None:
        with pytest.raises(InputError, match=r"is neither a \.keras nor a \.weights\.h5 file"):
            run(name)

    def test_of_files_that_are_there(self, run: Distill, student: Path, tmp_path: Path) -> None:
        for name in ("mini.json", "mini.keras"):
            (tmp_path / name).write_text("mine")
            with pytest.raises(InputError, match=f"{name} exists already"):
                run()
            (tmp_path / name).rename(tmp_path / f"{name}.kept")
        assert names_in(tmp_path) == {"mini.json.kept", "mini.keras.kept"}
        (tmp_path / "mini.json.kept").rename(tmp_path / "mini.json")
        found = run(force=True, epochs=1)
        assert found.facts_path.read_text() != "mine"
        copied = shutil.copy(student, tmp_path / "student.keras")
        with pytest.raises(InputError, match=r"is what is read .*student.keras"):
            run("student.keras", student=copied, force=True)

    def test_without_images(self, run: Distill, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "notes.txt").write_text("none")
        with pytest.raises(InputError, match=r"no images .*\.txt"):
            run(data=tmp_path / "data")
        with pytest.raises(InputError, match="there is no folder"):
            run(data=tmp_path / "missing")
        assert names_in(tmp_path) == {"data"}

    def test_of_images_that_cannot_be_read(self, run: Distill, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        with pytest.raises(InputError, match=r"no images .* that can be read \(a.png: "):
            run(data=tmp_path / "data")

    def test_of_images_none_of_which_can_be_decoded(
        self, run: Distill, loose_images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        content = (loose_images / "1.png").read_bytes()
        (tmp_path / "data" / "a.png").write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=r"no image in .* can be decoded"):
            run(data=tmp_path / "data")

    @pytest.mark.parametrize(
        ("shape", "said"),
        [
            ({"grid": 2}, "of 32x32 pixels it makes 2x2x512, and the teacher's .* 1x1x512"),
            ({"size": 64, "grid": 1}, "can't take the teacher's 32x32 pixels .*64x64"),
            ({"channels": 2}, r"takes \(None, 32, 32, 2\), not one image"),
        ],
    )
    def test_of_an_unfit_student(
        self, run: Distill, tmp_path: Path, shape: dict[str, int], said: str
    ) -> None:
        with pytest.raises(InputError, match=said):
            run(student=make_student(tmp_path / "unfit.keras", **shape))
        assert names_in(tmp_path) == {"unfit.keras"}

    def test_of_a_student_without_weights_to_train(self, run: Distill, tmp_path: Path) -> None:
        frozen = keras.models.load_model(make_student(tmp_path / "frozen.keras"))
        frozen.trainable = False
        frozen.save(tmp_path / "frozen.keras")
        with pytest.raises(InputError, match="is unfit: it has no weights to train"):
            run(student=tmp_path / "frozen.keras")

    def test_of_a_student_that_is_no_network(self, run: Distill, tmp_path: Path) -> None:
        (tmp_path / "no.keras").write_text("no")
        with pytest.raises(InputError, match=r"no.keras can't be loaded as a safe Keras model"):
            run(student=tmp_path / "no.keras")
        with pytest.raises(InputError, match="there is no student"):
            run(student=tmp_path / "missing.keras")

    def test_of_a_teacher_without_a_grid(self, run: Distill, tmp_path: Path) -> None:
        image = keras.Input((32, 32, 1))
        vector = keras.layers.GlobalAveragePooling2D(name="average")(image)
        keras.Model(image, vector).save(tmp_path / "vector.keras")
        with pytest.raises(InputError, match="has the shape 1, which is no grid"):
            run(backbone=tmp_path / "vector.keras", layer="average")

    @pytest.mark.parametrize("settings", [{"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}])
    def test_of_numbers_out_of_range(self, run: Distill, settings: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"`{next(iter(settings))}` can't be"):
            run(**settings)


class TestDisk:
    def test_that_is_too_small_is_told_before_the_work(
        self, run: Distill, tmp_path: Path, small_disk: MakeDisk
    ) -> None:
        disk = small_disk("1m")
        watching = Watching()
        with pytest.raises(StorageError, match=rf"24 rows need 0\.1 GB in {disk}"):
            run(disk / "mini.keras", cache=tmp_path / "cache", progress=watching)
        assert "Extracting embeddings" not in watching.done

    def test_that_fills_up_keeps_finished_work(
        self,
        run: Distill,
        tmp_path: Path,
        small_disk: MakeDisk,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(work_folder, "SPARE_BYTES", -(10**9))
        disk = small_disk("48k")
        with pytest.raises(StorageError, match=r"no room left on the disk .*pixels.npy"):
            run(disk / "mini.keras", cache=tmp_path / "cache")
        unfinished = disk / "mini.keras.unfinished"
        assert names_in(disk) == {unfinished.name}
        assert names_in(unfinished) == {"settings.json", "rows.npz", "embeddings.npy"}


def test_patients_are_on_one_side() -> None:
    keys = RowKeys.of([(f"{n:064d}", copy) for n in range(40) for copy in range(3)])
    rows = work_folder.Rows(
        keys, np.zeros((120, 1, 1, 1), np.uint8), np.zeros((120, 1, 1, 1), np.float16)
    )
    groups = {f"{n:064d}": f"patient {n // 2}" for n in range(40)}
    division = training.divide(rows, groups, seed=0)
    assert sorted([*division.train, *division.held_out]) == list(range(120))
    assert len(division.held_out) == 12  # four images of two patients, all copies
    held = {groups[keys.pairs()[row][0]] for row in division.held_out}
    assert held.isdisjoint(groups[keys.pairs()[row][0]] for row in division.train)
    assert len(held) == 2


def test_agreement_is_what_numpy_says() -> None:
    random = np.random.default_rng(0)
    teacher = random.normal(size=(50, 3, 3, 6)).astype(np.float32)
    teacher[..., 5] = 1.0  # a channel that never differs
    student = teacher + random.normal(size=teacher.shape).astype(np.float32)
    found = Agreement.of(teacher, student)
    whole = np.corrcoef(teacher.ravel(), student.ravel())[0, 1]
    one, other = teacher.mean((1, 2)), student.mean((1, 2))
    channels = [np.corrcoef(one[:, c], other[:, c])[0, 1] for c in range(5)]
    spread = ((teacher - teacher.mean(0)) ** 2).sum()
    assert found.correlation == pytest.approx(whole, rel=1e-6)
    assert found.channel_mean == pytest.approx(np.mean(channels), rel=1e-5)
    assert found.channel_median == pytest.approx(np.median(channels), rel=1e-5)
    assert found.explained == pytest.approx(1 - ((teacher - student) ** 2).sum() / spread, rel=1e-5)
