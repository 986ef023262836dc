"""The number format follows the hardware, or the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featx.backbones import _precision as precision
from featx.backbones._precision import PrecisionChoice, resolve_precision


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "gpu_count", lambda: 0)


@pytest.mark.parametrize("choice", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_is_taken(
    choice: PrecisionChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "gpu_count", lambda: pytest.fail("looked at hardware"))
    assert resolve_precision(choice) == (choice, "as asked for")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("flags", "expected", "reason"),
    [
        ({"avx2", "avx512f"}, "float32", "no bfloat16 arithmetic"),
        (set(), "float32", "no bfloat16 arithmetic"),
        ({"avx512f", "avx512_bf16"}, "bfloat16", "avx512_bf16"),
        ({"avx512_bf16", "amx_bf16", "amx_tile"}, "bfloat16", "amx_bf16"),
    ],
)
def test_a_cpu_is_judged_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str, reason: str
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: flags)
    chosen, why = resolve_precision("auto")
    assert chosen == expected
    assert reason in why


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")],
)
def test_a_gpu_is_judged_by_its_compute_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(precision, "gpu_count", lambda: 1)
    monkeypatch.setattr(precision, "capability", lambda _: capability)
    # A GPU does the work, whatever the CPU can do.
    monkeypatch.setattr(precision, "_cpu_flags", lambda: {"amx_bf16"})
    chosen, why = resolve_precision("auto")
    assert chosen == expected
    assert f"{capability[0]}.{capability[1]}" in why


def test_flags_are_read_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nprocessor\t: 1\nflags\t\t: fpu\n"
    monkeypatch.setattr(Path, "read_text", lambda _: text)
    assert {"fpu", "avx2", "amx_bf16"} <= precision._cpu_flags()


@pytest.mark.usefixtures("no_gpu")
def test_without_a_list_of_flags_float32_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert resolve_precision("auto")[0] == "float32"
