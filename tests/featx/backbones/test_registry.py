"""Networks by name."""

from __future__ import annotations

import pytest

from featx.backbones import list_backbones
from featx.backbones._registry import architecture, architectures
from featx.errors import InputError


def test_the_networks_of_keras_are_known_in_lower_case() -> None:
    known = set(architectures())
    assert {"vgg16", "vgg19", "resnet50", "densenet121", "efficientnetb0", "xception"} <= known
    assert all(name == name.lower() for name in known)
    assert len(known) > 30


def test_featx_mini_comes_first_and_the_others_by_name() -> None:
    mini, *others = list_backbones()
    assert mini == "featx-mini"
    assert others == sorted(others)
    assert len(others) > 30
    assert list_backbones("*mini") == ["featx-mini"]


@pytest.mark.parametrize("name", ["vgg19", "VGG19", "vgg-19", "Vgg_19"])
def test_case_and_hyphens_do_not_matter(name: str) -> None:
    assert architecture(name).name == "vgg19"


def test_a_network_brings_its_own_preprocessing() -> None:
    import keras

    assert architecture("vgg19").preprocess_input is keras.applications.vgg19.preprocess_input
    assert (
        architecture("resnet50v2").preprocess_input is keras.applications.resnet_v2.preprocess_input
    )
    assert architecture("vgg19").build is keras.applications.VGG19


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("vgg18", "vgg"),
        ("resnet5", "resnet50"),
        ("efficientnet", "effic"),
        ("featxmin", "featx-mini"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_a_suggestion(
    name: str, suggestion: str
) -> None:
    with pytest.raises(InputError, match=rf"no backbone '{name}'.*Did you mean {suggestion}"):
        architecture(name)


def test_any_other_name_is_answered_with_how_to_list_them() -> None:
    with pytest.raises(InputError, match=r"no backbone '\?'\. `featx.backbones.list_backbones`"):
        architecture("?")
