"""Scorer: rewards for completions, in units of the SFT policy's own spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Prompt, make_prompt
from reward_model.backbone import (
    ADAPTER,
    ORIGIN,
    Origin,
    cast,
    choose_precision,
    load_model,
    load_tokenizer,
)
from reward_model.network import body_of, last_states, with_head
from reward_model.render import Rendered, fingerprint, render

POLICY_ADAPTER = "policy_adapter"
"""Folder, inside a reward model's, with a copy of the SFT side-car that lies under its own."""
BATCH = 16

PromptLike = Prompt | str | Sequence[Mapping[str, str]]


class Scorer:
    """A reward model ready to score. `score` is the only thing that GRPO calls."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        mean: float = 0.0,
        sd: float = 1.0,
        max_tokens: int | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.mean = mean
        self.sd = sd
        self.max_tokens = max_tokens
        self.truncated = 0
        """How many texts were cut to fit, since loading."""

    @classmethod
    def load(cls, folder: str | Path, dtype: torch.dtype | None = None) -> Scorer:
        """From a reward-model run's folder. Raises ValueError if it holds none."""
        folder = Path(folder)
        facts = read_facts(folder)
        under = folder / POLICY_ADAPTER
        origin = Origin(facts["model"], str(under) if under.is_dir() else "")
        tokenizer = load_tokenizer(origin)
        if fingerprint(tokenizer) != facts["tokenizer"]:
            raise ValueError(
                f"reward model {folder.name} was trained with another tokenizer or chat template"
                f" than {facts['model']} has now: train it again"
            )
        model = with_head(load_model(origin, torch.float32), tokenizer.pad_token_id)
        merged = PeftModel.from_pretrained(model, str(folder / ADAPTER)).merge_and_unload()
        merged = cast(merged, dtype or choose_precision()[0])
        merged.score.float()
        return cls(
            merged, tokenizer, mean=facts["mean"], sd=facts["sd"], max_tokens=facts["max_tokens"]
        )

    def score(
        self,
        prompts: Sequence[PromptLike],
        completions: Sequence[str],
        finished: Sequence[bool] | None = None,
    ) -> NDArray[np.float64]:
        """Rewards (B,): mean 0 and standard deviation 1 on the SFT policy's samples.

        `finished` says which completions ended by themselves; all, where it is not given. Raises
        ValueError if the lengths differ.
        """
        return (self.raw(prompts, completions, finished) - self.mean) / self.sd

    def raw(
        self,
        prompts: Sequence[PromptLike],
        completions: Sequence[str],
        finished: Sequence[bool] | None = None,
    ) -> NDArray[np.float64]:
        """The head's output, before it is brought to reward units."""
        finished = [True] * len(completions) if finished is None else finished
        if not len(prompts) == len(completions) == len(finished):
            raise ValueError(
                f"{len(prompts)} prompts, {len(completions)} completions and {len(finished)} marks:"
                " give as many of each"
            )
        texts = [
            self.render(p, c, f) for p, c, f in zip(prompts, completions, finished, strict=True)
        ]
        self.truncated += sum(t.truncated for t in texts)
        return score_rendered(self.model, texts, self.tokenizer.pad_token_id)

    def render(self, prompt: PromptLike, completion: str, finished: bool) -> Rendered:
        """The token ids that this scorer reads."""
        full = prompt if isinstance(prompt, Prompt) else make_prompt(prompt)
        return render(self.tokenizer, full, completion, finished, self.max_tokens)


def read_facts(folder: Path) -> dict[str, Any]:
    """What a reward-model run noted about itself. Raises ValueError if it is none."""
    path = folder / ORIGIN
    facts: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if "objective" not in facts:
        raise ValueError(
            f"{folder} holds no finished reward model: name a reward run's id or folder"
        )
    return facts


@torch.inference_mode()
def score_rendered(
    model: Any, texts: Sequence[Rendered], pad_token_id: int, batch: int = BATCH
) -> NDArray[np.float64]:
    """Head outputs (N,) in the texts' order; texts of one prompt run together."""
    order = sorted(range(len(texts)), key=lambda i: (texts[i].prompt, len(texts[i].completion)))
    rewards = np.zeros(len(texts))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        states = last_states(body_of(model), [texts[i] for i in chosen], pad_token_id)
        rewards[chosen] = model.score(states)[:, 0].double().cpu().numpy()
    return rewards
