"""Tuning the network on the joint likelihood; ensembles; what is saved is what was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from data.splits import split_of
from reward_model import train as reward_train
from reward_model.config import RewardSettings
from reward_model.dataset.examples import collect
from reward_model.evaluation.cross_validation import Model
from reward_model.export import fresh_process, parity_routes
from reward_model.export.folder import export
from reward_model.likelihood.fit import fit_head
from reward_model.scoring.scorer import Scorer
from reward_model.training.ensemble import posterior_at, resampled
from reward_model.training.finetune import batch_loss, prompt_batches
from tests.support.training import SMALL

pytestmark = pytest.mark.usefixtures("one_view")


@pytest.fixture(scope="module")
def world():
    """Judgements of all kinds on 40 prompts by two people, and features of the completions."""
    rng, judgements = np.random.default_rng(0), []
    for i in range(40):
        prompt = make_prompt(f"Question number {i}?")
        a, b = Completion(prompt, "one"), Completion(prompt, "two")
        said = [
            (Task("pairwise", a, b), rng.choice(["a", "b", "tie"])),
            (Task("scalar", a), str(rng.integers(1, 11))),
            (Task("binary", b), rng.choice(["good", "bad"])),
        ]
        judgements += [
            Judgement(3 * i + j, task, f"ann{i % 2}", Answer(str(value)), "a", "")
            for j, (task, value) in enumerate(said)
        ]
    examples = collect(judgements)
    return examples, rng.normal(size=(len(examples.completions), 5))


@pytest.mark.parametrize("objective", ["joint", "bradley_terry", "regression", "binary"])
def test_the_batches_add_up_to_the_likelihood_of_all(world, objective):
    import random

    examples, features = world
    model = Model(objective)
    joint = model.joint(examples)
    fit = fit_head(features, joint, 5.0)
    rewards = torch.from_numpy(fit.rewards(features))
    settings = RewardSettings(batch_size=6)
    parts = [
        batch_loss(model, examples, batch, rewards[batch], fit)
        for batch in prompt_batches(examples, settings, random.Random(0))
    ]
    assert sum(n for _, n, _ in parts) == len(joint)
    assert float(sum(loss for loss, _, _ in parts)) == pytest.approx(fit.nll)


def test_a_prompt_is_never_in_two_batches(world):
    import random

    examples, _ = world
    batches = list(prompt_batches(examples, RewardSettings(batch_size=5), random.Random(1)))
    prompts = [set(examples.prompt[b]) for b in batches]
    assert sorted(p for batch in prompts for p in batch) == list(range(40))


def test_a_resampling_repeats_whole_prompts(world):
    examples, _ = world
    again = resampled(examples, np.random.default_rng(3))
    times = np.bincount(examples.prompt[again.pairs.a], minlength=40)
    assert times.sum() == 40 and times.max() > 1 and (times == 0).any()
    assert np.array_equal(times, np.bincount(examples.prompt[again.binary.item], minlength=40))
    assert np.array_equal(times, np.bincount(examples.prompt[again.scalar.item], minlength=40))


def test_the_posterior_at_an_unchanged_network_is_the_fits(world):
    examples, features = world
    joint = Model().joint(examples)
    fit = fit_head(features, joint, 5.0)
    same = posterior_at(features, fit.weights, joint, fit)
    assert same.nll == pytest.approx(fit.nll)
    assert np.allclose(same.factor, fit.factor, atol=1e-8)


@pytest.mark.parametrize(("tuning", "members"), [("head", 3), ("lora", 2), ("full", 1)])
def test_what_is_saved_scores_as_what_was_trained(trained, tuning, members):
    settings = RewardSettings(
        policy=trained.ids["sft"], tuning=tuning, members=members, lora=SMALL, learning_rate=1e-3,
        epochs=1,
    )  # fmt: skip
    name = f"{tuning} {members}"
    trained.run("reward", reward_train.train, settings, name=name)
    report = trained.reports[name]
    scorer = Scorer.load(trained.folder(name), torch.float32)
    assert len(scorer.members) == members
    assert scorer.mean == report["reward_mean"] and scorer.sd == report["reward_sd"]
    samples = [
        g.completion
        for g in trained.store.content.generations(trained.ids["sft"])
        if split_of(g.completion.prompt) == "train"
    ]
    samples.sort(key=lambda c: c.prompt.id)
    rewards, sd = scorer.score(
        [c.prompt for c in samples[:160]],
        [c.text for c in samples[:160]],
        [c.finished for c in samples[:160]],
        return_std=True,
    )
    # training may read in bfloat16: then the unit is a little off in float32
    assert abs(rewards.mean()) < 0.05 and abs(rewards.std() - 1) < 0.05
    assert (sd > 0).all() and np.isfinite(sd).all()


def test_a_trained_model_is_exported_with_a_green_certificate(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(parity_routes, "ask_fresh_process", fresh_process.answer)  # as here
    certificate = export(trained.folder("reward"), tmp_path / "out", lambda outcome: None)
    assert certificate["green"], certificate


def test_an_ensemble_is_the_mean_of_its_members(trained):
    if "head 3" not in trained.ids:
        settings = RewardSettings(policy=trained.ids["sft"], tuning="head", members=3)
        trained.run("reward", reward_train.train, settings, name="head 3")
    scorer = Scorer.load(trained.folder("head 3"), torch.float32)
    alone = [
        replace_members(scorer, [member]).raw(["Why?"] * 2, ["Because.", "No idea."])
        for member in scorer.members
    ]
    assert np.allclose(scorer.raw(["Why?"] * 2, ["Because.", "No idea."]), np.mean(alone, axis=0))
    assert np.ptp(alone, axis=0).max() > 0


def replace_members(scorer, members):
    return Scorer(members, scorer.tokenizer, mean=scorer.mean, sd=scorer.sd)


def test_features_are_read_once(trained):
    settings = RewardSettings(policy=trained.ids["sft"], tuning="head", members=3)
    if "head 3" not in trained.ids:
        trained.run("reward", reward_train.train, settings, name="head 3")
    folder = trained.workspace / "features"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.npz")}
    trained.run(
        "reward",
        reward_train.train,
        replace(settings, objective="bradley_terry", members=1),
        name="x",
    )
    assert before and {p: p.stat().st_mtime_ns for p in folder.rglob("*.npz")} == before
