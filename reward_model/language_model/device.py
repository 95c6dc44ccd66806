"""Which device and dtype a model is loaded with."""

from __future__ import annotations

import torch


def choose_dtype() -> tuple[torch.dtype, str]:
    """The fastest dtype that the device computes in, and the reason in words."""
    if choose_device().type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bfloat16: the GPU computes in it"
        return torch.float32, "float32: the GPU has no bfloat16"
    able = torch.cpu.get_capabilities()
    for flag in ("amx_bf16", "avx512_bf16"):
        if able.get(flag):
            return torch.bfloat16, f"bfloat16: the processor has {flag}"
    return torch.float32, "float32: the processor has no bfloat16 arithmetic"


def choose_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
