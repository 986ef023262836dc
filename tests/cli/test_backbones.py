"""`featx backbones` tells what each network costs and gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from featx.backbones import describe_backbones, load_backbone
from featx.backbones._registry import architectures
from featx.errors import InputError

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


def test_prints_parameters_shape_and_bytes(featx: Featx) -> None:
    answer = featx("backbones", "vgg19", "MobileNet", "--input-size", "64", "--json")
    assert answer.code == 0
    vgg, mobile = json.loads(answer.out)
    loaded = load_backbone("vgg19", weights="random", input_size=64)
    assert vgg["name"] == "vgg19"
    assert tuple(vgg["embedding_shape"]) == loaded.embedding_shape == (2, 2, 512)
    assert vgg["embedding_bytes"] == 2 * 2 * 512 * 2
    assert vgg["parameters"] == 20_024_384  # Simonyan and Zisserman 2014, without the top
    assert mobile["name"] == "mobilenet"
    assert mobile["problem"] == ""


def test_the_table_names_the_default_input(featx: Featx) -> None:
    answer = featx("backbones", "vgg16")
    assert answer.code == 0
    (line,) = [line for line in answer.out.splitlines() if "vgg16" in line]
    assert line.split() == ["vgg16", "300x300", "14,714,688", "9x9x512", "82.9"]


def test_two_networks_say_when_to_take_them(featx: Featx) -> None:
    answer = featx("backbones", "featx-mini", "vgg19")
    assert answer.code == 0
    mini, vgg = [line for line in answer.out.splitlines() if "300x300" in line]
    assert mini.split()[:5] == ["featx-mini", "300x300", "1,043,776", "9x9x512", "82.9"]
    assert "to try things: small and fast, comes with featx" in mini
    assert "to publish" in vgg


def test_a_network_that_is_too_large_for_the_input_is_listed_with_the_reason(
    featx: Featx,
) -> None:
    answer = featx("backbones", "vgg16", "--input-size", "20", "--json")
    assert answer.code == 0
    (entry,) = json.loads(answer.out)
    assert entry["embedding_shape"] == []
    assert "32x32" in entry["problem"]


def test_bad_input_is_one_line(featx: Featx) -> None:
    answer = featx("backbones", "vgg18")
    assert answer.code == 2
    assert "Did you mean vgg1" in answer.err
    assert featx("backbones", "--input-size", "0").code == 2


def test_all_of_them_are_known() -> None:
    assert {"vgg19", "resnet50", "densenet121", "efficientnetb0"} <= architectures().keys()
    with pytest.raises(InputError):
        next(describe_backbones(["nothing"]))
