"""Whether a reward model and a policy belong together."""

from __future__ import annotations

from typing import Any

from reward_model.language_model.render import fingerprint
from reward_model.scoring.scorer import Scorer


def check_same_tokenizer(scorer: Scorer, policy_tokenizer: Any, name: str) -> None:
    """Raise ValueError where the reward model reads texts through another tokenizer."""
    if fingerprint(scorer.tokenizer) != fingerprint(policy_tokenizer):
        raise ValueError(
            f"reward model {name} was trained for another tokenizer or chat template than the"
            " policy has: train a reward model on this policy (reward_model train --policy ...)"
        )
