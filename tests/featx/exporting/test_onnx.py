"""A run as an ONNX graph: its scores are featx's, it says what it is, or it isn't written."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx._run import Run, load_run
from featx.backbones import Backbone, StandardizationSpec, load_backbone
from featx.data import load_manifest
from featx.demo._phantoms import write_phantoms
from featx.errors import FeatxError, InputError
from featx.exporting import _onnx as exporting
from featx.exporting import export_onnx
from featx.extraction import extract
from featx.extraction._standardization import standardize
from featx.fitting import fit
from featx.heads import HEADS, HeadSpec
from featx.images import AugmentationSpec, decode
from featx.scoring import find_images
from featx_cache import open_cache

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

SETTINGS: dict[str, dict[str, Any]] = {
    "keras": {"architecture": "gap", "epochs": 2, "precision": "float32"},
    # More components than this network's channels would be made of rounding errors.
    "hgb": {"components": 4, "max_iter": 20},
    "svm": {"components": 8},
    "knn": {"components": 8},
    "lda": {"components": 8},
}
MakeRun = Callable[..., Run]


def network(folder: Path, channels: int = 3) -> Path:
    """A saved network of one layer."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((32, 32, channels)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 4, strides=4, activation="relu"),
    ]
    keras.Sequential(layers).save(folder / "tiny.keras")
    return folder / "tiny.keras"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(str(network(tmp_path_factory.mktemp("network"))), precision="float32")


@pytest.fixture(scope="module")
def small_cache(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of enough images for trees to split them."""
    folder = tmp_path_factory.mktemp("small") / "cache"
    data = write_phantoms(folder.with_name("data"), patients=80, size=48)
    extract(load_manifest(data), folder, tiny, augmentation=AugmentationSpec(copies=0))
    return folder


def pixels_of(run: Run, files: list[Path]) -> NDArray[np.float32]:
    """Do outside the graph what is to be done there: read, resize, three channels."""
    extraction = run.record.extraction
    size, spec = extraction.backbone.input_size, extraction.decoding
    return np.stack([np.broadcast_to(decode(f, size, spec=spec), (size, size, 3)) for f in files])


def require_same(run: Run, path: Path, data: Path, precision: Any = None) -> Any:
    """Compare the graph with featx on images that it wasn't fitted on. Return the session."""
    files = list(find_images([data / "test"]))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = pixels_of(run, files)
    (scores,) = session.run(["score"], {"pixels": pixels})
    assert (scores.shape, scores.dtype) == ((len(files),), np.float32)
    backbone = run.backbone(precision=precision)
    wanted = [p.score for p in run.predict(files, backbone=backbone)]
    assert np.ptp(np.array(wanted, float)) > 0.01
    assert scores == pytest.approx(wanted, abs=1e-3)
    (alone,) = session.run(["score"], {"pixels": pixels[:1]})
    assert alone[0] == pytest.approx(scores[0], abs=1e-4)
    return session


@pytest.mark.usefixtures("two_folds")
@pytest.mark.parametrize("name", HEADS)
def test_scores_are_featx_s(
    name: str, small_cache: Path, phantom_data: Path, tmp_path: Path
) -> None:
    spec = HeadSpec.choose(name, settings=SETTINGS.get(name))
    run = load_run(fit(open_cache(small_cache), spec, tmp_path / "run", accuracy_floor=0.1).path)
    written = export_onnx(run, tmp_path / "new" / "run.onnx")
    assert written.difference <= 1e-3
    assert written.bytes == written.path.stat().st_size
    require_same(run, written.path, phantom_data)


@pytest.mark.usefixtures("two_folds")
@pytest.mark.parametrize("name", ["keras", "logreg"])
def test_embeddings_of_several_layers_are_joined_in_the_graph(
    name: str, phantom_data: Path, tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.Input((32, 32, 1)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(8, 4, strides=4, activation="relu", name="first")]
    layers += [keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="second")]
    keras.Sequential(layers).save(tmp_path / "two.keras")
    backbone = load_backbone(
        str(tmp_path / "two.keras"), layer="first,second", pool_extra="pyramid", precision="float32"
    )
    cache = extract(load_manifest(phantom_data), tmp_path / "cache", backbone, copies=0)
    settings = {"keras": {"learning_rate": 0.05}, "logreg": {"C": 0.1}}
    spec = HeadSpec.choose(name, settings=SETTINGS.get(name, {}) | settings[name])
    run = load_run(fit(cache, spec, tmp_path / "run", accuracy_floor=0.1).path)
    export_onnx(run, tmp_path / "run.onnx")
    require_same(run, tmp_path / "run.onnx", phantom_data)


@pytest.fixture(scope="module")
def logreg(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logreg") / "run"
    spec = HeadSpec.choose("logreg", settings={"C": 1.0})
    return fit(open_cache(small_cache), spec, folder, accuracy_floor=0.1).path


def test_it_says_what_a_program_has_to_know(logreg: Path, tmp_path: Path) -> None:
    run = load_run(logreg)
    export_onnx(run, tmp_path / "run.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "run.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert float(said["threshold"]) == run.record.threshold
    assert json.loads(said["classes"]) == ["NORMAL", "PNEUMONIA"]
    assert json.loads(said["band"]) == list(run.record.band or ())
    assert said["input_size"] == "32"
    assert said["fingerprint"] == run.record.fingerprint
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == (
        "pixels",
        "tensor(float)",
        ["images", 32, 32, 3],
    )
    (given,) = session.get_outputs()
    assert (given.name, given.type, given.shape) == ("score", "tensor(float)", ["images"])


def test_a_recalibration_is_in_the_graph(logreg: Path, phantom_data: Path, tmp_path: Path) -> None:
    shutil.copytree(logreg, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["checksum"]
    record["recalibration"] = {"method": "sigmoid", "slope": 1.7, "intercept": -0.6}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    run = load_run(tmp_path / "run")
    export_onnx(run, tmp_path / "run.onnx")
    require_same(run, tmp_path / "run.onnx", phantom_data)


def test_a_network_of_grey_images_and_standardized_input(
    phantom_data: Path, tmp_path: Path
) -> None:
    manifest = load_manifest(phantom_data)
    grey = load_backbone(str(network(tmp_path, channels=1)), precision="float32")
    spec = StandardizationSpec(samplewise_std=True, featurewise_center=True)
    backbone = standardize(grey, spec, manifest, tmp_path / "cache")
    extract(manifest, tmp_path / "cache", backbone, augmentation=AugmentationSpec(copies=0))
    head = HeadSpec.choose("logreg", settings={"C": 1.0})
    fit(open_cache(tmp_path / "cache"), head, tmp_path / "run", accuracy_floor=0.1)
    run = load_run(tmp_path / "run")
    export_onnx(run, tmp_path / "run.onnx")
    require_same(run, tmp_path / "run.onnx", phantom_data)


def test_a_network_of_keras_with_its_own_preprocessing(phantom_data: Path, tmp_path: Path) -> None:
    """Only its first layers: the others are alike, and make a graph a hundred times as large."""
    backbone = load_backbone(
        "vgg16", weights="random", input_size=32, precision="float32", layer="block2_pool"
    )
    none = AugmentationSpec(copies=0)
    extract(load_manifest(phantom_data), tmp_path / "cache", backbone, augmentation=none)
    head = HeadSpec.choose("logreg", settings={"C": 1.0})
    fit(open_cache(tmp_path / "cache"), head, tmp_path / "run", accuracy_floor=0.1)
    run = load_run(tmp_path / "run")
    export_onnx(run, tmp_path / "run.onnx")
    require_same(run, tmp_path / "run.onnx", phantom_data)


@pytest.mark.usefixtures("two_folds")
def test_a_network_in_bfloat16_is_refused(small_cache: Path, tmp_path: Path) -> None:
    spec = HeadSpec.choose("keras", settings={**SETTINGS["keras"], "precision": "bfloat16"})
    run = load_run(fit(open_cache(small_cache), spec, tmp_path / "run", accuracy_floor=0.1).path)
    with pytest.raises(InputError, match="the head computes in bfloat16, and a graph in float32"):
        export_onnx(run, tmp_path / "run.onnx")


def test_a_bfloat16_run_becomes_a_float32_graph(
    phantom_data: Path, tiny: Backbone, tmp_path: Path
) -> None:
    half = load_backbone(tiny.weights_location, precision="bfloat16")
    none = AugmentationSpec(copies=0)
    extract(load_manifest(phantom_data), tmp_path / "cache", half, augmentation=none)
    head = HeadSpec.choose("logreg", settings={"C": 1.0})
    fit(open_cache(tmp_path / "cache"), head, tmp_path / "run", accuracy_floor=0.1)
    run = load_run(tmp_path / "run")
    written = export_onnx(run, tmp_path / "run.onnx")
    assert written.metadata["precision"] == "float32; the embeddings were made in bfloat16"
    require_same(run, written.path, phantom_data, precision="float32")


def test_the_program_in_the_docs_does_what_featx_does(
    logreg: Path,
    phantom_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = load_run(logreg)
    export_onnx(run, tmp_path / "logreg.onnx")
    (tmp_path / "new_patients").mkdir()
    image = next(find_images([phantom_data / "test"]))
    shutil.copy(image, tmp_path / "new_patients" / "a.png")
    text = (Path(__file__).parents[3] / "docs" / "predict.md").read_text()
    (program,) = (block for block in text.split("```python\n") if "onnxruntime" in block[:60])
    monkeypatch.chdir(tmp_path)
    exec(program.split("```")[0], {})
    score, verdict = capsys.readouterr().out.split()
    (wanted,) = run.predict([image])
    assert float(score) == pytest.approx(wanted.score, abs=1e-3)
    assert verdict == wanted.prediction


class TestRefusals:
    @pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
    def test_a_missing_package_is_named_with_what_installs_it(
        self, logreg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"{package}.*pip install 'featx\[onnx\]'"):
            export_onnx(load_run(logreg), tmp_path / "run.onnx")

    def test_copies_can_t_be_made_in_a_graph(self, logreg: Path, tmp_path: Path) -> None:
        run = load_run(logreg)
        run.record = run.record.model_copy(update={"tta": 2})
        with pytest.raises(InputError, match="averages over 2 augmented copies"):
            export_onnx(run, tmp_path / "run.onnx")

    @pytest.mark.parametrize("difference", [0.0011, float("nan")])
    def test_a_graph_that_scores_otherwise_is_not_written(
        self, logreg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float
    ) -> None:
        monkeypatch.setattr(exporting, "_difference", lambda *_: difference)
        with pytest.raises(FeatxError, match="Nothing was written"):
            export_onnx(load_run(logreg), tmp_path / "run.onnx")
        assert not list(tmp_path.iterdir())

    def test_a_graph_that_scores_otherwise_is_noticed(
        self, logreg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import tensorflow as tf

        monkeypatch.setattr(
            exporting, "as_tensors", lambda _: lambda grid: tf.reduce_mean(grid, axis=(1, 2, 3))
        )
        with pytest.raises(FeatxError, match="differ from featx's by up to"):
            export_onnx(load_run(logreg), tmp_path / "run.onnx")

    def test_a_folder_is_not_written_over(self, logreg: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="it is a folder"):
            export_onnx(load_run(logreg), tmp_path)

    def test_an_image_and_files_of_the_run_are_never_replaced(
        self, logreg: Path, phantom_data: Path, tmp_path: Path
    ) -> None:
        image = Path(shutil.copy(next(phantom_data.rglob("*.png")), tmp_path))
        for path in (image, logreg / "run.json"):
            before = path.read_bytes()
            with pytest.raises(InputError, match="is not replaced"):
                load_run(logreg).export_onnx(path, force=True)
            assert path.read_bytes() == before
