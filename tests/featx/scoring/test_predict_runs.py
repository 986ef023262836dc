"""Several runs on the same images: each gives what it gives alone, and images are embedded once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from featx._run import Run, load_run
from featx.backbones import Backbone, load_backbone
from featx.data import load_manifest
from featx.errors import InputError
from featx.extraction import extract
from featx.extraction._pipeline import embed_filled
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec, decode
from featx.scoring import (
    CountsByRun,
    ImageScorer,
    Prediction,
    RunsScorer,
    load_backbones,
    predict_images,
    predict_images_by_run,
    predict_runs,
)
from featx.scoring import _image_scorer as scoring
from featx.scoring._run_names import folder_of
from featx_cache import open_cache
from tests.folds import use_two_folds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def paths(
    tiny_cache: Path, tiny_run: Path, small_network: Callable[..., Any], folder: Path
) -> dict[str, Path]:
    """Runs of three heads on the tiny cache."""
    cache = open_cache(tiny_cache)
    keras = HeadSpec(name="keras", settings={"epochs": 1, "precision": "float32"})
    with pytest.MonkeyPatch.context() as patch:
        use_two_folds(patch)
        patch.setattr("featx.heads._keras_head.build_network", small_network)
        for name, spec in {"svm": HeadSpec(name="svm"), "keras": keras}.items():
            fit(cache, spec, folder / name, accuracy_floor=0.1)
    return {"logreg": tiny_run, "svm": folder / "svm", "keras": folder / "keras"}


@pytest.fixture(scope="module")
def other(phantom_data: Path, folder: Path) -> tuple[Path, Backbone]:
    """A run of another backbone, of two layers, for images of another size."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((24, 24, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 6, strides=6, activation="relu"),
    ]
    keras.Sequential(layers).save(folder / "other.keras")
    backbone = load_backbone(str(folder / "other.keras"))
    untouched = AugmentationSpec(copies=0)
    extract(load_manifest(phantom_data), folder / "cache", backbone, augmentation=untouched)
    run = fit(
        open_cache(folder / "cache"), HeadSpec(name="lda"), folder / "lda", accuracy_floor=0.1
    )
    return run.path, backbone


@pytest.fixture
def runs(paths: dict[str, Path]) -> list[Run]:
    return [load_run(path) for path in paths.values()]


def averaging(run: Run, place: Path, copies: int, **augmentation: Any) -> Run:
    """Return a run that averages over copies of each image."""
    averaged = load_run(shutil.copytree(run.path, place / f"tta{copies}{len(augmentation)}"))
    extraction = averaged.record.extraction
    changed = extraction.augmentation.model_copy(update=augmentation)
    averaged.record = averaged.record.model_copy(
        update={
            "tta": copies,
            "extraction": extraction.model_copy(update={"augmentation": changed}),
        }
    )
    return averaged


@pytest.fixture
def images(phantom_data: Path, tmp_path: Path) -> list[Path]:
    """Eleven images, the third of which can't be read and the fifth of which has colors."""
    found = sorted((phantom_data / "train").rglob("*.png"))[:11]
    found[2] = tmp_path / "bad.png"
    found[2].write_text("not an image")
    colored = Image.merge("RGB", [Image.open(found[i]).convert("L") for i in (4, 5, 6)])
    found[4] = tmp_path / "color.png"
    colored.save(found[4])
    return found


class Passes:
    """Counts images that are decoded, and batches that are embedded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.decoded = self.embedded = 0
        patch.setattr(scoring, "decode", self.decode)
        patch.setattr(scoring, "embed_filled", self.embed)

    def decode(self, *given: Any, **options: Any) -> Any:
        self.decoded += 1
        return decode(*given, **options)

    def embed(self, *given: Any) -> Any:
        self.embedded += 1
        return embed_filled(*given)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


class TestScores:
    def test_are_bit_for_bit_those_of_each_run_alone(
        self,
        runs: list[Run],
        other: tuple[Path, Backbone],
        tiny_backbone: Backbone,
        images: list[Path],
        tmp_path: Path,
    ) -> None:
        logreg = runs[0]
        averaged = [averaging(logreg, tmp_path, copies) for copies in (1, 2)]
        turned = averaging(logreg, tmp_path, 1, rotation=5.0)
        together = [*runs, load_run(other[0]), *averaged, turned]
        backbones = [tiny_backbone] * 3 + [other[1]] + [tiny_backbone] * 3
        found = predict_runs(together, images, backbones=backbones, progress=False)
        assert [list(rows) for rows in found.values()] == [
            list(predict_images(ImageScorer(run, backbone), images))
            for run, backbone in zip(together, backbones, strict=True)
        ]
        scores = found.to_frame().pivot(index="path", columns="run", values="score").dropna()
        assert len(scores) == len(images) - 1
        assert (scores.nunique(axis=1) == len(together)).all()

    def test_images_are_decoded_once_and_embedded_once_for_runs_that_embed_alike(
        self,
        runs: list[Run],
        other: tuple[Path, Backbone],
        tiny_backbone: Backbone,
        images: list[Path],
        passes: Passes,
    ) -> None:
        predict_runs(runs, images, backbones=[tiny_backbone] * 3, progress=False)
        assert (passes.decoded, passes.embedded) == (11, 2)
        both = [*runs, load_run(other[0])]
        predict_runs(both, images, backbones=[tiny_backbone] * 3 + [other[1]], progress=False)
        assert (passes.decoded, passes.embedded) == (11 + 2 * 11, 2 + 2 * 2)

    def test_the_untouched_image_is_shared_with_a_run_that_averages_over_copies(
        self,
        runs: list[Run],
        tiny_backbone: Backbone,
        images: list[Path],
        passes: Passes,
        tmp_path: Path,
    ) -> None:
        shared = [averaging(runs[0], tmp_path, 1), runs[1], averaging(runs[0], tmp_path, 3)]
        predict_runs(shared, images, backbones=[tiny_backbone] * 3, progress=False)
        assert (passes.decoded, passes.embedded) == (11, 10 * 4 / 8)

    def test_one_that_is_no_number_is_an_error_of_that_run_alone(
        self,
        runs: list[Run],
        tiny_backbone: Backbone,
        images: list[Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(runs[1], "head_scores", lambda rows: np.full(len(rows), np.nan))
        found = predict_runs(runs[:2], images, backbones=[tiny_backbone] * 2, progress=False)
        assert [own.counts.failed for own in found.values()] == [1, 11]
        assert (found.counts.images, found.counts.failed) == (11, 11)
        assert found.counts.agreement == "The runs disagree on 0 of 0 images."

    def test_files_are_taken_as_they_are_needed(
        self,
        runs: list[Run],
        other: tuple[Path, Backbone],
        tiny_backbone: Backbone,
        images: list[Path],
        tmp_path: Path,
    ) -> None:
        taken = 0

        def endless() -> Iterator[Path]:
            nonlocal taken
            while True:
                taken += 1
                yield images[0]

        several = [averaging(runs[0], tmp_path, 3), load_run(other[0])]
        scorer = RunsScorer(several, [tiny_backbone, other[1]])
        found = predict_images_by_run(scorer, endless())
        for _ in range(3 * scoring.BATCH_SIZE):
            next(found)
        assert taken <= (3 + scoring.BATCHES_AHEAD) * scoring.BATCH_SIZE


class TestTryingAlone:
    """An image that comes alone is embedded alone if that changes no bit."""

    @pytest.mark.parametrize("same", [True, False])
    def test_one_image_is_embedded_alone_only_if_the_network_gives_the_same(
        self, runs: list[Run], tiny_backbone: Backbone, images: list[Path], same: bool
    ) -> None:
        sizes = []

        class Watched:
            spec, channels = tiny_backbone.spec, tiny_backbone.channels
            embedding_shape, depends_on_batch = tiny_backbone.embedding_shape, True

            def embed(self, batch: Any) -> Any:
                sizes.append(len(batch))
                embeddings = tiny_backbone.embed(batch)
                return embeddings if same or len(batch) > 1 else embeddings * 1.0001

        watched: Any = Watched()
        scorer = RunsScorer(runs[:1], [watched], views=False, try_alone=True)
        assert sizes == [1, scoring.BATCH_SIZE]
        sizes.clear()
        ((found,),) = list(scorer.score(images[:1]))
        assert sizes == [1 if same else scoring.BATCH_SIZE]
        ((expected,),) = list(RunsScorer(runs[:1], [tiny_backbone]).score(images[:1]))
        assert found.score == expected.score

    def test_nothing_is_tried_unless_asked(
        self, runs: list[Run], tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Backbone, "embed", lambda *_: pytest.fail("it was tried"))
        RunsScorer(runs[:1], [tiny_backbone])


def test_each_backbone_is_loaded_once_and_only_the_first_from_a_new_place(
    runs: list[Run], other: tuple[Path, Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(run: Run, weights: str | None) -> object:
        loaded.append((run.path.name, weights))
        return object()

    monkeypatch.setattr(Run, "backbone", load)
    found = load_backbones([runs[0], load_run(other[0]), *runs[1:]], "elsewhere")
    assert loaded == [("logreg", "elsewhere"), ("lda", None)]
    assert found[0] is found[2] is found[3] is not found[1]


class TestTogether:
    @pytest.fixture
    def verdicts(self) -> Callable[..., list[Prediction]]:
        """Make the verdicts of two runs on an image. None is a file that can't be read."""

        def make(path: str, *called: str | None) -> list[Prediction]:
            return [
                Prediction(path, None, None, 0.5, "", error="empty")
                if name is None
                else Prediction(path, 0.7, 0.7, 0.5, name)
                for name in called
            ]

        return make

    def test_disagreements_are_counted_where_both_have_a_score(
        self, runs: list[Run], verdicts: Callable[..., list[Prediction]]
    ) -> None:
        counts = CountsByRun(runs[:2])
        for called in (
            ("NORMAL", "PNEUMONIA"),
            ("PNEUMONIA", "PNEUMONIA"),
            ("NORMAL", None),
            (None, None),
        ):
            counts.add(verdicts("a.png", *called))
        assert (counts.images, counts.failed, counts.disagreements) == (4, 2, 1)
        assert counts.agreement == "The runs disagree on 1 of 2 images."
        assert {name: own.failed for name, own in counts.items()} == {"logreg": 1, "svm": 2}

    def test_one_run_agrees_with_nobody_and_other_classes_are_not_compared(
        self, runs: list[Run], verdicts: Callable[..., list[Prediction]]
    ) -> None:
        assert CountsByRun(runs[:1]).agreement == ""
        runs[1].record = runs[1].record.model_copy(update={"classes": ("NORMAL", "TB")})
        counts = CountsByRun(runs[:2])
        counts.add(verdicts("a.png", "PNEUMONIA", "TB"))
        assert counts.disagreements == 0
        assert "aren't compared" in counts.agreement

    def test_they_are_a_table_of_a_row_an_image_and_run_with_notes(
        self, runs: list[Run], tiny_backbone: Backbone, images: list[Path]
    ) -> None:
        folder = images[2].parent
        (folder / "notes.txt").write_text("hello")
        found = predict_runs(runs[:2], folder, backbones=[tiny_backbone] * 2, progress=False)
        table = found.to_frame()
        assert list(table) == ["run", *Prediction.__slots__]
        assert table["run"].tolist() == ["logreg", "svm"] * 2
        assert [Path(path).name for path in table["path"]] == ["bad.png"] * 2 + ["color.png"] * 2
        pd.testing.assert_frame_equal(
            table[table["run"] == "svm"].drop(columns="run").reset_index(drop=True),
            found["svm"].to_frame(),
        )
        said = (
            f"logreg: {found['logreg'].counts.in_words} svm: {found['svm'].counts.in_words} "
            f"The runs disagree on {found.counts.disagreements} of 1 image. "
            "1 of 2 files could not be scored: see the column error."
        )
        assert repr(found) == f"RunPredictions({said})"
        html = found._repr_html_()
        for words in (
            "svm: ",
            "The runs disagree on",
            "1 file left out: 1 .txt",
            "<td>logreg</td>",
        ):
            assert words in html

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ([], "no run is given"),
            (["runs/logreg"], "`runs` can't be of type str"),
            ("runs/logreg", "`runs` can't be of type str"),
            (None, "`runs` can't be of type NoneType"),
        ],
    )
    def test_what_are_no_runs_is_refused(self, given: Any, error: str) -> None:
        with pytest.raises(InputError, match=error) as raised:
            predict_runs(given, "a.png", progress=False)
        assert raised.value.parameter == "runs"

    def test_a_run_is_there_once(self, runs: list[Run]) -> None:
        with pytest.raises(InputError, match=r"compared with itself\. Give each run once"):
            predict_runs([*runs, runs[0]], "a.png", progress=False)

    def test_each_run_needs_a_backbone(self, runs: list[Run], tiny_backbone: Backbone) -> None:
        with pytest.raises(InputError, match=r"2 runs and 1 backbone are given"):
            RunsScorer(runs[:2], [tiny_backbone])


@pytest.mark.parametrize(
    ("name", "folder"), [("svm", "svm"), ("a/svm", "a-svm"), ("//a/svm", "a-svm")]
)
def test_a_run_s_folder_is_one_below_another(name: str, folder: str) -> None:
    assert folder_of(name) == folder
