"""The reward model: its parts, and that training on judgements teaches what was judged."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
)

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from data.splits import split_of
from reward_model import train as reward_train
from reward_model.config import EvaluateSettings, RewardSettings
from reward_model.dataset.examples import collect
from reward_model.evaluate import evaluate
from reward_model.language_model.classifier import completion_states, with_head
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render
from reward_model.scoring.scorer import Scorer
from reward_model.training.inputs import training_side
from tests.support.training import SMALL

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(40)]


def pair(prompt, a, b, value, annotator="ann", first="a"):
    task = Task("pairwise", Completion(prompt, a), Completion(prompt, b))
    return Judgement(0, task, annotator, Answer(value), first, "")


# --- the network


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


# --- examples


def test_a_prompt_is_never_on_two_sides():
    judgements = [pair(p, f"x{i}", f"y{i}", "a") for p in PROMPTS for i in range(3)]
    examples = collect(judgements)
    side = training_side(examples)
    train, held = (
        {c.prompt.id for c, t in zip(examples.completions, side, strict=True) if t == wanted}
        for wanted in (True, False)
    )
    assert train and held and not train & held


# --- scoring


def test_scores_do_not_depend_on_batch_or_order(reward_folder):
    scorer = Scorer.load(reward_folder, torch.float32)
    prompts = [PROMPTS[i % 5] for i in range(20)]
    texts = ["good " * (i % 7) + "end" for i in range(20)]
    finished = [i % 3 > 0 for i in range(20)]
    together = scorer.score(prompts, texts, finished)
    single = [
        scorer.score([p], [t], [f])[0] for p, t, f in zip(prompts, texts, finished, strict=True)
    ]
    backwards = scorer.score(prompts[::-1], texts[::-1], finished[::-1])[::-1]
    # one unit is the SFT policy's standard deviation, so the raw head is compared
    assert np.abs(together - single).max() * scorer.sd < 1e-5
    assert np.abs(together - backwards).max() * scorer.sd < 1e-5


def test_reward_units_are_those_of_the_policys_samples(trained):
    scorer = Scorer.load(trained.folder("reward"))
    samples = [
        g.completion
        for g in trained.store.content.generations(trained.ids["sft"])
        if split_of(g.completion.prompt) == "train"
    ]
    samples = sorted(samples, key=lambda c: c.prompt.id)[:160]
    rewards = scorer.score(
        [c.prompt for c in samples], [c.text for c in samples], [c.finished for c in samples]
    )
    assert abs(rewards.mean()) < 0.01 and abs(rewards.std() - 1) < 0.01  # bfloat16 where it is had


def test_uneven_lengths_are_refused(reward_folder):
    with pytest.raises(ValueError, match="give as many of each"):
        Scorer.load(reward_folder).score(["a"], ["b", "c"])


def test_a_folder_without_a_reward_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no finished reward model"):
        Scorer.load(tmp_path)


def test_training_improves_on_what_was_judged(trained):
    report = trained.reports["reward"]
    assert report["objective"] == "joint"
    # the head, where it predicts held-out prompts better
    assert report["tuning"] in ("lora", "head")
    steps = trained.metrics("reward")
    half = len(steps) // 2
    assert np.mean([m["loss"] for m in steps[half:]]) < np.mean([m["loss"] for m in steps[:half]])


def test_a_report_is_the_receipt_and_what_other_runs_read(trained):
    report = trained.reports["reward"]
    saved = json.loads((trained.folder("reward") / "receipt.json").read_text())
    assert saved == {k: v for k, v in report.items() if k in saved}
    assert report["summary"] and report["held_out"]["baselines"]
    assert report["scores"]["held"] and report["scores"]["crossed"]
    assert report["policy"] == trained.ids["sft"] and report["members"] == 1
    assert sum(report["judgements"].values()) > 100
    assert (trained.folder("reward") / "receipt.html").is_file()
    assert report["summary"] in (trained.folder("reward") / "README.md").read_text()


def test_regression_learns_points(trained, one_view):
    """Ratings are points of a Gaussian: what is predicted of them is a rating from 1 to 10."""
    settings = RewardSettings(
        policy=trained.ids["sft"], objective="regression", lora=SMALL, learning_rate=1e-4
    )
    trained.run("reward", reward_train.train, settings, name="regression")
    report = trained.reports["regression"]
    assert np.isfinite(report["reward_sd"]) and report["facts"]["1 to 10 read as"] == "points"
    assert report["scores"]["crossed"]["rating_error"]["value"] < 4
    assert report["dropped"]["judgements of kinds that this objective does not use"] > 0
    assert trained.metrics("regression")[0]["loss"] < 3.5  # nats; a Gaussian over 1 to 10 costs 2.4


def test_a_model_of_all_weights_is_evaluated_on_the_policy_that_it_started_from(trained, one_view):
    """Its folder keeps the SFT adapter: without it the head would be fitted to another model."""
    settings = RewardSettings(
        policy=trained.ids["sft"], tuning="full", learning_rate=1e-4, epochs=1
    )
    trained.run("reward", reward_train.train, settings, name="all weights")
    then, folder = trained.reports["all weights"], trained.folder("all weights")
    asked = EvaluateSettings(run=folder.name, workspace=trained.workspace)
    now = evaluate(asked, folder, trained.store, lambda done, total, words: None)
    assert now["scores"]["crossed"] == then["scores"]["crossed"]
    assert now["facts"]["policy's hash"] == then["facts"]["policy's hash"]
    assert now["spread"]["within"]["value"] == pytest.approx(
        then["spread"]["within"]["value"], abs=0.05
    )


def test_the_unit_comes_from_fresh_answers_where_none_are_stored(trained, tiny_model, one_view):
    settings = RewardSettings(policy=str(tiny_model), tuning="head")
    trained.run("reward", reward_train.train, settings, name="on the base model")
    unit = trained.reports["on the base model"]["facts"]["reward unit"]
    kept, left = map(int, re.findall(r"(\d+) (?:fresh answers|left)", unit))
    assert kept + left == 48 and kept > 24
    assert "stored answers" in trained.reports["reward"]["facts"]["reward unit"]


def test_config_is_not_the_shared_one(tiny_model):
    assert AutoConfig.from_pretrained(tiny_model).num_labels == 2
