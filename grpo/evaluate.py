"""A policy against the SFT policy on the test prompts, which nothing else has seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.runs.recorder import Recorder
from data.schema import Completion
from data.simulated_annotators import utility
from data.splits import split_of
from data.stats.bootstrap import clustered_mean
from data.stats.estimate import Estimate, format_estimate
from data.store import Store
from grpo.config import ComparisonSettings
from grpo.policies.checkpoint import find_policy, read_origin, run_folder
from grpo.reports.records import AnswerPair, ComparisonReport, ComparisonRow
from grpo.sampling.local import draw_many
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.render import render
from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
KL_BATCH = 8


def compare(settings: ComparisonSettings, store: Store, run: Recorder) -> ComparisonReport:
    """Sample both policies on the test prompts and compare them. Returns the report.

    Raises ValueError where there are no test prompts, or the run names no reference or reward.
    """
    started = time.monotonic()
    set_seed(settings.seed)
    prompts = [p for p in store.content.prompts() if split_of(p) == "test"]
    prompts = prompts[: settings.limit] if settings.limit else prompts
    if not prompts:
        raise ValueError(
            "no test prompts are stored: import more prompts, a fifth of them become test"
        )
    reference, reward_run = _find_partners(settings)
    scorer = Scorer.load(run_folder(reward_run, settings.workspace))
    tokenizer = load_tokenizer(find_policy(settings.policy, settings.workspace))
    dtype, why = choose_dtype()
    total = 2 * len(prompts) * settings.per_prompt
    models, answers = {}, {}
    for place, name in enumerate((reference, settings.policy)):
        models[name] = load_model(find_policy(name, settings.workspace), dtype)

        def note_progress(_: object, done: int, n: int, place: int = place) -> None:
            run.progress(place * n + done, total, "sampling both policies")
            run.check_stop()

        answers[name] = draw_many(
            models[name],
            tokenizer,
            prompts,
            settings.per_prompt,
            settings.sampling,
            settings.batch_size,
            note_progress,
        )
    drawn = answers[reference], answers[settings.policy]
    before, after = (_measure_answers(found, scorer, settings.true_taste) for found in drawn)
    run.progress(total, total, "measuring KL")
    kl = policy_kl(
        models[settings.policy],
        models[reference],
        tokenizer,
        drawn[1],
        settings.sampling.temperature,
        run.check_stop,
    )
    clusters = [c.prompt.id for c in drawn[1]]
    worth = [name for name in after if name in ("reward", "true utility")]
    wins = {name: win_rate(before[name], after[name], clusters) for name in worth}
    kl_nats = clustered_mean(kl.tolist(), clusters)
    before["KL to SFT, nats per answer"] = np.zeros(len(kl))
    after["KL to SFT, nats per answer"] = kl
    main = worth[-1]
    return ComparisonReport(
        summary=f"The policy wins against SFT by {main} in {format_estimate(wins[main])},"
        f" at {kl_nats.value:.1f} nats.",
        rows=[_compare_means(name, before[name], after[name], clusters) for name in after],
        win_rates=wins,
        kl_nats=kl_nats,
        samples=_pair_answers(*drawn, (before["reward"], after["reward"]), settings.per_prompt),
        policy=settings.policy,
        reference=reference,
        reward=reward_run,
        prompts=len(prompts),
        per_prompt=settings.per_prompt,
        precision=why,
        seconds=round(time.monotonic() - started, 1),
    )


def win_rate(before: Array, after: Array, clusters: Sequence[object]) -> Estimate:
    """Share of answer pairs in which `after` is worth more; a tie counts half."""
    outcome = np.where(after == before, 0.5, after > before)
    return clustered_mean(outcome.tolist(), clusters)


def _compare_means(
    name: str, before: Array, after: Array, clusters: Sequence[object]
) -> ComparisonRow:
    by = clustered_mean((after - before).tolist(), clusters)
    means = float(before.mean()), float(after.mean())
    return ComparisonRow(name, *means, by.value, by.low, by.high, by.n)


def _measure_answers(
    completions: list[Completion], scorer: Scorer, true_taste: bool
) -> dict[str, Array]:
    """What one policy's answers are, by the name of each measure, (N,)."""
    reward = scorer.score(
        [c.prompt for c in completions],
        [c.text for c in completions],
        [c.finished for c in completions],
    )
    taste = {"true utility": np.array([utility(c) for c in completions])} if true_taste else {}
    return {
        "reward": reward,
        **taste,
        "length in words": np.array([float(len(c.text.split())) for c in completions]),
        "finished": np.array([float(c.finished) for c in completions]),
    }


def _pair_answers(
    before: list[Completion], after: list[Completion], rewards: Sequence[Array], per_prompt: int
) -> list[AnswerPair]:
    """The first answer of each policy to the first 8 prompts."""
    return [
        AnswerPair(
            after[i].prompt.text,
            before[i].text,
            after[i].text,
            *(round(float(reward[i]), 3) for reward in rewards),
        )
        for i in range(0, len(after), per_prompt)[:8]
    ]


@torch.inference_mode()
def policy_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    completions: Sequence[Completion],
    temperature: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> Array:
    """KL(policy || reference) of each answer in nats, summed over its tokens, (N,).

    Exact over the vocabulary at each token of answers drawn from the policy: the least noisy
    estimate of the KL between the two distributions over answers, both at the given temperature.
    """
    texts = [render(tokenizer, c.prompt, c.text, c.finished) for c in completions]
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
            span = slice(len(texts[i].prompt) - 1, len(texts[i].ids) - 1)
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
