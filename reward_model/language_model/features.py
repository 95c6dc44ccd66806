"""Features of completions: the frozen policy's state at each text's last token, read once and kept.

Kept by content: a file holds the ids of completions, which are hashes of what they say, and their
features. The folder's name is a hash of everything else that features depend on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from data.schema import content_hash
from reward_model.language_model.classifier import head_weights, last_states
from reward_model.language_model.render import Rendered

Floats32 = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with (done, total); may raise to stop."""


class FeatureCache:
    """Features on disk, for one network read in one way."""

    def __init__(self, folder: Path, *depends_on: object) -> None:
        """`depends_on`: hashes of weights, tokenizer and template; longest text; dtype."""
        self.folder = folder / content_hash("features", *depends_on)
        self._known: dict[str, Floats32] = {}
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path) as kept:
                self._known.update(zip(kept["ids"].tolist(), kept["features"], strict=True))

    def __contains__(self, completion_id: str) -> bool:
        return completion_id in self._known

    def get(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Features (N, d). Raises KeyError for one that is not kept."""
        return np.array([self._known[i] for i in ids], np.float64)

    def add(self, ids: Sequence[str], features: Floats32) -> None:
        """Keep more (N, d); a file appears whole or not at all, whoever else writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as stream:
            np.savez(stream, ids=np.array(ids), features=features)
        Path(stream.name).replace(self.folder / f"{content_hash(list(ids))}.npz")
        self._known.update(zip(ids, features, strict=True))


@torch.inference_mode()
def read_features(
    model: PreTrainedModel,
    texts: Sequence[Rendered],
    pad_token_id: int,
    batch: int = 16,
    progress: Progress = lambda done, total: None,
) -> Floats32:
    """States (N, d) at the texts' ends, in the texts' order; texts of one prompt run together."""
    # sorted, so that a batch holds completions of one prompt, which share it, of like length
    order = sorted(range(len(texts)), key=lambda i: (texts[i].prompt, len(texts[i].completion)))
    features = np.empty((len(texts), head_weights(model).size(-1)), np.float32)
    for start in range(0, len(order), batch):
        progress(start, len(order))
        places = order[start : start + batch]
        states = last_states(model, [texts[i] for i in places], pad_token_id)
        features[places] = states.cpu().numpy()
    return features
