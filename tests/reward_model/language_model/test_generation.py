"""Sampling: several completions of one prompt at once, and from a model that is broken."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from transformers import GenerationConfig

from data.schema import make_prompt
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.generation import draw, generate_shared
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from tests.support.training import POLICY, SHORT


def test_weights_that_overflow_are_said(trained):
    """Sampling from a policy whose scores are not numbers ends in one line."""
    model = load_model(find_origin(str(trained.folder("sft"))), torch.float32)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    tokenizer = load_tokenizer(find_origin(str(trained.folder("sft"))))
    with pytest.raises(ValueError, match="scores are not finite"):
        draw(model, tokenizer, [make_prompt("Why?")], **asdict(POLICY.sampling))


def test_shared_prompt_generates_what_transformers_generates(tiny_model):
    """Without chance in it: the same tokens as generate() on the padded prompts, one by one."""
    origin = find_origin(str(tiny_model))
    model, tokenizer = load_model(origin, torch.float32), load_tokenizer(origin)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=6,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    prompts = [tokenizer(t)["input_ids"] for t in ("A good question?", "Why?", "Why?", "B")]
    together = generate_shared(model, prompts, config)
    for prompt, tokens in zip(prompts, together, strict=True):
        alone = model.generate(
            torch.tensor([prompt], device=model.device),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=model.device),
            generation_config=config,
        )[0, len(prompt) :].tolist()
        assert tokens == alone
    assert together[1] == together[2]


def test_sampled_completions_of_one_prompt_differ(trained):
    origin = find_policy(trained.ids["sft"], trained.workspace)
    model, tokenizer = load_model(origin, torch.float32), load_tokenizer(origin)
    drawn = draw(model, tokenizer, [make_prompt("Why?")] * 6, **asdict(SHORT))
    assert len({c.text for c in drawn}) > 3
