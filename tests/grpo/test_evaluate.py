"""Comparison of policies on test prompts, which nothing else sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.schema import Completion, make_prompt
from data.splits import split_of
from grpo import evaluate
from grpo.config import ComparisonSettings
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from tests.support.training import SHORT


def test_sampling_leaves_the_test_prompts_alone(trained):
    sides = {split_of(g.completion.prompt) for g in trained.store.content.generations()}
    assert sides == {"train", "validation"}


def test_comparison_uses_test_prompts_only_and_finds_both_sides(trained):
    report = trained.reports["compare"]
    n = sum(split_of(p) == "test" for p in trained.store.content.prompts())
    assert report["prompts"] == n
    assert {r["measure"] for r in report["rows"]} >= {"reward", "true utility", "length in words"}
    assert report["kl_nats"]["value"] > 0


def test_a_policy_against_itself_has_no_kl_and_wins_half(trained):
    settings = ComparisonSettings(
        policy=trained.ids["sft"],
        reference=trained.ids["sft"],
        reward=trained.ids["reward"],
        sampling=SHORT,
    )
    trained.run("compare", evaluate.compare, settings, name="itself")
    report = trained.reports["itself"]
    assert report["kl_nats"]["value"] == pytest.approx(0, abs=1e-5)
    win = report["win_rates"]["reward"]
    assert win["low"] <= 0.5 <= win["high"]


def test_kl_against_a_sum_over_the_vocabulary(trained, tiny_model):
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    policy = load_model(find_policy(trained.ids["grpo"], trained.workspace), torch.float32)
    reference = load_model(find_policy(trained.ids["sft"], trained.workspace), torch.float32)
    completion = Completion(make_prompt("Why?"), "A short one.", True)
    given = evaluate.policy_kl(policy, reference, tokenizer, [completion])[0]
    from reward_model.language_model.render import render

    text = render(tokenizer, completion.prompt, completion.text, True)
    total = 0.0
    for end in range(len(text.prompt), len(text.ids) - text.behind):
        with torch.no_grad():
            ids = torch.tensor([text.ids[:end]], device=policy.device)
            p = policy(ids).logits[0, -1].double().softmax(-1)
            q = reference(ids).logits[0, -1].double().softmax(-1)
        total += float((p * (p / q).log()).sum())
    assert given == pytest.approx(total, abs=1e-5)


def test_win_rate_counts_ties_half():
    figure = evaluate.win_rate(np.array([1.0, 1, 1]), np.array([2.0, 1, 0]), "abc")
    assert figure.value == 0.5 and figure.n == 3
