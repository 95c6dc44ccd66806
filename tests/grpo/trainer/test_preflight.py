"""Preflight: each check passes on a sound run, and stops one whose fault it stands for."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.runs.checks import PREFLIGHT
from data.settings import as_config
from grpo import train as grpo_train
from grpo.policies.checkpoint import find_policy
from grpo.policies.reference import adapter_state
from grpo.trainer.preflight import Preflight, run_preflight
from reward_model.scoring.kept_answers import HELD, reproduce
from reward_model.scoring.scorer import Scorer
from tests.support.training import POLICY

CHECKS = (
    "trainable parameters",
    "reference",
    "reward model's layers in training mode",
    "reward model's held-out accuracy",
    "KL at step 0",
    "gradient",
    "change of the adapter by one step",
    "reward alone against in a batch",
    "spread of rewards in a group",
    "rank correlation of reward and length",
    "unfinished completions",
    "memory",
    "time",
)


@pytest.fixture
def check(trainer, tmp_path):
    """Preflight of the trainer, as it then is."""

    def run(**changes):
        trainer.settings = replace(POLICY, **changes)
        return run_preflight(trainer, tmp_path)

    return run


def level(folder, name):
    kept = json.loads((folder / PREFLIGHT).read_text())
    return next(c["level"] for c in kept["checks"] if c["name"] == name)


def test_a_sound_run_passes_and_nothing_has_changed(check, trainer, tmp_path):
    before = adapter_state(trainer.model)
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    found = check()
    assert tuple(c.name for c in found.checks) == CHECKS
    warned = {c.name for c in found.checks if c.level != "pass"}
    # the tiny model hardly ever ends an answer, and its reward model knows little
    assert warned <= {"unfinished completions", "spread of rewards in a group"}
    after = adapter_state(trainer.model)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert trainer.optimizer is None and trainer._step == 0 and not trainer._metrics["train"]
    assert all(p.grad is None for p in trainer.model.parameters())
    kept = json.loads((tmp_path / PREFLIGHT).read_text())
    assert kept["baseline"]["entropy"] > 0 and kept["baseline"]["same_policy"]
    assert kept["eta_seconds"] == pytest.approx(POLICY.steps * kept["seconds_per_step"], abs=0.1)
    assert trainer.retest == kept["baseline"]["retest"] > 0


def test_a_run_is_the_same_with_and_without_preflight(trained, monkeypatch):
    def skipped(trainer, _folder):
        trainer.calibrate(retest=1e-5, entropy=0.0)
        return Preflight()

    monkeypatch.setattr(grpo_train, "run_preflight", skipped)
    trained.run("grpo", grpo_train.train, POLICY, name="unchecked")
    for one, other in zip(trained.metrics("grpo"), trained.metrics("unchecked"), strict=True):
        assert {k: v for k, v in one.items() if "second" not in k} == {
            k: v for k, v in other.items() if "second" not in k
        }


def test_nothing_trainable(check, trainer):
    for parameter in trainer.model.parameters():
        parameter.requires_grad = False
    with pytest.raises(ValueError, match=r"trainable parameters is 0 .*needed is more than 0"):
        check()


def test_dropout_shows_as_kl(check, trainer):
    for module in trainer.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    with pytest.raises(ValueError, match=r"KL at step 0 is .*dropout is on"):
        check()


def test_a_reward_model_in_training_mode(check, trainer):
    trainer.parts.scorer.model.train()
    with pytest.raises(ValueError, match="layers in training mode is"):
        check()


def test_a_damaged_reward_model(check, trained, trainer, tmp_path):
    """Its accuracy is far from what was noted, whether it has turned or never knew much."""
    damaged = shutil.copytree(trained.folder("reward"), tmp_path / "damaged")
    kept = json.loads((damaged / HELD).read_text())
    (damaged / HELD).write_text(json.dumps(kept | {"accuracy": float(kept["accuracy"] < 0.5)}))
    trainer.parts = replace(trainer.parts, reward_folder=damaged)
    with pytest.raises(ValueError, match=r"held-out accuracy is .*as when it was trained"):
        check()
    assert level(tmp_path, "reward model's held-out accuracy") == "fail"
    known = json.loads((tmp_path / PREFLIGHT).read_text())["baseline"]
    assert known == {"same_policy": True}  # also where a check fails


def test_a_reward_model_without_a_record_is_let_pass(check, trained, trainer, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(trained.folder("reward"), folder)
    (folder / HELD).unlink()
    assert reproduce(folder, Scorer.load(folder)) is None
    trainer.parts = replace(trainer.parts, reward_folder=folder)
    check()
    assert level(tmp_path, "reward model's held-out accuracy") == "warn"


def test_a_reward_that_knows_no_difference(check, trainer, tmp_path):
    trainer.parts.scorer.sd = 1e12
    with pytest.raises(ValueError, match=r"spread of rewards in a group is .* 0% of 2 groups kept"):
        check(entropy_weight=0.01)
    assert level(tmp_path, "trainable parameters") == "pass"


def test_a_reward_that_is_length(check, trainer, tmp_path):
    trainer.reward.length_penalty = -100.0
    trainer.generation_config.max_new_tokens = 40
    trainer.generation_config.eos_token_id = list(range(0, 340, 6))
    trainer.reward.ends = trainer.generation_config.eos_token_id
    check(prompts_per_step=8)
    assert level(tmp_path, "rank correlation of reward and length") == "warn"


def test_a_failed_preflight_ends_the_run_before_its_first_step(trained):
    with pytest.raises(ValueError, match="preflight: change of the adapter"):
        trained.run("grpo", grpo_train.train, replace(POLICY, learning_rate=1e-30), name="idle")
    failed = trained.store.runs.list("grpo")[0]
    folder = trained.workspace / "runs" / failed.id
    assert failed.status == "failed" and failed.message.startswith("preflight: change")
    assert (folder / PREFLIGHT).is_file() and not list(folder.glob("checkpoint-*"))
    assert as_config(POLICY)["steps"] == 4 and (folder / "metrics.jsonl").read_text() == ""


def test_a_learning_rate_that_undoes_the_policy(trained):
    with pytest.raises(ValueError, match=r"by one step is .* use a smaller --learning-rate"):
        trained.run("grpo", grpo_train.train, replace(POLICY, learning_rate=1.0), name="wild")


def test_a_later_round_may_be_away_from_its_reference(trained, trainer, tmp_path):
    first, sft = (find_policy(trained.ids[k], trained.workspace) for k in ("grpo", "sft"))
    trainer.parts = replace(trainer.parts, policy=first, reference=sft)
    found = run_preflight(trainer, tmp_path)
    assert not found.baseline["same_policy"]
    assert level(tmp_path, "KL at step 0") == "pass"
