"""Draw completions from a policy, and queue tasks over them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.queue import DEFAULT_SHARES, plan_tasks
from data.runs import Recorder
from data.schema import Completion, Generation, Kind, Prompt
from data.splits import split_of
from data.store import Store
from grpo.config import SampleSettings, SamplingSettings
from grpo.policy import find_policy
from reward_model.backbone import choose_precision, load_model, load_tokenizer
from reward_model.generate import completion_from, end_tokens, generate_shared
from reward_model.render import render_prompt


@torch.inference_mode()
def draw(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    sampling: SamplingSettings,
) -> list[Completion]:
    """One completion of each prompt, in order; `finished` where end-of-turn was reached."""
    ends = end_tokens(model, tokenizer)
    config = generation_config(tokenizer, sampling, ends)
    answers = generate_shared(model, [render_prompt(tokenizer, p) for p in prompts], config)
    return [
        completion_from(tokenizer, p, tokens, ends)
        for p, tokens in zip(prompts, answers, strict=True)
    ]


def generation_config(
    tokenizer: PreTrainedTokenizerBase, sampling: SamplingSettings, ends: list[int]
) -> GenerationConfig:
    """These settings in transformers' words."""
    return GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=0,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )


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
    result: list[Completion | None] = [None] * len(wanted)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        new = draw(model, tokenizer, [prompts[wanted[k]] for k in chosen], sampling)
        for k, completion in zip(chosen, new, strict=True):
            result[k] = completion
        each(new, min(start + batch_size, len(order)), len(order))
    return [c for c in result if c is not None]


def sample(settings: SampleSettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Sample for the stored prompts; each batch is stored, and its tasks queued, as it comes."""
    started = time.monotonic()
    prompts = chosen_prompts(store, settings)
    if not prompts:
        raise ValueError(
            f"no prompts of the set {settings.prompts!r} are stored: import some"
            ' ({"type": "prompt", ...}) first'
        )
    set_seed(settings.seed)
    rng = random.Random(settings.seed)
    run.progress(0, len(prompts) * settings.per_prompt, "loading the model")
    origin = find_policy(settings.policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_precision()
    model = load_model(origin, dtype)
    print(f"sampling from {settings.policy}, {why}", flush=True)
    queued: Counter[Kind] = Counter()
    position = store.ledger.last_position()

    def keep(new: list[Completion], done: int, total: int) -> None:
        nonlocal position
        facts = {**asdict(settings.sampling), "seed": settings.seed}
        store.content.add_generations(Generation(c, settings.policy, facts) for c in new)
        so_far = settings.tasks * done / total
        due = {k: max(0, round(so_far * s) - queued[k]) for k, s in DEFAULT_SHARES.items()}
        if sum(due.values()):
            tasks = plan_tasks(
                new,
                rng,
                limit=sum(due.values()),
                shares=due,
                wanted=settings.annotators,
                overlap=settings.overlap,
                start=position,
            )
            store.ledger.add_tasks(tasks)
            queued.update(task.kind for task in tasks)
            position += len(tasks)
        run.progress(done, total, "sampling completions")
        print(f"sampled {done} of {total}", flush=True)
        run.check_stop()

    size = max(settings.batch_size // settings.per_prompt, 1) * settings.per_prompt
    drawn = draw_many(model, tokenizer, prompts, settings.per_prompt, settings.sampling, size, keep)
    finished = sum(c.finished for c in drawn)
    return {
        "summary": f"{len(drawn)} completions of {len(prompts)} prompts;"
        f" {finished} ended by themselves.",
        "completions": len(drawn),
        "distinct": len({c.id for c in drawn}),
        "finished": finished,
        "tasks": sum(queued.values()),
        "precision": why,
        "seconds": round(time.monotonic() - started, 1),
    }


def chosen_prompts(store: Store, settings: SampleSettings) -> list[Prompt]:
    """The prompts of the set, in an order drawn by the seed, cut to the limit."""
    splits = ("train", "validation") if settings.prompts == "judged" else (settings.prompts,)
    prompts = [p for p in store.content.prompts() if split_of(p) in splits]
    if settings.missing:
        there = Counter(g.completion.prompt.id for g in store.content.generations(settings.policy))
        prompts = [p for p in prompts if there[p.id] < settings.per_prompt]
    random.Random(settings.seed).shuffle(prompts)
    return prompts[: settings.limit] if settings.limit else prompts
