"""A policy against the SFT policy on the test prompts, which nothing else has seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from data.runs.files import runs_folder
from data.runs.recorder import Recorder
from data.schema import Completion
from data.simulated_annotators import utility
from data.splits import split_of
from data.stats.bootstrap import clustered_mean
from data.stats.estimate import Estimate, format_estimate
from data.store import Store
from grpo.config import ComparisonSettings
from grpo.policies.checkpoint import find_policy
from grpo.sampling.local import draw_many
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import ORIGIN
from reward_model.language_model.render import render
from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
KL_BATCH = 8


@dataclass(frozen=True)
class Side:
    """One policy's answers to the test prompts, and what they are worth."""

    completions: list[Completion]
    reward: Array
    utility: Array
    length: Array
    finished: Array


def compare(settings: ComparisonSettings, store: Store, run: Recorder) -> dict[str, Any]:
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
    reference, reward_run = _partners(settings)
    scorer = Scorer.load(_folder(settings.workspace, reward_run))
    origin = find_policy(settings.policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_dtype()
    total = 2 * len(prompts) * settings.per_prompt
    models, drawn = {}, {}
    for place, name in enumerate((reference, settings.policy)):
        models[name] = load_model(find_policy(name, settings.workspace), dtype)

        def each(_: object, done: int, n: int, place: int = place) -> None:
            run.progress(place * n + done, total, "sampling both policies")
            run.check_stop()

        drawn[name] = draw_many(
            models[name],
            tokenizer,
            prompts,
            settings.per_prompt,
            settings.sampling,
            settings.batch_size,
            each,
        )
    before, after = (_side(drawn[n], scorer) for n in (reference, settings.policy))
    run.progress(total, total, "measuring KL")
    kl = policy_kl(
        models[settings.policy],
        models[reference],
        tokenizer,
        after.completions,
        settings.sampling.temperature,
        run.check_stop,
    )
    report = comparison_report(before, after, kl, settings.true_taste)
    report |= {
        "policy": settings.policy,
        "reference": reference,
        "reward": reward_run,
        "prompts": len(prompts),
        "per_prompt": settings.per_prompt,
        "precision": why,
        "seconds": round(time.monotonic() - started, 1),
    }
    return report


def comparison_report(before: Side, after: Side, kl: Array, true_taste: bool) -> dict[str, Any]:
    """Rows with intervals, win rates, and answers side by side."""
    clusters = [c.prompt.id for c in after.completions]
    measures = [("reward", before.reward, after.reward)]
    if true_taste:
        measures.append(("true utility", before.utility, after.utility))
    wins = {name: win_rate(b, a, clusters).as_json() for name, b, a in measures}
    measures += [
        ("length in words", before.length, after.length),
        ("finished", before.finished, after.finished),
    ]
    rows = [_row(name, b, a, clusters) for name, b, a in measures]
    kl_figure = clustered_mean(kl.tolist(), clusters)
    rows.append(
        {
            "measure": "KL to SFT, nats per answer",
            "reference": 0.0,
            "policy": kl_figure.value,
            "difference": kl_figure.value,
            "low": kl_figure.low,
            "high": kl_figure.high,
            "n": kl_figure.n,
        }
    )
    main = "true utility" if true_taste else "reward"
    return {
        "summary": f"The policy wins against SFT by {main} in {format_estimate(wins[main])},"
        f" at {kl_figure.value:.1f} nats.",
        "rows": rows,
        "win_rates": wins,
        "kl_nats": kl_figure.as_json(),
        "samples": _samples(before, after),
    }


def win_rate(before: Array, after: Array, clusters: Sequence[object]) -> Estimate:
    """Share of answer pairs in which `after` is worth more; a tie counts half."""
    outcome = np.where(after == before, 0.5, after > before)
    return clustered_mean(outcome.tolist(), clusters)


def _row(name: str, before: Array, after: Array, clusters: Sequence[object]) -> dict[str, Any]:
    difference = clustered_mean((after - before).tolist(), clusters)
    return {
        "measure": name,
        "reference": float(before.mean()),
        "policy": float(after.mean()),
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "n": difference.n,
    }


def _side(completions: list[Completion], scorer: Scorer) -> Side:
    return Side(
        completions,
        scorer.score(
            [c.prompt for c in completions],
            [c.text for c in completions],
            [c.finished for c in completions],
        ),
        np.array([utility(c) for c in completions]),
        np.array([float(len(c.text.split())) for c in completions]),
        np.array([float(c.finished) for c in completions]),
    )


def _samples(before: Side, after: Side, most: int = 8) -> list[dict[str, Any]]:
    """The first answer of each side to the first prompts."""
    seen: dict[str, dict[str, Any]] = {}
    for i, completion in enumerate(after.completions):
        if completion.prompt.id not in seen and len(seen) < most:
            seen[completion.prompt.id] = {
                "prompt": completion.prompt.text,
                "before": before.completions[i].text,
                "after": completion.text,
                "reward_before": round(float(before.reward[i]), 3),
                "reward_after": round(float(after.reward[i]), 3),
            }
    return list(seen.values())


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


def _partners(settings: ComparisonSettings) -> tuple[str, str]:
    """(reference, reward model) as given, or as the GRPO run noted them."""
    path = runs_folder(settings.workspace) / settings.policy / ORIGIN
    facts = json.loads(path.read_text()) if path.is_file() else {}
    reference = settings.reference or facts.get("reference")
    reward = settings.reward or facts.get("reward")
    if not reference or not reward:
        raise ValueError(
            f"{settings.policy!r} is not a finished GRPO run: name one, or give --reference"
            " and --reward"
        )
    return reference, reward


def _folder(workspace: Path, run: str) -> Path:
    inside = runs_folder(workspace) / run
    return inside if inside.is_dir() else Path(run)
