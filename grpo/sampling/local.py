"""Completions drawn from a policy on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.runs.recorder import Recorder
from data.schema import Completion, Generation, Prompt
from grpo.config import SampleSettings, SamplingSettings
from grpo.policies.checkpoint import find_policy
from grpo.reports.records import LocalSource
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.generation import completion_from, end_tokens, generate_shared
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.render import render_prompt


@torch.inference_mode()
def draw(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    sampling: SamplingSettings,
) -> list[Completion]:
    """One completion of each prompt, in order; `finished` where end-of-turn was reached."""
    ends = end_tokens(model, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=0,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    answers = generate_shared(model, [render_prompt(tokenizer, p) for p in prompts], config)
    pairs = zip(prompts, answers, strict=True)
    return [completion_from(tokenizer, p, tokens, ends) for p, tokens in pairs]


def draw_many(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    per_prompt: int,
    sampling: SamplingSettings,
    batch_size: int,
    each: Callable[[list[Completion], int, int], None],
) -> list[Completion]:
    """`per_prompt` completions of every prompt; `each(new, done, total)` is called after a batch.

    Prompts of like length run together. The result keeps the prompts' order, a prompt's
    completions in a row.
    """
    wanted = [i for i in range(len(prompts)) for _ in range(per_prompt)]
    order = sorted(range(len(wanted)), key=lambda k: len(prompts[wanted[k]].text))
    result: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        new = draw(model, tokenizer, [prompts[wanted[k]] for k in chosen], sampling)
        result |= zip(chosen, new, strict=True)
        each(new, min(start + batch_size, len(order)), len(order))
    return [result[k] for k in range(len(wanted))]


def from_policy(
    settings: SampleSettings,
    prompts: Sequence[Prompt],
    run: Recorder,
    keep: Callable[[Sequence[Generation], int, int], None],
) -> LocalSource:
    """Sample for the prompts; `keep(new, done, total)` takes each batch. Returns the precision."""
    set_seed(settings.seed)
    run.progress(0, len(prompts) * settings.per_prompt, "loading the model")
    origin = find_policy(settings.policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_dtype()
    model = load_model(origin, dtype)
    print(f"sampling from {settings.policy}, {why}", flush=True)
    facts = {**asdict(settings.sampling), "seed": settings.seed}

    def each(new: list[Completion], done: int, total: int) -> None:
        keep([Generation(c, settings.policy, facts) for c in new], done, total)

    size = max(settings.batch_size // settings.per_prompt, 1) * settings.per_prompt
    draw_many(model, tokenizer, prompts, settings.per_prompt, settings.sampling, size, each)
    return LocalSource(why)
