"""The network under a reward: a shared prompt, and the head as transformers reads it."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoConfig,
)

from data.schema import make_prompt
from reward_model.language_model.classifier import completion_states, with_head
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(40)]


def test_shared_prompt_equals_each_text_by_itself(tiny_model):
    origin = find_origin(str(tiny_model))
    tokenizer = load_tokenizer(origin)
    causal = load_model(origin, torch.float32)
    texts = [
        render(tokenizer, PROMPTS[i % 3], "good " * n, finished=n % 2 == 0)
        for i, n in enumerate([1, 4, 0, 7, 2, 0])
    ]
    with torch.no_grad():
        together = completion_states(causal, texts, tokenizer.pad_token_id)
        for text, state in zip(texts, together, strict=True):
            alone = causal.model(torch.tensor([text.ids])).last_hidden_state[0, -1]
            assert torch.allclose(alone, state, atol=1e-5)


def test_the_classifier_reads_the_same_as_transformers_own_forward(tiny_model):
    origin = find_origin(str(tiny_model))
    tokenizer = load_tokenizer(origin)
    model = with_head(load_model(origin, torch.float32), tokenizer.pad_token_id).eval()
    torch.nn.init.normal_(model.score.weight)
    text = render(tokenizer, PROMPTS[0], "a friendly answer", finished=True)
    with torch.no_grad():
        theirs = model(torch.tensor([text.ids])).logits[0, 0]
        ours = model.score(completion_states(model, [text], tokenizer.pad_token_id))[0, 0]
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)
    assert model.config.num_labels == 1 and model.config.problem_type == "regression"


def test_config_is_not_the_shared_one(tiny_model):
    assert AutoConfig.from_pretrained(tiny_model).num_labels == 2
