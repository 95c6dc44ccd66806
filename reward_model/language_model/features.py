"""Features of completions: the frozen policy's states on each text, read once and kept.

Kept by content: a file holds the ids of completions, which are hashes of what they say, and their
features. The folder's name is a hash of everything else that features depend on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from data.atomic_files import whole_file, write_json
from data.places.leftovers import clean_up
from data.schema import content_hash
from data.stats.intervals import Floats
from reward_model.language_model.classifier import completion_states
from reward_model.language_model.render import Rendered
from reward_model.language_model.views import View, layer_count

Floats32 = NDArray[np.float32]
VIEWS = "views.json"
OnProgress = Callable[[int, int], None]
"""Called with (done, total); may raise to stop."""


class FeatureCache:
    """Features on disk, for one network read in one way."""

    def __init__(self, folder: Path, *depends_on: object) -> None:
        """`depends_on`: hashes of weights, tokenizer and template; longest text; dtype."""
        self.folder = folder / content_hash("features", *depends_on)
        self._known: dict[str, Floats32] = {}
        clean_up(self.folder)
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path) as kept:
                self._known.update(zip(kept["ids"].tolist(), kept["features"], strict=True))

    def __contains__(self, completion_id: str) -> bool:
        return completion_id in self._known

    def get(self, ids: Sequence[str]) -> Floats:
        """Features (N, d). Raises KeyError for one that is not kept."""
        return np.array([self._known[i] for i in ids], np.float64)

    def views(self, find: Callable[[], tuple[list[View], int]]) -> tuple[list[View], int]:
        """What a head may read of the network, and how many layers it has; found once."""
        path = self.folder / VIEWS
        if not path.is_file():
            views, layers = find()
            self.folder.mkdir(parents=True, exist_ok=True)
            noted = [{"layers": view.layers, "mean": view.mean} for view in views]
            write_json(path, {"layers": layers, "views": noted})
        kept = json.loads(path.read_text())
        found = [View(tuple(view["layers"]), view["mean"]) for view in kept["views"]]
        return found, kept["layers"]

    def add(self, ids: Sequence[str], features: Floats32) -> None:
        """Keep more (N, d); a file appears whole or not at all, whoever else writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / f"{content_hash(list(ids))}.npz") as stream:
            np.savez(stream, ids=np.array(ids), features=features)
        self._known.update(zip(ids, features, strict=True))


@torch.inference_mode()
def read_features(
    model: PreTrainedModel,
    texts: Sequence[Rendered],
    pad_token_id: int,
    batch: int = 16,
    progress: OnProgress = lambda done, total: None,
    view: View | None = None,
) -> Floats32:
    """States (N, D) of the texts, in their order; texts of one prompt run together.

    view: which; by default the last layer's at the last token.
    """
    # sorted, so that a batch holds completions of one prompt, which share it, of like length
    order = sorted(range(len(texts)), key=lambda i: (texts[i].prompt, len(texts[i].completion)))
    view = view or View((layer_count(model),))
    hidden = model.config.get_text_config().hidden_size
    features = np.empty((len(texts), view.blocks * hidden), np.float32)
    for start in range(0, len(order), batch):
        progress(start, len(order))
        places = order[start : start + batch]
        states = completion_states(model, [texts[i] for i in places], pad_token_id, view)
        features[places] = states.cpu().numpy()
    return features
