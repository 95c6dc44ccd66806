"""An optimiser step in micro-batches, whose activations fit into the room there is for them.

The likelihood is a sum over judgements, so the gradient of a batch is the sum of its parts'
wherever no comparison crosses from one to another; parts are made so. Where completions that were
compared are more than fit at once, a part runs in pieces: all without keeping their activations,
then each again when its gradient is due. That costs a second pass forward and is as exact
(GradCache, arXiv:2101.06983; here by checkpoints, arXiv:1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reward_model.dataset.examples import Examples, group_rows
from reward_model.language_model.render import Rendered

ForwardPass = Callable[[Sequence[Rendered]], Tensor]
"""A pass over N texts that gives a row of each (N, ...)."""


@dataclass(frozen=True)
class Activations:
    """Bytes that one pass keeps for its gradient, of a text by itself."""

    per_token: float
    per_square: float = 0.0
    """For each pair of its tokens: 0 where attention keeps no matrix of them."""

    def of(self, texts: Sequence[Rendered]) -> float:
        """Bytes of these in one pass, padded to the longest prompt and the longest completion."""
        padded = max(len(t.prompt) for t in texts) + max(len(t.completion) for t in texts)
        return len(texts) * (self.per_token * padded + self.per_square * padded**2)


def micro_batches(
    examples: Examples,
    batch: Sequence[int],
    texts: Sequence[Rendered],
    activations: Activations,
    room: float,
) -> Iterator[list[int]]:
    """The places in `batch`, in parts that no comparison crosses, of `room` bytes at most.

    A part is larger only where the completions that were compared with one another are.
    """
    groups = _compared(examples, batch)
    groups.sort(key=lambda group: max(len(texts[i].ids) for i in group))  # alike: less padding
    part: list[int] = []
    for group in groups:
        if part and activations.of([texts[i] for i in part + group]) > room:
            yield part
            part = []
        part = part + group
    if part:
        yield part


def in_pieces(
    run: ForwardPass,
    texts: Sequence[Rendered],
    activations: Activations,
    room: float,
) -> Tensor:
    """What `run` gives of all texts, one row each, with the activations of `room` bytes at a time.

    A piece has one text at least.
    """
    pieces: list[list[Rendered]] = [[]]
    for text in texts:
        if pieces[-1] and activations.of([*pieces[-1], text]) > room:
            pieces.append([])
        pieces[-1].append(text)
    if len(pieces) == 1:
        return run(pieces[0])
    return torch.cat([checkpoint(run, piece, use_reentrant=False) for piece in pieces])


def _compared(examples: Examples, batch: Sequence[int]) -> list[list[int]]:
    """The places in `batch` in groups: together are those that comparisons link."""
    n, (a, b) = len(examples.completions), (examples.pairs.a, examples.pairs.b)
    linked = coo_array((np.ones(len(a)), (a, b)), (n, n))
    group = connected_components(linked, directed=False)[1]
    places = np.array(batch)
    return [places[rows].tolist() for rows in group_rows(group[places])]
