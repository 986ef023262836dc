"""Device of the forward pass. There is no GPU here: TensorFlow's list of them is made up."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from featx.backbones import load_backbone
from featx.backbones._device import capability, gpu_count, placement, resolve_device
from featx.backbones._load import load_recipe
from featx.errors import InputError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two GPUs that TensorFlow is made to see, and what was asked of them."""
    import tensorflow as tf

    asked: dict[str, Any] = {"grow": [], "details": {}}
    experimental = SimpleNamespace(
        get_device_details=lambda _: asked["details"],
        set_memory_growth=lambda gpu, on: asked["grow"].append((gpu, on)),
    )
    fake = SimpleNamespace(
        list_physical_devices=lambda kind: {"GPU": ["one", "two"]}.get(kind, []),
        experimental=experimental,
    )
    monkeypatch.setattr(tf, "config", fake)
    return asked


def test_without_a_gpu_auto_is_the_cpu() -> None:
    if gpu_count():
        pytest.skip("this machine has a GPU")
    assert resolve_device("auto") == "cpu"
    assert load_backbone("vgg16", weights="random", input_size=32).device == "cpu"
    with pytest.raises(InputError, match=r"no gpu:0: TensorFlow sees no GPU\. Use `device` cpu"):
        resolve_device("gpu:0")


def test_auto_is_the_first_gpu_and_its_memory_grows(gpus: dict[str, Any]) -> None:
    assert resolve_device("auto") == "gpu:0"
    # Both: TensorFlow refuses to start where they differ.
    assert gpus["grow"] == [("one", True), ("two", True)]
    assert resolve_device("gpu:1") == "gpu:1"


def test_the_cpu_can_be_had_where_there_is_a_gpu(gpus: dict[str, Any]) -> None:
    assert resolve_device("cpu") == "cpu"
    assert gpus["grow"] == []
    assert capability("cpu") is None


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("choice", ["gpu", "gpu:", "gpu:-1", "cuda:0", "GPU:0", ""])
def test_anything_else_is_refused(choice: str) -> None:
    with pytest.raises(InputError, match=r"Give auto, cpu, or gpu:N"):
        resolve_device(choice)


@pytest.mark.usefixtures("gpus")
def test_a_gpu_too_many_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no gpu:2: TensorFlow sees 2 GPUs"):
        resolve_device("gpu:2")


def test_capability_is_the_device_s_own(gpus: dict[str, Any]) -> None:
    assert capability("gpu:1") is None
    gpus["details"] = {"compute_capability": (8, 6)}
    assert capability("gpu:1") == (8, 6)


def test_memory_that_is_held_already_is_no_error(
    gpus: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def late(*_: Any) -> None:
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", late)
    assert resolve_device("gpu:0") == "gpu:0"
    assert gpus["grow"] == []


def test_gpus_that_differ_in_memory_growth_are_what_tensorflow_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf
    from tensorflow.python.eager import context

    one, two = (tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in (0, 1))
    fresh = context.Context()
    fresh._physical_devices = fresh._visible_device_list = [one, two]
    monkeypatch.setattr(context, "_context", fresh)
    fresh._memory_growth_map = {one: True, two: False}
    with pytest.raises(ValueError, match="Memory growth cannot differ"):
        fresh._compute_gpu_options()
    fresh._memory_growth_map = {one: False, two: False}
    assert resolve_device("auto") == "gpu:0"
    assert fresh._compute_gpu_options().allow_growth


def test_a_recipe_keeps_the_cpu_and_leaves_the_gpu_to_each_process() -> None:
    options: Any = {"weights": "random", "input_size": 32, "precision": "float32"}
    cpu = load_backbone("vgg16", **options, device="cpu").recipe
    assert cpu.device == "cpu"
    assert load_backbone("vgg16", **options).recipe.device == "auto"
    assert pickle.loads(pickle.dumps(cpu)) == cpu
    assert load_recipe(cpu).recipe == cpu
    with pytest.raises(InputError, match="no gpu:9"):
        load_recipe(cpu, device="gpu:9")


def test_work_is_placed_where_it_was_asked_for() -> None:
    import tensorflow as tf

    with placement("cpu"):
        assert "CPU:0" in tf.constant(1.0).device
