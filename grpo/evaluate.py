"""A policy against the SFT policy on the test prompts, which nothing else has seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.runs.files import run_folder
from data.runs.recorder import Recorder
from data.schema import Completion, Prompt
from data.simulated_annotators import utility
from data.splits import split_of
from data.stats.bootstrap import clustered_mean
from data.stats.estimate import Estimate, format_estimate
from data.stats.intervals import Floats
from data.store import Store
from grpo.config import ComparisonSettings
from grpo.policies.checkpoint import find_policy, read_origin
from grpo.reports.records import AnswerPair, ComparisonReport, ComparisonRow
from grpo.sampling.local import draw_many, fitting_prompts
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.generation import opened_thinking
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.render import Rendered, render_prompt
from reward_model.scoring.scorer import Scorer

KL_BATCH = 8
SHOWN = 8
"""Prompts whose first answers by both policies stand in the report."""


def compare(settings: ComparisonSettings, store: Store, run: Recorder) -> ComparisonReport:
    """Sample both policies on the test prompts and compare them. Returns the report.

    Raises ValueError where there are no test prompts, or the run names no reference or reward.
    """
    started = time.monotonic()
    set_seed(settings.seed)
    prompts = _test_prompts(store, settings.limit)
    policy, (reference, reward_run) = settings.policy, _find_partners(settings)
    scorer = Scorer.load(run_folder(reward_run, settings.workspace))
    origin = find_policy(policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    fitting = fitting_prompts(prompts, origin, tokenizer, settings.sampling.max_new_tokens, policy)
    prompts = fitting.prompts
    dtype, why = choose_dtype()
    models, answers = _draw_answers(settings, (reference, policy), tokenizer, dtype, prompts, run)
    old, new = answers[reference], answers[policy]
    run.progress(2 * len(new), 2 * len(new), "measuring KL")
    temperature = settings.sampling.temperature
    kl = policy_kl(models[policy], models[reference], tokenizer, new, temperature, run.check_stop)
    before = _measure_answers(old, np.zeros(len(kl)), scorer, settings.true_taste)
    after = _measure_answers(new, kl, scorer, settings.true_taste)
    clusters = [c.prompt.id for c in new]
    worth = [name for name in after if name in ("reward", "true utility")]
    wins = {name: win_rate(before[name], after[name], clusters) for name in worth}
    kl_nats = clustered_mean(kl.tolist(), clusters)
    pairs = zip(old, new, before["reward"], after["reward"], strict=True)
    return ComparisonReport(
        summary=f"The policy wins against SFT by {worth[-1]} in {format_estimate(wins[worth[-1]])},"
        f" at {kl_nats.value:.1f} nats. {fitting.sentence}".rstrip(),
        rows=[_compare_means(name, before[name], after[name], clusters) for name in after],
        win_rates=wins,
        kl_nats=kl_nats,
        samples=[AnswerPair.of(*row) for row in pairs][:: settings.per_prompt][:SHOWN],
        policy=policy,
        reference=reference,
        reward=reward_run,
        prompts=len(prompts),
        per_prompt=settings.per_prompt,
        precision=why,
        left_out=fitting.counted,
        seconds=round(time.monotonic() - started, 1),
    )


def _test_prompts(store: Store, limit: int) -> list[Prompt]:
    prompts = [p for p in store.content.prompts() if split_of(p) == "test"]
    if not prompts:
        raise ValueError(
            "no test prompts are stored: import more prompts, a fifth of them become test"
        )
    return prompts[: limit or None]


def _draw_answers(
    settings: ComparisonSettings,
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype,
    prompts: Sequence[Prompt],
    run: Recorder,
) -> tuple[dict[str, PreTrainedModel], dict[str, list[Completion]]]:
    """(the policies of these names, their answers to the prompts), by name."""
    models, answers = {}, {}
    for place, name in enumerate(names):

        def note_progress(_: object, done: int, n: int, place: int = place) -> None:
            run.progress(place * n + done, len(names) * n, "sampling both policies")
            run.check_stop()

        models[name] = load_model(find_policy(name, settings.workspace), dtype)
        answers[name] = draw_many(
            models[name], tokenizer, prompts, settings.per_prompt, settings.sampling,
            settings.batch_size, note_progress,
        )  # fmt: skip
    return models, answers


def win_rate(before: Floats, after: Floats, clusters: Sequence[object]) -> Estimate:
    """Share of answer pairs in which `after` is worth more; a tie counts half."""
    outcome = np.where(after == before, 0.5, after > before)
    return clustered_mean(outcome.tolist(), clusters)


def _compare_means(
    name: str, before: Floats, after: Floats, clusters: Sequence[object]
) -> ComparisonRow:
    by = clustered_mean((after - before).tolist(), clusters)
    means = float(before.mean()), float(after.mean())
    return ComparisonRow(name, *means, by.value, by.low, by.high, by.n)


def _measure_answers(
    completions: list[Completion], kl: Floats, scorer: Scorer, true_taste: bool
) -> dict[str, Floats]:
    """What one policy's answers are, by the name of each measure, (N,)."""
    taste = {"true utility": np.array([utility(c) for c in completions])} if true_taste else {}
    return {
        "reward": scorer.rewards_of(completions),
        **taste,
        "length in words": np.array([float(len(c.text.split())) for c in completions]),
        "finished": np.array([float(c.finished) for c in completions]),
        "KL to SFT, nats per answer": kl,
    }


@torch.inference_mode()
def policy_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    completions: Sequence[Completion],
    temperature: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> Floats:
    """KL(policy || reference) of each answer in nats, summed over its tokens, (N,).

    Exact over the vocabulary at each token of answers drawn from the policy: the least noisy
    estimate of the KL between the two distributions over answers, both at the given temperature.
    """
    opened = f"{opened_thinking(tokenizer)}\n".lstrip()  # which the prompt's rendering ends with
    texts = [_as_sampled(tokenizer, c, opened) for c in completions]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].ids))
    result = np.zeros(len(texts))
    for start in range(0, len(order), KL_BATCH):
        check()
        chosen = order[start : start + KL_BATCH]
        batch = tokenizer.pad(
            {"input_ids": [texts[i].ids for i in chosen]}, padding_side="right", return_tensors="pt"
        ).to(policy.device)
        logp = torch.log_softmax(policy(**batch).logits.float() / temperature, -1)
        logq = torch.log_softmax(reference(**batch).logits.float() / temperature, -1)
        token_kl = (logp.exp() * (logp - logq)).sum(-1)
        for row, i in enumerate(chosen):
            text = texts[i]
            span = slice(len(text.prompt) - 1, len(text.ids) - 1)
            result[i] = float(token_kl[row, span].double().sum())
    return result


def _find_partners(settings: ComparisonSettings) -> tuple[str, str]:
    """(reference, reward model) as given, or as the GRPO run noted them."""
    noted = read_origin(settings.policy, settings.workspace)
    reference = settings.reference or noted.get("reference")
    reward = settings.reward or noted.get("reward")
    if not reference or not reward:
        raise ValueError(
            f"{settings.policy!r} is not a finished GRPO run: name one, or give --reference"
            " and --reward"
        )
    return reference, reward


def _as_sampled(
    tokenizer: PreTrainedTokenizerBase, completion: Completion, opened: str
) -> Rendered:
    """Token ids as a policy gives them: behind the prompt's own rendering, up to the turn's end.

    A whole conversation may be written otherwise, e.g. without the thinking.
    """
    text = completion.written.removeprefix(opened)
    said: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    end = [chat_format(tokenizer).end] if completion.finished else []
    return Rendered(render_prompt(tokenizer, completion.prompt), [*said, *end])
