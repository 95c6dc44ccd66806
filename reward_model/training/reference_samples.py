"""The policy's own answers, on which the reward's unit is defined."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion
from data.splits import split_of
from data.store import Store
from data.texts.intake import UNSTORABLE, why_left_out
from reward_model.language_model.generation import draw, require_finite_scores
from reward_model.language_model.render import render_prompt
from reward_model.model_checks.context import prompts_that_fit

Tick = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); raises where a stop was asked for."""
MOST = 160
"""Policy samples, at most, from which the reward's mean and standard deviation are taken."""
FEWEST = 48
EACH = 4
"""Fresh answers to each prompt: the spread within a prompt is what GRPO learns from."""
TOKENS = 64


def reference_samples(
    store: Store,
    policy: str,
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    longest: int | None,
    tick: Tick,
) -> tuple[list[Completion], str]:
    """(answers of the policy to training prompts, where they come from).

    Those that it has written already; where they are few, fresh ones, for which `load` loads the
    policy. Whole prompts first: a prompt's answers stay together. longest: the most tokens that the
    policy reads; prompts that cannot be asked are left out, and told.
    """
    prompts = [p for p in store.content.prompts() if split_of(p) == "train"]
    own = [
        g.completion
        for g in store.content.generations(policy)
        if split_of(g.completion.prompt) == "train"
    ]
    if len(own) >= FEWEST or not prompts:
        own.sort(key=lambda c: c.prompt.id)
        return own[:MOST], f"stored answers of {policy}"
    tick(0, 1, "sampling the policy, for the reward's unit")
    fitting = prompts_that_fit(
        prompts, lambda p: render_prompt(tokenizer, p), longest, TOKENS, policy
    )
    if fitting.counted:
        print(fitting.sentence, flush=True)
    prompts = fitting.prompts
    asked = [prompts[i // EACH % len(prompts)] for i in range(FEWEST)]
    causal = load()
    require_finite_scores(causal, render_prompt(tokenizer, asked[0]), policy)
    drawn = draw(causal, tokenizer, asked, TOKENS)
    kept = [c for c in drawn if not why_left_out(c.written)]
    less = f", {len(drawn) - len(kept)} left out {UNSTORABLE}" if len(kept) < len(drawn) else ""
    return kept, f"fresh answers of {policy}{less}"
