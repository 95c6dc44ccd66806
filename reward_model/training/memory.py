"""What memory tuning a network takes, known before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from data.runs.checks import GIB, MEMORY, Checks
from reward_model.language_model.render import Rendered
from reward_model.training.micro_batches import Activations, ForwardPass

MEASURED = 64
"""Tokens of the text whose activations are measured."""
HELD = 2.25
"""What a pass holds at most, in bytes that it keeps: with gradients on their way, and the gaps that
an allocator leaves (1.8 to 2.1 were measured with glibc's)."""
SHARE = 0.1
"""Of all memory, for the activations of a micro-batch where two texts take less."""


@dataclass(frozen=True)
class TuningMemory:
    """Bytes that tuning takes at its peak, by what for."""

    weights: int
    """The network's, with what is trained."""
    training: int
    """Gradients of what is trained, and AdamW's two averages."""
    activations: Activations
    room: float
    """For the activations of one micro-batch."""

    @property
    def peak(self) -> float:
        return self.weights + self.training + HELD * self.room

    @property
    def sentence(self) -> str:
        """For people."""
        parts = {
            "weights": self.weights,
            "gradients and optimiser": self.training,
            "activations of a micro-batch": self.room,
            "copies and gaps": self.peak - self.weights - self.training - self.room,
        }
        of = ", ".join(f"{words} {size / GIB:.2f}" for words, size in parts.items())
        return f"tuning takes up to {self.peak / GIB:.2f} GiB ({of})"


def tuning_memory(model: nn.Module, texts: Sequence[Rendered], run: ForwardPass) -> TuningMemory:
    """What tuning this network on these texts will take.

    run: what a step asks of the network for N texts, (N, ...). A micro-batch has room for a
    comparison of the two longest texts; beyond that for a share of a GPU, which small ones would
    leave idle, and in main memory for no more than the weights take.
    """
    activations = measure_activations(model, texts, run)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    longest = max(texts, key=lambda text: len(text.ids))
    device = next(model.parameters()).device
    spare = min(float(weights), SHARE * psutil.virtual_memory().total)
    if device.type == "cuda":
        spare = SHARE * torch.cuda.mem_get_info(device)[1]
    room = max(activations.of([longest, longest]), spare)
    return TuningMemory(weights, 3 * 4 * trained, activations, room)


def measure_activations(
    model: nn.Module, texts: Sequence[Rendered], run: ForwardPass
) -> Activations:
    """What the network keeps of a short text and of one twice as long, as a parabola through both.

    A quarter of both is prompt.
    """
    ids = 4 * max((text.ids for text in texts), key=len)
    n = max(2, min(MEASURED, len(ids) // 4) // 2)
    with torch.random.fork_rng():  # so that a run is the same with or without it
        short, long = (
            _kept_bytes(model, run, Rendered(ids[: -(-size // 4)], ids[-(-size // 4) : size]))
            for size in (n, 2 * n)
        )
    square = max(0.0, (long - 2 * short) / (2 * n * n))
    return Activations(short / n - square * n, square)


def _kept_bytes(model: nn.Module, run: ForwardPass, text: Rendered) -> int:
    """Bytes that one pass keeps for its gradient, beside the model's own."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run([text])
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)


def check_memory(memory: TuningMemory, members: int, device: torch.device, folder: Path) -> None:
    """Say what tuning will take and write it to the run's folder, before the first step.

    members: how many are to be tuned in turn, whose networks stay; the first is loaded already.
    Raises ValueError, with the remedy, where there is not as much memory.
    """
    need = memory.peak + (members - 1) * memory.weights
    free = psutil.virtual_memory().available
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + idle
    there = free + memory.weights
    checks = Checks()
    checks.add(
        "memory for tuning", need <= MEMORY * there,
        f"{need / GIB:.1f} GiB of {there / GIB:.1f}", f"at most {MEMORY:.0%} of what is free",
        "use --tuning head, which takes less, or a smaller --max-tokens",
        "warn" if need <= there else "fail",
    )  # fmt: skip
    said = [f"{memory.sentence}; {there / GIB:.1f} GiB are free for it", *checks.warnings]
    print(f"preflight: {'; '.join(said)}", flush=True)
    checks.require(folder)
