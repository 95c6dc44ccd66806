"""GRPO runs as they are begun: with which models and settings, anew or resumed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from data import runs
from data.atomic_files import write_json
from data.settings import as_config
from grpo import train as grpo_train
from grpo.config import WINDOW
from grpo.run import resolve
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.scoring.scorer import Scorer
from tests.support.tiny import make_tiny
from tests.support.training import POLICY, SHORT, SMALL


def test_a_run_names_what_it_was_trained_with(trained):
    """ "The newest" is resolved once: a resume goes on with the same policy and reward model."""
    settings = resolve(POLICY, trained.store)
    assert settings.policy in [r.id for r in trained.store.runs.list("sft")]
    assert settings.reward in [r.id for r in trained.store.runs.list("reward")]


def test_resume_without_a_checkpoint_is_refused(trained):
    with pytest.raises(ValueError, match="no checkpoint"):
        trained.run("grpo", grpo_train.train, replace(POLICY, resume="nothing"), name="none")


def test_another_tokenizer_is_refused(trained, tmp_path):
    other = load_tokenizer(find_origin(str(make_tiny(tmp_path / "other", vocabulary=320))))
    scorer = Scorer.load(trained.folder("reward"))
    with pytest.raises(ValueError, match="another tokenizer"):
        grpo_train.check_same_tokenizer(scorer, other, "r")


def test_settings_of_a_run_come_back_from_its_config():
    from data.settings import from_config
    from grpo.config import PolicySettings

    changed = replace(POLICY, sampling=replace(SHORT, temperature=0.7), lora=SMALL)
    assert from_config(PolicySettings, json.loads(json.dumps(as_config(changed)))) == changed


def test_a_resumed_run_that_died_at_its_start_is_resumed_with_the_settings_of_the_first(
    sqlite_store, tmp_path
):
    asked = replace(POLICY, workspace=tmp_path)
    first = runs.new_run(sqlite_store, tmp_path, "grpo", {})
    second = runs.new_run(sqlite_store, tmp_path, "grpo", {"resume": first})
    folder = runs.runs_folder(tmp_path)
    (folder / first / "checkpoint-2").mkdir()
    (folder / first / "checkpoint-2" / WINDOW).touch()
    ran = replace(asked, steps=77, policy="sft-1", reward="reward-1")
    write_json(folder / first / "config.json", as_config(ran))
    sqlite_store.runs.end(second, "died", "")
    found = resolve(replace(asked, resume=second), sqlite_store)
    assert (found.steps, found.policy, found.resume) == (77, "sft-1", second)


def test_a_tracker_that_is_not_installed(trained, monkeypatch):
    monkeypatch.setattr(grpo_train, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="tracker wandb is not installed: run pip install wandb"):
        trained.run("grpo", grpo_train.train, replace(POLICY, report_to="wandb"), name="w")
