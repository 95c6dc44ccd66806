"""Features are read once for each completion and kept by content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from data.schema import Completion, make_prompt
from reward_model.language_model.classifier import with_head
from reward_model.language_model.features import FeatureCache, read_features
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import Rendered, render


def texts_of(tokenizer, n=7):
    return [
        render(tokenizer, make_prompt(f"q{i % 3}"), "good " * (i % 4), finished=i % 2 == 0)
        for i in range(n)
    ]


def test_features_do_not_depend_on_batch_or_order(tiny_model):
    origin = find_origin(str(tiny_model))
    tokenizer = load_tokenizer(origin)
    model = with_head(load_model(origin, torch.float32), tokenizer.pad_token_id).eval()
    texts = texts_of(tokenizer)
    together = read_features(model, texts, tokenizer.pad_token_id, batch=16)
    single = read_features(model, texts, tokenizer.pad_token_id, batch=1)
    backwards = read_features(model, texts[::-1], tokenizer.pad_token_id, batch=3)[::-1]
    assert np.abs(together - single).max() < 1e-5
    assert np.abs(together - backwards).max() < 1e-5
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_padding_takes_no_position_beyond_what_the_model_has():
    """Beside a long prompt a long completion's padding would: learned positions end there."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = with_head(GPT2LMHeadModel(config), 0).eval()
    ids = list(range(1, 17))
    texts = [Rendered(ids[:14], ids[14:]), Rendered(ids[:2], ids[2:]), Rendered(ids, [])]
    together = read_features(model, texts, 0)
    alone = np.concatenate([read_features(model, [text], 0) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


def test_what_was_read_is_there_for_the_next_process(tmp_path):
    ids = [Completion(make_prompt("q"), str(i)).id for i in range(5)]
    features = np.arange(15, dtype=np.float32).reshape(5, 3)
    cache = FeatureCache(tmp_path, "weights", "tokenizer")
    cache.add(ids[:2], features[:2])
    cache.add(ids[2:], features[2:])
    again = FeatureCache(tmp_path, "weights", "tokenizer")
    assert all(i in again for i in ids)
    assert np.array_equal(again.get(ids[::-1]), features[::-1])


def test_other_weights_are_another_cache(tmp_path):
    FeatureCache(tmp_path, "weights", "tokenizer").add(["x"], np.ones((1, 2), np.float32))
    assert "x" not in FeatureCache(tmp_path, "other weights", "tokenizer")
    with pytest.raises(KeyError):
        FeatureCache(tmp_path, "other weights", "tokenizer").get(["x"])


def test_a_file_that_was_not_finished_is_ignored(tmp_path):
    cache = FeatureCache(tmp_path, "weights")
    cache.add(["x"], np.ones((1, 2), np.float32))
    (cache.folder / "half.part").write_bytes(b"PK\x03\x04 cut off")
    assert "x" in FeatureCache(tmp_path, "weights")
