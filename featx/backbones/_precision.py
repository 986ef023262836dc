"""Number format of the forward pass, by what the hardware does fast."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from featx.backbones._device import capability, gpu_count
from featx.backbones._spec import Precision

PrecisionChoice = Literal["auto", "float32", "bfloat16", "float16"]


def resolve_precision(choice: PrecisionChoice, device: str = "auto") -> tuple[Precision, str]:
    """Return the precision to use, and why in a few words.

    ``auto`` takes bfloat16 if the CPU has AVX-512 BF16 or AMX, or the GPU has compute capability 8
    or more. It takes float16 on GPUs of capability 7, else float32.
    """
    if choice != "auto":
        return choice, "as asked for"
    if device == "auto":
        device = "gpu:0" if gpu_count() else "cpu"
    if device != "cpu":
        found = capability(device)
        if found is None:
            return "float32", "a GPU of unknown compute capability"
        number = f"GPU of compute capability {found[0]}.{found[1]}"
        if found[0] >= 8:
            return "bfloat16", number
        return ("float16", number) if found[0] == 7 else ("float32", number)
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in _cpu_flags():
            return "bfloat16", f"the CPU has {flag}"
    return "float32", "the CPU has no bfloat16 arithmetic"


def _cpu_flags() -> set[str]:
    """Return the CPU's feature flags, or none if the system doesn't list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
