"""A reward model that starts from another one: few judgements stay near it, many take over."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from reward_model import train as reward_train
from reward_model.benchmark.worlds import draw_judgements, unseen
from reward_model.benchmark.worlds import world as simulated
from reward_model.config import EvaluateSettings, RewardSettings
from reward_model.evaluate import evaluate
from reward_model.evaluation.cross_validation import Candidate, Model, prior_for
from reward_model.language_model.origin import START
from reward_model.language_model.views import View
from reward_model.likelihood.fit import Basis
from reward_model.receipt.text import receipt_lines
from reward_model.scoring.scorer import Scorer
from reward_model.training.ensemble import posterior_at
from reward_model.training.start import find_start
from tests.reward_model.evaluation.receipts import tell
from tests.support.handmade import make_reward
from tests.support.training import SMALL

MODEL = Model()


@pytest.fixture(scope="module")
def world():
    """(judgements, features (N, d) and the head (d,) that they follow)."""
    told = tell(seed=3, prompts=80)
    examples = told.examples()
    features = told.table(examples)
    candidate = Candidate.of(features)
    fit = candidate.fit(MODEL.joint(examples), prior_for(MODEL, candidate, examples))
    return examples, features, fit.weights


def rewards(features, examples, start):
    """(rewards of all completions, their prior) by a head that starts there."""
    one = Candidate.of(features, None, start)
    prior = prior_for(MODEL, one, examples)
    return one.z @ one.fit(MODEL.joint(examples), prior).w, prior


def agreement(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_few_judgements_leave_the_rewards_near_those_of_the_start(world):
    examples, features, head = world
    few = examples.where(examples.prompt < 5)
    near, prior = rewards(features, few, head)
    alone, _ = rewards(features, few, None)
    known = features @ head
    assert prior.mean is not None
    assert agreement(near, known) > max(0.9, agreement(alone, known))


def test_the_unit_of_the_start_is_learned(world):
    examples, features, head = world
    one, _ = rewards(features, examples, head)
    other, _ = rewards(features, examples, 1000 * head)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_start_that_the_judgements_contradict_is_left_out(world):
    examples, features, head = world
    against, prior = rewards(features, examples, -head)
    alone, _ = rewards(features, examples, None)
    assert prior.mean is None
    np.testing.assert_allclose(against, alone, rtol=1e-2, atol=1e-2)


def test_a_start_beyond_the_principal_components_is_in_reach():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 12))
    head = rng.normal(size=12)
    basis = Basis.of(features, components=4)
    along = basis.through(head)
    assert along.axes.shape == (12, 5)
    np.testing.assert_allclose(along.axes.T @ along.axes, np.eye(5), atol=1e-9)
    told = along.coordinates(features) @ (along.axes.T @ (along.spread * head))
    assert np.ptp(told - features @ head) < 1e-9
    assert Basis.of(features).through(head).axes.shape == (12, 12)


def test_error_bars_hold_with_a_start():
    """The truth is a seventh of the start, less what the judgements tell."""
    held = []
    for seed in range(6):
        here = simulated(seed, prompts=300, careless=False)
        rng = np.random.default_rng(seed)
        true = np.linalg.lstsq(here.features, here.reward, rcond=None)[0]
        start = 7 * (true + 0.2 * rng.normal(size=len(true)) / np.sqrt(len(true)))
        examples = draw_judgements(here, rng, 30, 30, 30, 200)
        one = Candidate.of(here.features, None, start)
        fit = one.fit(MODEL.joint(examples), prior_for(MODEL, one, examples))
        a, b = unseen(here, 200)
        x = here.features
        unit = np.exp(here.crowd.consistency[examples.pairs.annotator]).mean()
        off = fit.rewards(x[a]) - fit.rewards(x[b]) - unit * (here.reward[a] - here.reward[b])
        held.append(np.mean(np.abs(off) < 1.96 * fit.spread(x[a], x[b])))
    assert np.mean(held) > 0.88


def test_a_tuned_network_keeps_the_error_bars_of_its_start(world):
    examples, features, head = world
    one = Candidate.of(features, None, head)
    joint = MODEL.joint(examples)
    fit = one.fit(joint, prior_for(MODEL, one, examples))
    again = posterior_at(features, fit.weights, joint, fit)
    mean = features.mean(0)
    np.testing.assert_allclose(again.spread(features, mean), fit.spread(features, mean), rtol=0.05)


# --- runs


def trained_from(trained, source, name, tuning="head"):
    settings = RewardSettings(
        policy=trained.ids["sft"], from_=str(source), tuning=tuning, lora=SMALL
    )
    trained.run("reward", reward_train.train, settings, name=name)
    return trained.reports[name]


def others(report):
    return {one["name"] for one in report["features"]["others"]}


@pytest.fixture(scope="module")
def head_run(trained):
    settings = RewardSettings(policy=trained.ids["sft"], tuning="head")
    return trained.run("reward", reward_train.train, settings, name="source")


def test_a_run_starts_from_another_runs_head(trained, head_run):
    report = trained_from(trained, head_run, "from head")
    assert report["facts"]["starts from"] == head_run
    assert others(report) >= {"start", "alone"}
    ours, theirs = (Scorer.load(trained.folder(name)) for name in ("from head", "source"))
    asked = [f"What is a good answer to {i}?" for i in range(12)], ["Good one."] * 12
    assert agreement(ours.score(*asked), theirs.score(*asked)) > 0.8
    assert any("flatters it" in line for line in receipt_lines(report))
    again = evaluate(
        EvaluateSettings(run=trained.ids["from head"], workspace=trained.workspace),
        trained.folder("from head"),
        trained.store,
        lambda *_: None,
    )
    assert again["held_out"] == report["held_out"]
    assert others(again) == others(report)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_tuned_start_is_written_out_and_needs_no_other_run(trained, tiny_model, tmp_path, tuning):
    source = make_reward(tmp_path / "source", tiny_model, tuning, View((1, 2), mean=True))
    trained_from(trained, source, f"from {tuning}")
    run = trained.folder(f"from {tuning}")
    assert json.loads((run / "origin.json").read_text())["model"] == f"./{START}"
    theirs, ours = Scorer.load(source, torch.float32), Scorer.load(run, torch.float32)
    shutil.rmtree(source)
    moved = run.rename(tmp_path / "moved")
    texts = (["Hello?", "Hello?"], ["Good.", "A long one without an end"])
    np.testing.assert_allclose(Scorer.load(moved, torch.float32).score(*texts), ours.score(*texts))
    head, own = (np.concatenate([m.read(ours._render_all(*texts, None), 0)[1] for m in s.members])
                 for s in (theirs, ours))  # fmt: skip
    np.testing.assert_allclose(own, head, rtol=1e-3, atol=1e-4)
    moved.rename(run)


@pytest.mark.parametrize("tuning", ["head", "lora"])
def test_any_classifier_with_one_label_is_a_start(trained, tiny_model, tmp_path, tuning):
    folder = classifier(tiny_model, tmp_path / "public", labels=1)
    report = trained_from(trained, folder, f"from public {tuning}", tuning)
    assert report["features"]["reads"].startswith("last token")
    run = trained.folder(f"from public {tuning}")
    scorer = Scorer.load(run)
    assert np.isfinite(scorer.score(["Hello?"], ["Good."])).all()
    with np.load(run / "start_head.npz") as kept:
        score = load_file(folder / "model.safetensors")["score.weight"][0]
        np.testing.assert_allclose(kept["weights"], score, rtol=1e-2)
    again = find_start(trained.ids[f"from public {tuning}"], trained.workspace, tmp_path)
    assert again.view == scorer.members[0].view


def classifier(tiny_model, folder, labels):
    config = LlamaConfig.from_pretrained(tiny_model)
    config.num_labels = labels
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_what_is_no_reward_model_is_refused(trained, tiny_model, tmp_path):
    def refused(name):
        with pytest.raises(ValueError) as error:
            find_start(name, trained.workspace, tmp_path)
        return str(error.value)

    assert "name a reward run, or a reward model" in refused(str(tiny_model))
    assert "2 labels" in refused(str(classifier(tiny_model, tmp_path / "two", labels=2)))
    assert "there is no folder" in refused("/nowhere/at/all")
    assert "holds no finished reward model" in refused(trained.ids["sft"])
