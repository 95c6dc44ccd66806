"""Which device and precision a model is loaded with."""

from __future__ import annotations

from pathlib import Path

import torch


def choose_precision(device: torch.device | None = None) -> tuple[torch.dtype, str]:
    """The fastest precision that this processor computes in, and the reason in words."""
    device = device or choose_device()
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bfloat16: the GPU computes in it"
        return torch.float32, "float32: the GPU has no bfloat16"
    flags = _processor_flags()
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in flags:
            return torch.bfloat16, f"bfloat16: the processor has {flag}"
    return torch.float32, "float32: the processor has no bfloat16 arithmetic"


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _processor_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split())
    except OSError:
        pass
    return set()
