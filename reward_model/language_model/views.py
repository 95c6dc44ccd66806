"""Which hidden states of a completion a head reads: of what layers, at which tokens.

The last layer is bent towards the next token; what a text is like stands clearer in the middle ones
(arXiv:2502.02013), and several of them are steadier than one (arXiv:2604.13386). Every layer is
read through the model's own last norm, as a body that is cut there gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from data.stats.intervals import Ints

DEPTHS = (0.6, 0.75)
"""Shares of the layers up to the ones that are read beside the last."""
CLOSE = 1e-4
"""How far the norm of the last layer's output may be from what the body gives, to be its norm."""


@dataclass(frozen=True)
class View:
    """The states behind some layers, which count from 1, at the last token and on average."""

    layers: tuple[int, ...]
    mean: bool = False
    """With the mean over the completion's tokens beside the state at the last one."""
    beside: int = 0
    """Features of a second model that stand behind these."""

    @property
    def blocks(self) -> int:
        """States (d,) side by side: of each layer the last token's, then the mean."""
        return len(self.layers) * (1 + self.mean)

    @property
    def depth(self) -> int:
        """The highest layer that is read: those above it are not needed."""
        return max(self.layers)

    @property
    def exported(self) -> View:
        """What an ordinary classifier on the same layers reads."""
        return View((self.depth,))

    def columns(self, whole: View, features: int) -> Ints:
        """Where this view's features are among the `features` of a view that holds them all."""
        own = features - whole.beside
        width = own // whole.blocks
        found = []
        for layer in self.layers:
            first = whole.layers.index(layer) * (1 + whole.mean)
            found += [first, first + 1] if self.mean else [first]
        places = [np.arange(i * width, (i + 1) * width) for i in found]
        return np.concatenate([*places, np.arange(own, own + self.beside)])

    def words(self, of: int) -> str:
        """For people; of: how many layers the model has."""
        layers = " and ".join(map(str, self.layers))
        tokens = "last token and mean" if self.mean else "last token"
        second = ", and the second model" if self.beside else ""
        return f"{tokens}, layer{'s' if len(self.layers) > 1 else ''} {layers} of {of}{second}"


LAST = View(())
"""Of a model that is not loaded yet: the last layer's last token."""


@dataclass(frozen=True)
class Blocks:
    """A body's layers, in order, and the norm behind the last of them."""

    layers: nn.ModuleList
    norm: nn.Module


def layer_count(model: PreTrainedModel) -> int:
    """How many layers the model's body has."""
    return int(model.config.get_text_config().num_hidden_layers)


def find_blocks(model: PreTrainedModel) -> Blocks | None:
    """Where the layers are; None where the model is of a make that does not show them."""
    body, n = model.base_model, layer_count(model)
    for name, module in body.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            owner = body.get_submodule(name.rpartition(".")[0])
            norms = [m for own, m in owner.named_children() if "norm" in own or own == "ln_f"]
            return Blocks(module, norms[-1]) if norms else None
    return None


def views_of(model: PreTrainedModel) -> tuple[list[View], int]:
    """What a head may read of this model, the usual choice first and the last token of the last
    layer at the end; and how many layers it has.

    Middle layers only where their states, through the norm, are what a cut body would give.
    """
    n = layer_count(model)
    last, mean = View((n,)), View((n,), mean=True)
    if not _shows_layers(model):
        return [mean, last], n
    low, high = (min(n, max(1, round(share * n))) for share in DEPTHS)
    some = [(low, high), (low, high, n), (low,), (high,)]
    found = [View(tuple(dict.fromkeys(layers)), mean=True) for layers in some]
    return list(dict.fromkeys([*found, mean, last])), n


def widest(views: Sequence[View]) -> View:
    """The view that holds all of these, which one pass reads."""
    layers = sorted({layer for view in views for layer in view.layers})
    beside = max(view.beside for view in views)
    return View(tuple(layers), any(view.mean for view in views), beside)


@torch.inference_mode()
def _shows_layers(model: PreTrainedModel) -> bool:
    blocks = find_blocks(model)
    if blocks is None:
        return False
    seen: list[torch.Tensor] = []
    hook = blocks.layers[-1].register_forward_hook(lambda m, i, out: seen.append(first_of(out)))
    try:
        ids = torch.tensor([[1, 2, 3]], device=model.device)
        out: torch.Tensor = model.base_model(input_ids=ids).last_hidden_state
    finally:
        hook.remove()
    if len(seen) != 1 or seen[0].shape != out.shape:
        return False
    apart = (blocks.norm(seen[0]) - out).abs().max()
    return bool(apart <= CLOSE * out.abs().max())


def first_of(out: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A layer's hidden states, which some give alone and some with other things."""
    return out[0] if isinstance(out, tuple) else out


def cut_layers(model: PreTrainedModel, depth: int) -> None:
    """Take away the layers above this one, in place; the norm stays."""
    n = layer_count(model)
    if depth >= n:
        return
    blocks = find_blocks(model)
    if blocks is None:
        raise ValueError(f"the model shows no layers to read: {depth} of {n} was asked for")
    del blocks.layers[depth:]
    for config in (model.config, model.config.get_text_config(), model.base_model.config):
        for name, value in list(vars(config).items()):
            if isinstance(value, list) and len(value) == n:  # one entry a layer
                setattr(config, name, value[:depth])
        config.num_hidden_layers = depth
