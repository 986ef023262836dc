"""Keras files made to do harm, as heads and backbones: refused in one line, nothing was done."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.backbones import load_backbone
from featx.heads import load_head
from tests.archives import (
    Bomb,
    Members,
    Spoil,
    explode,
    member,
    members,
    npz_of_objects,
    untouched,
    without,
    write,
)
from tests.refusing import refused

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("unharmed")]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a ``.keras`` file that is good as a head and as a backbone."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 2),
            layers.GlobalMaxPooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(path := tmp_path_factory.mktemp("network") / "good.keras")
    return members(path)


def refusals(path: Path) -> list[str]:
    """Load a file as head and as backbone. Return what was said."""
    return [refused(load_head, path), refused(lambda path: load_backbone(str(path)), path)]


# Changes of a network's weights.

DATASET = "layers/conv2d/vars/0"


def weights(change: Callable[[h5py.File, Path], None]) -> Spoil:
    def spoil(content: Members, folder: Path) -> Members:
        buffer = io.BytesIO(content["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            change(file, folder)
        return content | {"model.weights.h5": buffer.getvalue()}

    return spoil


def external(file: h5py.File, folder: Path) -> None:
    shape = file[DATASET].shape
    del file[DATASET]
    place = [(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset(DATASET, shape, "f4", external=place)


def linked(file: h5py.File, folder: Path) -> None:
    del file[DATASET]
    file[DATASET] = h5py.ExternalLink(str(folder / "secret.h5"), "x")


def soft_linked(file: h5py.File, folder: Path) -> None:
    del folder
    file.move(DATASET, "elsewhere")
    file[DATASET] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File, folder: Path) -> None:
    shape = file[DATASET].shape
    del file[DATASET]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(folder / "secret.h5"), "x", shape)
    file.create_virtual_dataset(DATASET, layout)


def endless(file: h5py.File, folder: Path) -> None:
    del folder, file[DATASET]
    file.create_dataset(DATASET, (10**12,), "f4", chunks=(1000,))


def texts(file: h5py.File, folder: Path) -> None:
    del folder
    shape = file[DATASET].shape
    del file[DATASET]
    file.create_dataset(DATASET, shape, h5py.string_dtype())


# Changes of a network's description.


def config(change: Callable[[dict[str, Any], Path], object]) -> Spoil:
    def spoil(content: Members, folder: Path) -> Members:
        described = json.loads(content["config.json"])
        change(described, folder)
        return content | {"config.json": json.dumps(described).encode()}

    return spoil


def layer(package: str, name: str, place: int = 1, **settings: Any) -> Spoil:
    """Put one layer more into the network."""
    settings = {"name": "foreign", **settings}
    described = {
        "module": package,
        "class_name": name,
        "config": settings,
        "registered_name": None,
    }

    def change(whole: dict[str, Any], folder: Path) -> None:
        text = json.dumps(described).replace("FOLDER", str(folder))
        whole["config"]["layers"].insert(place, json.loads(text))

    return config(change)


def function(module: str, name: str) -> Spoil:
    """Make a function the activation of a layer."""
    described = {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }

    def change(whole: dict[str, Any], folder: Path) -> None:
        del folder
        whole["config"]["layers"][1]["config"]["activation"] = described

    return config(change)


LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAA=", "defaults": None}}
KERAS: dict[str, Spoil] = {
    "weights in another file": weights(external),
    "weights linked to another file": weights(linked),
    "weights linked within": weights(soft_linked),
    "weights virtual": weights(virtual),
    "weights of 10^12 rows": weights(endless),
    "weights of text": weights(texts),
    "weights that are no HDF5": member("model.weights.h5"),
    "weights missing": without("model.weights.h5"),
    "weights of pickled objects": lambda content, folder: without("model.weights.h5")(
        content | {"model.weights.npz": npz_of_objects()}, folder
    ),
    "slip up": member("../../escaped"),
    "slip from the assets": member("assets/../../escaped"),
    "slip to the root": member("FOLDER/escaped"),
    "slip with backslashes": member("..\\escaped"),
    "slip to a drive": member("C:\\escaped"),
    "Lambda": layer("keras.layers", "Lambda", function=LAMBDA),
    "Lambda of a name": layer("keras.layers", "Lambda", function="os.system"),
    "Lambda in a wrapper": layer(
        "keras.layers",
        "TimeDistributed",
        layer={"module": "keras.layers", "class_name": "Lambda", "config": {"function": LAMBDA}},
    ),
    "a process": layer("subprocess", "Popen", args=["touch", "FOLDER/escaped"]),
    "a class of the library": layer("featx_cache.files._claims", "Claims", folder="FOLDER/escaped"),
    "a saved model of TensorFlow": layer("keras.layers", "TFSMLayer", filepath="FOLDER"),
    "a model of PyTorch": layer("keras.layers", "TorchModuleWrapper", module="gASV"),
    "a vocabulary in a file": layer("keras.layers", "StringLookup", vocabulary="FOLDER/secret"),
    "os.system": function("os", "system"),
    "builtins.eval": function("builtins", "eval"),
    "a download": function("keras.utils", "get_file"),
    "another model": function("keras.saving", "load_model"),
    "the switch of safe mode": function("keras.config", "enable_unsafe_deserialization"),
    "10^12 units": layer("keras.layers", "Dense", place=2, units=10**12),
    "10^9 units": layer("keras.layers", "Dense", place=3, units=10**9),
    "more weights than stored": layer("keras.layers", "Dense", place=3, units=20_000),
    "outputs of 10^12 pixels": layer("keras.layers", "UpSampling2D", place=2, size=[10**5, 10**5]),
    "a picture of 10^12 pixels": layer(
        "keras.layers", "ZeroPadding2D", place=2, padding=[[0, 10**6], [0, 10**6]]
    ),
    "no JSON": member("config.json"),
    "no model": member("config.json", b"null"),
    "a list": member("config.json", b"[]"),
    "a text": member("config.json", b'"model"'),
    "deep JSON": member("config.json", b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "no description": without("config.json"),
    "an optimizer": member(
        "config.json",
        b'{"module": "keras.optimizers", "class_name": "Adam", "config": {}, '
        b'"registered_name": null}',
    ),
}
"""Faults of a ``.keras`` file."""


class TestKeras:
    def test_the_network_is_good_as_long_as_nothing_is_done_to_it(
        self, network: Members, tmp_path: Path
    ) -> None:
        path = write(tmp_path / "head.keras", network)
        assert load_head(path).predict_proba(np.zeros((2, 8, 8, 1))).shape == (2, 2)
        assert load_backbone(str(path)).spec.input_size == 8

    @pytest.mark.parametrize("harm", KERAS)
    def test_is_refused(self, network: Members, tmp_path: Path, harm: str) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "secret").write_bytes(bytes(1000))
        with h5py.File(folder / "secret.h5", "w") as file:
            file["x"] = np.ones((2, 2, 1, 4), "f4")
        path = write(folder / "head.keras", KERAS[harm](network, folder))
        refusals(path)
        assert untouched(tmp_path, "folder", "secret", "secret.h5", "head.keras")

    @pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "assets/x"])
    def test_that_explodes_is_refused(self, network: Members, tmp_path: Path, name: str) -> None:
        path = explode(tmp_path / "head.keras", network, name)
        assert all("would be unpacked to 268435456" in said for said in refusals(path))

    def test_with_a_member_twice_is_refused(self, network: Members, tmp_path: Path) -> None:
        """One reader may look at the first and another at the second."""
        path = write(tmp_path / "head.keras", network)
        with (
            pytest.warns(UserWarning, match="Duplicate name"),
            zipfile.ZipFile(path, "a") as archive,
        ):
            archive.writestr("config.json", network["config.json"])
        assert all("config.json is there twice" in said for said in refusals(path))

    @pytest.mark.parametrize("inside", ["a pickle", "HDF5", "text", "nothing", "a folder"])
    def test_by_name_only_is_refused(self, tmp_path: Path, inside: str) -> None:
        path = tmp_path / "head.keras"
        if inside == "a folder":
            path.mkdir()
        elif inside == "HDF5":
            with h5py.File(path, "w") as file:
                file.attrs["model_config"] = json.dumps({"class_name": "Lambda", "config": {}})
        else:
            pickled = pickle.dumps(Bomb(tmp_path / "exploded"))
            path.write_bytes({"a pickle": pickled, "text": b"model"}.get(inside, b""))
        refusals(path)
        assert untouched(tmp_path, "head.keras")
