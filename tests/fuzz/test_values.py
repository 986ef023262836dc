"""Files of the right form with values that nobody writes: a result, or one error in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import settings
from hypothesis import strategies as st

from featx._run import load_run
from featx.heads import HeadSpec
from featx.heads._own_layers import build_layers
from featx.heads._settings import KerasSettings
from featx.runs._record import checksum
from tests.fuzz.conftest import FORMS, Limits, try_all
from tests.fuzz.mutations import ANY, ODD, as_json, changed
from tests.fuzz.targets import TARGETS, Prepared, make_run, use_head_config

pytestmark = pytest.mark.timeout(180)


CELL = st.one_of(
    st.sampled_from(
        [
            *("a.png", "b.png", "A", "B", "train", "test", "p1", "", "NORMAL", "normal", " A "),
            *("../a.png", "/etc/passwd", "a\0.png", "./a.png", "nan", "1e999", "-1", "9" * 30),
            *('"', '""', 'a"b', "a,b", "a;b", "a\nb", "a\rb", "\ufeffpath", "é\u0301", "x" * 200),
            *("\ud800", "\u202e", "=1+1", "x.npz#train_images/0", "#", "0" * 64),
        ]
    ),
    st.text(max_size=6),
)
NAMES = ["path", "label", "split", "group", "sha256", "width", "height", "mode", "source", "age"]
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=6), max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A manifest: names that mostly are those of featx, any cells, any dialect and encoding."""
    names = draw(
        st.one_of(
            st.just(["path", "label"]),
            st.lists(st.one_of(st.sampled_from(NAMES), CELL), max_size=6),
            st.just(NAMES),
        )
    )
    rows = draw(ROWS)
    if draw(st.booleans()):  # among others that are right
        rows = [["a.png", "NORMAL"], *rows, ["b.png", "PNEUMONIA"]]
    if draw(st.booleans()):  # as many cells as names
        rows = [(row * len(names))[: len(names)] for row in rows]
    separator, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    ways: list[Callable[[str], str]] = [str, '"{}"'.format, quoted]
    quote = draw(st.sampled_from(ways))
    text = end.join(separator.join(map(quote, row)) for row in [names, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


class TestManifests:
    @FORMS
    def test_of_any_cells(self, limits: Limits, how: settings) -> None:
        try_all(limits, how, tables(), TARGETS["csv"](limits.folder))


LAYERS = ["Dense", "Conv2D", "Flatten", "GlobalAveragePooling2D", "Dropout", "BatchNormalization"]
FOREIGN = ["Lambda", "LSTM", "Bidirectional", "TimeDistributed", "Layer", "RandomFlip", "os.system"]
ARGUMENTS = ["units", "filters", "kernel_size", "rate", "activation", "layer", "axis", "function"]
SMALL = st.sampled_from([1, 2, 3, [1, 1], 0.5, "relu", "sigmoid", None, {"class_name": "Dense"}])
LAYER = st.one_of(
    st.sampled_from([*LAYERS, *FOREIGN]),
    st.dictionaries(
        st.sampled_from([*LAYERS, *FOREIGN, "class_name", "config"]),
        st.one_of(ODD, st.dictionaries(st.sampled_from(ARGUMENTS), SMALL | ODD, max_size=3)),
        max_size=2,
    ),
    ODD,
)
LARGE = [
    "GlobalAveragePooling2D, {Dense: {units: 1000000000000}}",
    "Flatten, {Dense: {units: 200000000}}",
    "{UpSampling2D: {size: 100000}}",
    "{ZeroPadding2D: {padding: 100000}}",
    "{Conv2D: {filters: 1000000000, kernel_size: 2}}",
    "{Reshape: {target_shape: [-1, 1000000000000]}}",
    "Flatten, {RepeatVector: {n: 1000000000000}}",
    "{Conv2D: {filters: 4, kernel_size: 2, strides: 0}}",
]
SETTINGS = st.dictionaries(
    st.sampled_from([*KerasSettings.model_fields, "unknown"]),
    SMALL | ODD | st.lists(LAYER, max_size=4),
    max_size=4,
)
TEXTS = st.one_of(
    SETTINGS.map(lambda value: yaml.dump(value, allow_unicode=True)),
    st.fixed_dictionaries({"layers": st.lists(LAYER, max_size=4)}).map(yaml.dump),
    ANY.map(yaml.dump),
    st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t0.~", max_size=40),
    st.sampled_from(
        [
            "!!python/object/apply:os.system ['true']",
            "!!python/name:os.system",
            "a: !!timestamp 2026-99-99",
            "a: 2026-13-45",
            "a: !!binary '*'",
            "a: " + "9" * 5000,
            "a: 1:99999999999:99",
            "[" * 5000,
            "a:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 300)),
            "&a [*a]",
            "layers: &a [*a]",
            "a: &a {b: *a}",
            "? {a: b}\n: c",
            "a: &a [" + "x," * 9 + "]\n" + "".join(
                f"{c}: &{c} [{','.join([f'*{b}'] * 9)}]\n"
                for b, c in zip("abcdefghijkl", "bcdefghijklm", strict=True)
            ),
            "layers:\n" + "- Dense: {units: 1}\n" * 3000,
            "x" * 200_000,
        ]
    ),
)  # fmt: skip
"""YAML that PyYAML wrote, and what it has never written."""


def build_head(path: Path) -> None:
    settings = use_head_config(path).keras
    assert settings is not None
    if settings.layers is not None:
        network = build_layers(settings.layers, (2, 2, 4), iter(range(100_000)))
        assert network.output_shape == (None, 1)


class TestHeadConfigs:
    @FORMS
    def test_of_any_settings(self, limits: Limits, how: settings) -> None:
        path = limits.folder / "head.yaml"
        texts = TEXTS.map(lambda text: text.encode(errors="surrogatepass"))
        prepared = Prepared(path, [], lambda: build_head(path))
        assert prepared.outcome(b"layers: [Flatten]") == ""  # which imports Keras
        try_all(limits, how, texts, prepared)

    @pytest.mark.parametrize("layers", LARGE)
    def test_that_would_fill_the_memory_or_the_time(self, limits: Limits, layers: str) -> None:
        path = limits.folder / "head.yaml"
        prepared = Prepared(path, [], lambda: build_head(path))
        assert prepared.outcome(b"layers: [Flatten]") == ""  # which imports Keras
        with limits():
            assert "can't be built" in prepared.outcome(f"layers: [{layers}, Flatten]".encode())


class TestRecords:
    @FORMS
    def test_of_any_values_with_a_right_checksum(self, limits: Limits, how: settings) -> None:
        """As somebody would change them who means it."""
        run = make_run(limits.folder)
        path = run / "run.json"
        whole = json.loads(path.read_text())

        def signed(values: dict[str, Any]) -> bytes:
            return as_json(values | {"checksum": checksum(values)})

        def use() -> None:
            opened = load_run(run)
            scores = opened.score(np.zeros((2, 2, 2, 8), np.float16))
            assert opened.probability(scores).shape == (2,)
            assert HeadSpec.model_validate(opened.record.head.model_dump()) == opened.record.head

        try_all(limits, how, changed(whole).map(signed), Prepared(path, [], use))
