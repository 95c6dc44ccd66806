"""Completions drawn from a policy on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict

from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.runs.recorder import Recorder
from data.schema import Completion, Generation, Prompt
from grpo.config import SampleSettings, SamplingSettings
from grpo.policies.checkpoint import find_policy
from grpo.reports.records import LocalSource
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.generation import draw
from reward_model.language_model.loading import load_model, load_tokenizer, longest_text
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import render_prompt
from reward_model.model_checks.context import Fitting, prompts_that_fit


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
    wanted = [prompt for prompt in prompts for _ in range(per_prompt)]
    order = sorted(range(len(wanted)), key=lambda k: len(wanted[k].text))
    result: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        new = draw(model, tokenizer, [wanted[k] for k in chosen], **asdict(sampling))
        result |= zip(chosen, new, strict=True)
        each(new, min(start + batch_size, len(order)), len(order))
    return [result[k] for k in range(len(wanted))]


def fitting_prompts(
    prompts: Sequence[Prompt],
    origin: Origin,
    tokenizer: PreTrainedTokenizerBase,
    new_tokens: int,
    name: str,
    or_none: bool = False,
) -> Fitting:
    """The prompts that leave room for so many new tokens within what the policy reads.

    Raises ValueError where none does, unless that may be (`or_none`).
    """
    longest = longest_text(origin, tokenizer)
    return prompts_that_fit(
        prompts, lambda p: render_prompt(tokenizer, p), longest, new_tokens, name, or_none
    )


def from_policy(
    settings: SampleSettings,
    prompts: Sequence[Prompt],
    run: Recorder,
    keep: Callable[[Sequence[Generation], int, int], None],
    left_out: Counter[str],
) -> LocalSource:
    """Sample for the prompts; `keep(new, done, total)` takes each batch.

    Prompts that cannot be asked are counted in `left_out`, by reason. Raises ValueError where none
    can.
    """
    set_seed(settings.seed)
    run.progress(0, len(prompts) * settings.per_prompt, "loading the model")
    origin = find_policy(settings.policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_dtype()
    fitting = fitting_prompts(
        prompts,
        origin,
        tokenizer,
        settings.sampling.max_new_tokens,
        settings.policy,
        or_none=settings.missing,  # then what is left to sample may be those that never fit
    )
    left_out.update(fitting.counted)
    model = load_model(origin, dtype)
    print(f"sampling from {settings.policy}, {why}", flush=True)
    facts = {**asdict(settings.sampling), "seed": settings.seed}

    def each(new: list[Completion], done: int, total: int) -> None:
        keep([Generation(c, settings.policy, facts) for c in new], done, total)

    size = max(settings.batch_size // settings.per_prompt, 1) * settings.per_prompt
    draw_many(model, tokenizer, fitting.prompts, settings.per_prompt, settings.sampling, size, each)
    return LocalSource(why)
