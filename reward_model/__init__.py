"""Learns r(prompt, completion) from the store. Importing this loads no torch; Scorer does.

train, evaluate  the verbs, with config, their settings
dataset          judgements as arrays
likelihood       the joint likelihood, its prior, and the head that is fitted to it
language_model   models found, loaded and read; model_checks: what is refused of them
chat             what a model's chat template writes
training         the head, then an adapter or all weights; evaluation: how good it is
receipt          what that evaluation says, as JSON, HTML and text
scoring          the trained model as a scorer, and as GRPO's reward; serving: over HTTP
export           an ordinary model folder, certified
benchmark        measured on human judgements and in simulated worlds
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reward_model.scoring.scorer import Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> type[Scorer]:
    if name == "Scorer":
        from reward_model.scoring.scorer import Scorer

        return Scorer
    raise AttributeError(name)
