"""The reward model: its parts, and that training on judgements teaches what was judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PhiConfig,
    PhiForCausalLM,
)

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from reward_model.backbone import find_origin, load_model, load_tokenizer
from reward_model.config import LoraSettings
from reward_model.evaluate import clustered_mean, decided_pairs, held_out_report, summary
from reward_model.examples import collect, require_enough, split_judgements
from reward_model.head import fit_head
from reward_model.lora import lora_config, resolve_targets
from reward_model.network import body_of, last_states, with_head
from reward_model.render import render
from reward_model.score import Scorer

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(40)]


def pair(prompt, a, b, value, annotator="ann", first="a"):
    task = Task("pairwise", Completion(prompt, a), Completion(prompt, b))
    return Judgement(0, task, annotator, Answer(value), first, "")


def rating(prompt, text, value, annotator="ann", kind="scalar"):
    return Judgement(0, Task(kind, Completion(prompt, text)), annotator, Answer(value), None, "")


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
        together = last_states(causal.model, texts, tokenizer.pad_token_id)
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
        ours = model.score(last_states(body_of(model), [text], tokenizer.pad_token_id))[0, 0]
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)
    assert model.config.num_labels == 1 and model.config.problem_type == "regression"


# --- LoRA targets


def test_presets_on_llama_names(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    attention = {t.rsplit(".", 1)[-1] for t in resolve_targets(model, "attention")}
    mlp = {t.rsplit(".", 1)[-1] for t in resolve_targets(model, "mlp")}
    assert attention == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert mlp == {"gate_proj", "up_proj", "down_proj"}
    assert set(resolve_targets(model, "all")) == set(resolve_targets(model, "attention")) | set(
        resolve_targets(model, "mlp")
    )


def test_presets_on_gpt2_tell_the_two_c_proj_apart():
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50))
    assert resolve_targets(model, "attention") == ["attn.c_attn", "attn.c_proj"]
    assert resolve_targets(model, "mlp") == ["mlp.c_fc", "mlp.c_proj"]


def test_presets_on_phi_names():
    config = PhiConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=50,
    )  # fmt: skip
    model = PhiForCausalLM(config)
    assert resolve_targets(model, "mlp") == ["mlp.fc1", "mlp.fc2"]
    assert "self_attn.q_proj" in resolve_targets(model, "attention")


def test_the_head_is_never_a_target(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert not any("lm_head" in t for t in resolve_targets(model, "all"))
    assert lora_config(model, LoraSettings(rank=4, alpha=8), "CAUSAL_LM").r == 4


def test_no_match_is_refused():
    with pytest.raises(ValueError, match="match nothing"):
        resolve_targets(torch.nn.Sequential(torch.nn.Embedding(3, 3)), "attention")


# --- examples, head, figures


def test_ratings_are_brought_to_each_annotators_scale():
    judgements = [rating(PROMPTS[i], f"t{i}", str(8 + i % 3), "kind") for i in range(30)]
    judgements += [rating(PROMPTS[i], f"s{i}", str(1 + i % 3), "harsh") for i in range(30)]
    examples = collect(judgements)
    means = {
        name: np.mean([t.value for t in examples.targets if t.annotator == name])
        for name in ("kind", "harsh")
    }
    assert abs(means["kind"] - means["harsh"]) < 1.0
    assert {t.raw for t in examples.targets if t.annotator == "harsh"} == {1.0, 2.0, 3.0}


def test_a_prompt_is_never_on_two_sides():
    judgements = [pair(p, f"x{i}", f"y{i}", "a") for p in PROMPTS for i in range(3)]
    train, held = split_judgements(judgements)
    assert train and held and not {j.prompt.id for j in train} & {j.prompt.id for j in held}


@pytest.mark.parametrize("objective", ["bradley_terry", "regression"])
def test_the_head_finds_a_linear_taste(objective):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=6)
    judgements, features = [], {}

    def text(prompt, name):
        x = rng.normal(size=6)
        features[Completion(prompt, name).id] = x
        return float(x @ truth)

    for i in range(120):
        prompt = make_prompt(f"q{i}")
        a, b = text(prompt, "one"), text(prompt, "two")
        if objective == "bradley_terry":
            judgements.append(pair(prompt, "one", "two", "a" if a > b else "b"))
        else:
            judgements.append(rating(prompt, "one", str(int(np.clip(round(5.5 + a), 1, 10)))))
            judgements.append(rating(prompt, "two", str(int(np.clip(round(5.5 + b), 1, 10)))))
    examples = collect(judgements)
    x = np.array([features[c.id] for c in examples.completions])
    weights, _ = fit_head(x, examples, objective)
    assert np.corrcoef(weights, truth)[0, 1] > 0.95


def test_accuracy_by_hand_and_ties_left_out():
    judgements = [
        pair(PROMPTS[0], "long long long", "short", "a"),
        pair(PROMPTS[1], "tiny", "much much longer", "a"),
        pair(PROMPTS[2], "same", "other", "tie"),
    ]
    examples = collect(judgements)
    rewards = np.array(
        [1.0 if c.text in ("long long long", "tiny") else 0.0 for c in examples.completions]
    )
    report = held_out_report(examples, rewards)
    assert report["accuracy"]["value"] == 1.0 and report["accuracy"]["n"] == 2
    assert report["baselines"]["longer"]["value"] == 0.5
    assert report["baselines"]["majority"]["value"] == 1.0  # both times the side shown first
    assert "Not enough" in summary(report)


def test_equal_rewards_count_half():
    examples = collect([pair(p, "x", "y", "a") for p in PROMPTS])
    report = held_out_report(examples, np.zeros(len(examples.completions)))
    assert report["accuracy"]["value"] == 0.5


def test_one_annotators_ratings_on_one_prompt_become_pairs():
    examples = collect(
        [
            rating(PROMPTS[0], "x", "7"),
            rating(PROMPTS[0], "y", "3"),
            rating(PROMPTS[0], "z", "3", annotator="bob"),
            rating(PROMPTS[1], "w", "1"),
        ]
    )
    pairs = decided_pairs(examples)
    assert [
        (examples.completions[p.better].text, examples.completions[p.worse].text) for p in pairs
    ] == [("x", "y")]


def test_summary_says_when_no_baseline_is_beaten():
    figure = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 100}
    better = {"value": 0.65, "low": 0.6, "high": 0.7, "n": 100}
    behind = {"over": "longer", "value": -0.05, "low": -0.2, "high": 0.1, "n": 100}
    report = {"accuracy": figure, "lead": behind, "baselines": {"longer": better}}
    assert summary(report).startswith("It beats no baseline")
    report["lead"] = {**behind, "value": 0.05}
    assert summary(report).startswith("Ahead of every baseline, but not surely")
    report["lead"] = {**behind, "value": 0.2, "low": 0.1}
    assert summary(report).startswith("It beats every baseline")


def test_the_lead_over_the_best_baseline_is_paired():
    """Right where length is right and nowhere else: no lead, however high the accuracy."""
    judgements = [pair(p, "a long answer", "short", "a") for p in PROMPTS]
    examples = collect(judgements)
    lengths = np.array([float(len(c.text.split())) for c in examples.completions])
    report = held_out_report(examples, lengths)
    assert report["accuracy"]["value"] == 1.0
    assert report["lead"]["value"] == report["lead"]["low"] == report["lead"]["high"] == 0.0


def test_ratings_do_not_inflate_the_comparisons():
    judgements = [pair(PROMPTS[0], "x", "y", "a")]
    judgements += [rating(PROMPTS[0], f"t{i}", str(1 + i)) for i in range(8)]
    assert len(decided_pairs(collect(judgements))) == 1


def test_interval_covers_the_mean_and_widens_with_clustering():
    rng = np.random.default_rng(1)
    values = rng.random(200) < 0.7
    apart = clustered_mean(values.tolist(), range(200))
    assert apart.low < apart.value < apart.high
    repeated = np.repeat(values[:20], 10).tolist()
    grouped = clustered_mean(repeated, np.repeat(np.arange(20), 10).tolist())
    assert grouped.high - grouped.low > 2 * (apart.high - apart.low)


def test_nothing_to_average_is_refused():
    with pytest.raises(ValueError, match="nothing to average"):
        clustered_mean([], [])


@pytest.mark.parametrize(
    ("objective", "judgements", "words"),
    [
        ("bradley_terry", [], "no pairwise judgements"),
        ("bradley_terry", [rating(PROMPTS[0], "x", "3")] * 30, "no pairwise judgements"),
        ("bradley_terry", [pair(PROMPTS[0], "x", "y", "a")] * 19, "collect 1 more"),
        ("bradley_terry", [pair(PROMPTS[0], "x", "y", "tie")] * 40, "0 comparisons"),
        ("regression", [pair(PROMPTS[0], "x", "y", "a")] * 40, "no scalar or binary"),
        ("regression", [rating(PROMPTS[0], "x", "3")] * 5, "5 ratings are too few"),
        ("regression", [rating(PROMPTS[0], "x", "3")] * 40, "all ratings are the same"),
    ],
)
def test_too_little_to_learn_from_is_refused(objective, judgements, words):
    with pytest.raises(ValueError, match=words):
        require_enough(objective, judgements)


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
    from data.splits import split_of

    samples = [
        g.completion
        for g in trained.store.content.generations(trained.ids["sft"])
        if split_of(g.completion.prompt) == "train"
    ][:160]
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
    assert report["objective"] == "bradley_terry"
    steps = trained.metrics("reward")
    assert all(m["accuracy"] is not None for m in steps)
    half = len(steps) // 2
    assert np.mean([m["loss"] for m in steps[half:]]) < np.mean([m["loss"] for m in steps[:half]])


def test_regression_trains_and_keeps_its_level(trained):
    """The head has no bias: the level of the targets must not be paid for by the ranking."""
    from reward_model import train as reward_train
    from reward_model.config import RewardSettings
    from tests.training import SMALL

    settings = RewardSettings(
        policy=trained.ids["sft"], objective="regression", lora=SMALL, learning_rate=1e-4
    )
    trained.run("reward", reward_train.train, settings, name="regression")
    losses = [m["loss"] for m in trained.metrics("regression")]
    assert losses[0] < 0.8  # standardised targets: half a variance of 1, and a little
    assert np.isfinite(trained.reports["regression"]["reward_sd"])


def test_the_unit_comes_from_fresh_answers_where_none_are_stored(trained, tiny_model):
    from reward_model import train as reward_train
    from reward_model.config import RewardSettings
    from tests.training import SMALL

    settings = RewardSettings(policy=str(tiny_model), lora=SMALL)
    trained.run("reward", reward_train.train, settings, name="on the base model")
    assert "48 fresh answers" in trained.reports["on the base model"]["reward_unit"]
    assert "stored answers" in trained.reports["reward"]["reward_unit"]


def test_config_is_not_the_shared_one(tiny_model):
    assert AutoConfig.from_pretrained(tiny_model).num_labels == 2
