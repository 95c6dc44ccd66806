"""Sampling completions from a causal model, the prompts of a group run once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase

from data.schema import Completion, Prompt
from data.texts.intake import taken
from data.texts.thinking import opening_of
from reward_model.chat.chat_format import chat_format
from reward_model.chat.template_check import ASKED
from reward_model.language_model.render import render_prompt
from reward_model.language_model.shared_prompt import distinct_prompts, run_prompts

# Models are `Any` here: `generate` belongs to a mixin that PreTrainedModel does not declare, and
# PEFT's wrapper hands it on.


def draw(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[Completion]:
    """One completion of each prompt, in order; `finished` where end-of-turn was reached."""
    ends = end_tokens(model, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        top_k=0,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    answers = generate_shared(model, [render_prompt(tokenizer, p) for p in prompts], config)
    opened = opened_thinking(tokenizer)
    pairs = zip(prompts, answers, strict=True)
    return [completion_from(tokenizer, p, tokens, ends, opened) for p, tokens in pairs]


@torch.no_grad()
def generate_shared(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig
) -> list[list[int]]:
    """Token ids of one completion of each prompt, in order, up to and with the first end-of-turn.

    Draws from the same distribution as `model.generate` on the padded prompts. Raises ValueError
    where the model's scores are not finite.
    """
    ids, mask, owner = distinct_prompts(prompts, int(config.pad_token_id), model.device)
    width = ids.size(1)
    cache = DynamicCache()
    if width > 1:
        # all but the last token: generate itself reads that one, to draw the first new token
        read, cache = run_prompts(model, ids[:, :-1], mask[:, :-1], owner, logits_to_keep=1)
        if not bool(torch.isfinite(read.logits).all()):
            raise ValueError(
                "the model's scores are not finite: its weights overflow; use a smaller"
                " --learning-rate, or another model"
            )
    out = model.generate(
        input_ids=ids[owner],
        attention_mask=mask[owner],
        past_key_values=cache,
        generation_config=config,
    )
    ends = _token_list(config.eos_token_id)
    drawn: list[list[int]] = out[:, width:].tolist()
    stops = [next((i for i, t in enumerate(row) if t in ends), len(row)) for row in drawn]
    return [row[: stop + 1] for row, stop in zip(drawn, stops, strict=True)]


@torch.no_grad()
def require_finite_scores(model: Any, prompt: Sequence[int], name: str) -> None:
    """Raise ValueError where the model's next-token scores of a prompt are not finite."""
    logits = model(input_ids=torch.tensor([list(prompt)], device=model.device)).logits
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"model {name!r} cannot be sampled: its scores are not finite, so it overflows or is"
            " damaged; use another model"
        )


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end a completion: the chat template's end of a turn, and any declared ones."""
    return chat_format(tokenizer).ends(_token_list(model.generation_config.eos_token_id))


def completion_from(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    tokens: list[int],
    ends: list[int],
    opened: str = "",
) -> Completion:
    """The text of generated tokens; `finished` where they end with one of `ends`.

    `opened` is the tag with which the chat template opens the thinking.
    """
    ended = bool(tokens) and tokens[-1] in ends
    text = text_of(tokenizer, tokens[:-1] if ended else tokens, ends)
    return Completion(prompt, *taken(text, ended, opened=opened))


def opened_thinking(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tag with which the chat template itself opens the thinking; empty where it does not."""
    return opening_of(chat_format(tokenizer).text([ASKED], opened=True))


def text_of(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], ends: Collection[int]
) -> str:
    """The text of generated tokens, without special ones and ends of turns.

    Marks of thinking are kept, special or not: with them thinking can be told from the answer.
    """
    special = {
        i
        for i, token in tokenizer.added_tokens_decoder.items()
        if token.special and "think" not in token.content.lower()
    }
    dropped = {*ends, *special}
    kept = [token for token in tokens if token not in dropped]
    return str(tokenizer.decode(kept, skip_special_tokens=False))


def _token_list(value: int | list[int] | None) -> list[int]:
    """A configuration's end-of-turn as a list: it may name none, one or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
