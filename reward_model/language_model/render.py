"""The one function from (prompt, completion, finished?) to token ids.

Reward-model training, evaluation, scoring and GRPO's reward all call it, so the text a reward model
is trained on is the text it is asked about.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from data.schema import Prompt


@dataclass(frozen=True)
class Rendered:
    """Token ids of a prompt and of one completion of it."""

    prompt: list[int]
    completion: list[int]
    """Ends with end-of-turn only where the completion ended by itself."""
    truncated: bool = False
    """Whether something was cut to fit."""

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.completion


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of the prompt up to where the model's turn begins."""
    messages = [m.as_dict() for m in prompt.messages]
    try:
        ids: list[int] = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except TemplateError as error:
        roles = ", ".join(m.role for m in prompt.messages)
        raise ValueError(
            f"the model's chat template refuses the prompt {prompt.text[:40]!r} with turns {roles}"
            f" ({error}): change the prompt's turns, or use a model whose template takes them"
        ) from None
    return ids


def render(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    completion: str,
    finished: bool,
    max_tokens: int | None = None,
) -> Rendered:
    """Token ids as the reward model reads them.

    End-of-turn follows the completion only if it ended by itself: one cut at the token limit must
    look cut. Beyond `max_tokens` the prompt loses its beginning; a completion longer than that by
    itself loses its end, and with it the end-of-turn.
    """
    prompt_ids = render_prompt(tokenizer, prompt)
    completion_ids: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
    if finished:
        completion_ids = [*completion_ids, tokenizer.eos_token_id]
    return cut_to_fit(prompt_ids, completion_ids, tokenizer.pad_token_id, max_tokens)


def cut_to_fit(
    prompt_ids: list[int], completion_ids: list[int], pad_token_id: int, max_tokens: int | None
) -> Rendered:
    """These ids, at most `max_tokens` of them, cut as `render` says.

    Padding at the completion's end goes too, where a text spells that token out: whatever loads a
    classifier reads it at the last token that is no padding.
    """
    truncated = max_tokens is not None and len(prompt_ids) + len(completion_ids) > max_tokens
    if max_tokens is not None and truncated:
        completion_ids = completion_ids[: max_tokens - 1]
        prompt_ids = prompt_ids[-(max_tokens - len(completion_ids)) :]
    while completion_ids and completion_ids[-1] == pad_token_id:
        completion_ids = completion_ids[:-1]
    return Rendered(prompt_ids, completion_ids, truncated)


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the vocabulary and the chat template: equal where `render` gives equal ids."""
    facts = [sorted(tokenizer.get_vocab().items()), tokenizer.chat_template]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
