"""Keras's settings for other programs change nothing here: each case is a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.backbones import Backbone, load_backbone
from featx.errors import InputError

PROGRAM = """
import hashlib
import numpy as np


from featx.backbones import load_backbone
from featx.heads import KerasHead
backbone = load_backbone("vgg16", weights="random", input_size=32, precision="float32")
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
embeddings = backbone.embed(images)
y = np.arange(8) % 2
X = np.random.default_rng(0).normal(size=(8, 2, 2, 4)).astype(np.float32)
head = KerasHead(epochs=1, architecture="gap").fit(X, y)
import keras
print(keras.config.floatx(), keras.config.image_data_format(), backbone.spec.fingerprint,
      hashlib.sha256(embeddings.tobytes()).hexdigest(),
      hashlib.sha256(head.predict_proba(X).tobytes()).hexdigest())
"""
PLAIN = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


def run(home: Path, variable: str = "", **settings: str) -> tuple[str, ...]:
    """Return what the program prints where keras.json has these settings."""
    home.mkdir()
    (home / "keras.json").write_text(json.dumps({**PLAIN, "backend": "tensorflow", **settings}))
    environment = {**os.environ, "KERAS_HOME": str(home), "KERAS_BACKEND": variable}
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    return tuple(done.stdout.split()) or (done.stderr.splitlines()[-1],)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return run(tmp_path_factory.mktemp("plain") / "home")


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"floatx": "float16"}, ""),
        ({"floatx": "float64", "image_data_format": "channels_first"}, ""),
        ({"backend": "torch"}, "jax"),
    ],
    ids=["float16", "float64, channels first", "another backend"],
)
def test_embeddings_and_heads_are_the_same_bits_and_the_settings_stay(
    settings: dict[str, str], variable: str, plain: tuple[str, ...], tmp_path: Path
) -> None:
    found = run(tmp_path / "home", variable, **settings)
    assert found[2:] == plain[2:]
    assert found[:2] == tuple(({**PLAIN, **settings})[n] for n in ("floatx", "image_data_format"))


@pytest.mark.long
def test_the_embeddings_are_those_of_this_process(
    plain: tuple[str, ...], tiny_ncnn: Backbone
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
    digest = hashlib.sha256(tiny_ncnn.embed(images).tobytes()).hexdigest()
    assert plain[2:4] == (tiny_ncnn.spec.fingerprint, digest)


def test_another_backend_that_is_loaded_already_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keras.config.backend", lambda: "torch")
    with pytest.raises(InputError, match=r"Keras runs on torch .* needs TensorFlow"):
        load_backbone("vgg16", weights="random", input_size=32)
