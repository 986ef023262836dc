"""Readers of files from elsewhere, each with whole files to damage. Hypothesis and atheris use it.

`Target.prepare` makes the surroundings that a file is read in; `Prepared.use` reads it, in every
way that there is, and says what is wrong with a result that is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from featx._run import load_run
from featx.backbones._onnx_network import OnnxOptions, load_onnx
from featx.backbones._onnx_preprocessing import PROCESSOR_NAME, read_configuration
from featx.data import load_manifest
from featx.data._dicom import Pseudonyms
from featx.data._file_facts import FileFacts, read_facts
from featx.errors import FeatxError
from featx.extraction import ExtractionSpec
from featx.fitting import fit
from featx.heads import HeadSpec, load_head
from featx.heads._own_layers import read_head_config
from featx.images import decode
from featx.images._display import decode_for_display
from featx.tuning._storage import JOURNAL_NAME, StudyLocation
from featx_cache import Cache, open_cache
from featx_cache._shards import read_embeddings, read_keys, verify_shard
from tests import archives
from tests.featx.conftest import BACKBONE, CLASSES, contents, write
from tests.fuzz import images
from tests.onnx_models import cnn, vit
from tests.studies import use_study

SIZE = 32


@dataclass(frozen=True)
class Prepared:
    """A file, whole contents of it, and how to read it.

    Attributes
    ----------
    path
        Path of the file to write.
    seeds
        Whole contents.
    use
        Reads the file. Raises FeatxError or returns.
    mend
        Makes checksums of a container right again, so that damage gets to what is behind them.
    """

    path: Path
    seeds: list[bytes]
    use: Callable[[], object]
    mend: Callable[[bytes], bytes] = bytes

    def outcome(self, content: bytes) -> str:
        """Read a content. Return what was said, empty for a result."""
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(self.mend(content))
        try:
            self.use()
        except FeatxError as error:
            said = str(error)
            assert said.strip()
            assert "\n" not in said
            assert re.search(r"unexpected \w+: ", said) is None, said
            return said
        return ""


Prepare = Callable[[Path], Prepared]


def _image(
    name: str, seeds: Callable[[], list[bytes]], mend: Callable[[bytes], bytes] = bytes
) -> Prepare:
    def prepare(folder: Path) -> Prepared:
        path = folder / name
        return Prepared(path, seeds(), lambda: _use_image(path), mend)

    return prepare


def _use_image(path: Path) -> None:
    found = read_facts(path, Pseudonyms(lambda: b"salt"))
    assert isinstance(found, FileFacts)
    assert found.problem or (found.width > 0 and found.height > 0)
    pixels = decode(path, SIZE)
    assert pixels.shape in ((SIZE, SIZE, 1), (SIZE, SIZE, 3))
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels).all()
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert max(decode_for_display(path, SIZE).shape[:2]) == SIZE


def _archive(folder: Path) -> Prepared:
    """An array of images in an ``.npz`` file: the array is damaged, or the archive."""
    path = folder / "x.npz"
    others = {"train_labels.npy": images.npy(np.array([0, 1, 0, 1], np.uint8))}
    arrays = [images.npy(images.grey(4)), images.npy(images.colour(4))]

    def use() -> None:
        manifest = load_manifest(path, classes=("0", "1"))
        assert set(manifest.table["label"]) <= set(manifest.classes)
        _use_image(folder / "x.npz#train_images/1")

    mend = _into_archive("train_images.npy", others)
    return Prepared(path, [*arrays, *map(mend, arrays)], use, mend)


def _into_archive(name: str, others: dict[str, bytes]) -> Callable[[bytes], bytes]:
    """Put a member's bytes into a zip file. An archive stays as it is."""
    return lambda data: data if data[:2] == b"PK" else images.zipped({name: data, **others})


def _manifest(name: str) -> Prepare:
    """A CSV or Parquet manifest of two images that are there."""

    def prepare(folder: Path) -> Prepared:
        for view in ("a.png", "b.png"):
            (folder / view).write_bytes(images.PNG[0])
        path, whole, saved = folder / name, folder / "whole.csv", folder / "saved.csv"
        MANIFEST.to_csv(whole, index=False)
        load_manifest(whole).save(saved)
        if path.suffix == ".parquet":
            MANIFEST.to_parquet(path)
            seeds = [path.read_bytes()]
        else:
            seeds = [whole.read_bytes(), saved.read_bytes(), b"\xef\xbb\xbf" + whole.read_bytes()]

        def use() -> None:
            manifest = load_manifest(path)
            assert set(manifest.table["label"]) == set(manifest.classes)
            assert all(
                (folder / each).resolve().parent == folder for each in manifest.table["path"]
            )

        return Prepared(path, seeds, use)

    return prepare


MANIFEST = pd.DataFrame(
    {
        "path": ["a.png", "b.png"],
        "label": ["NORMAL", "PNEUMONIA"],
        "split": ["train", "test"],
        "group": ["p1", "p2"],
        "age": ["50", "61"],
    }
)


def _head_config(folder: Path) -> Prepared:
    path = folder / "head.yaml"
    return Prepared(path, [text.encode() for text in HEAD_CONFIGS], lambda: use_head_config(path))


def use_head_config(path: Path) -> HeadSpec:
    spec = HeadSpec.choose("keras", settings=read_head_config(path))
    assert HeadSpec.model_validate_json(spec.model_dump_json()) == spec
    return spec


HEAD_CONFIGS = [
    "epochs: 4\nlearning_rate: 0.002\ndense_units: [64, 32]\nclass_weight: none\n",
    "layers:\n  - GlobalAveragePooling2D\n  - Dense: {units: 8, activation: relu}\n"
    "  - Dropout: {rate: 0.3}\n",
    "&a epochs: 3\nlayers: &l\n- class_name: Conv2D\n  config: {filters: 4, kernel_size: [1, 1]}\n"
    "- Flatten: {}\noptimizer: sgd\n",
]


def _record(folder: Path) -> Prepared:
    """``run.json`` of a run that is whole but for it."""
    run = make_run(folder)
    path = run / "run.json"
    whole = load_run(run).record

    def use() -> None:
        assert load_run(run).record == whole, "damage went unnoticed"

    return Prepared(path, [path.read_bytes()], use)


def make_run(folder: Path) -> Path:
    run = folder / "run"
    fit(make_cache(folder / "cache"), HeadSpec.choose("logreg"), run, accuracy_floor=0.5)
    return run


def make_cache(folder: Path) -> Cache:
    spec = ExtractionSpec.model_validate({"backbone": BACKBONE, "augmentation": {"copies": 0}})
    return write(folder, contents(24, 0), spec, CLASSES)


def _shard(folder: Path) -> Prepared:
    path = sorted((make_cache(folder / "cache").path / "shards").iterdir())[0]
    embeddings, (keys, spec) = read_embeddings(path), verify_shard(path)

    def use() -> None:
        read_keys(path)
        read_embeddings(path, np.array([3, 5, 4]))
        found, said = verify_shard(path)
        assert (found.pairs(), said) == (keys.pairs(), spec), "damage went unnoticed"
        np.testing.assert_array_equal(read_embeddings(path), embeddings)

    return Prepared(path, [path.read_bytes()], use)


def _index(folder: Path) -> Prepared:
    """The index of a cache, whose checksum is right only where nothing was changed."""
    cache = make_cache(folder / "cache")
    path = cache.path / "index.h5"
    images_, embeddings = cache.images, cache.read(np.arange(len(cache.rows)))

    def use() -> None:
        found = open_cache(cache.path)
        assert len(found.details) == len(found.images)
        assert all(error is None for _, error in found.verify())
        pd.testing.assert_frame_equal(found.images, images_)
        np.testing.assert_array_equal(found.read(np.arange(len(found.rows))), embeddings)

    return Prepared(path, [path.read_bytes()], use)


def _journal(folder: Path) -> Prepared:
    place = StudyLocation(folder, None, "study")
    for _ in range(2):
        use_study(place)
    path = folder / JOURNAL_NAME
    return Prepared(path, [path.read_bytes()], lambda: use_study(place))


def _head(folder: Path) -> Prepared:
    """A head of scikit-learn: what describes it is damaged, or the archive."""
    path = make_run(folder) / "head.skops"
    whole = archives.members(path)
    description = whole.pop("schema.json")

    def use() -> None:
        load_head(path)

    mend = _into_archive("schema.json", whole)
    return Prepared(path, [description, path.read_bytes()], use, mend)


def _onnx(folder: Path) -> Prepared:
    """A network, which is loaded and run once."""
    path, options = folder / "model.onnx", OnnxOptions(preprocess="none")
    models = [cnn(size=16, width=2), vit(size=16, width=4, blocks=1)]
    seeds = [model.SerializeToString() for model in models]
    return Prepared(path, seeds, lambda: load_onnx(str(path), options))


def _onnx_configuration(folder: Path) -> Prepared:
    seeds = [
        b'{"do_normalize": true, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.4, 0.3],'
        b' "do_rescale": true, "rescale_factor": 0.0039, "size": {"height": 32, "width": 32}}',
        b'{"image_mean": 0.5, "image_std": 0.5, "size": 48, "do_center_crop": true,'
        b' "crop_size": {"height": 32, "width": 32}, "resample": null}',
    ]
    return Prepared(folder / PROCESSOR_NAME, seeds, lambda: read_configuration(folder))


TARGETS: dict[str, Prepare] = {
    "jpeg": _image("x.jpeg", lambda: images.JPEG),
    "png": _image("x.png", lambda: images.PNG),
    "png, checksums right": _image("x.png", lambda: images.PNG, images.with_crcs),
    "tiff": _image("x.tif", lambda: images.TIFF),
    "bmp": _image("x.bmp", lambda: images.BMP),
    "webp": _image("x", lambda: images.WEBP),
    "dicom": _image("x.dcm", images.all_dicom),
    "dicom without its name": _image("x", images.all_dicom),
    "npz": _archive,
    "csv": _manifest("m.csv"),
    "parquet": _manifest("m.parquet"),
    "head config": _head_config,
    "run.json": _record,
    "shard": _shard,
    "index": _index,
    "journal": _journal,
    "head": _head,
    "onnx": _onnx,
    "onnx configuration": _onnx_configuration,
}
