"""A trained reward model: it learns what was judged, and its report says so."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from reward_model import train as reward_train
from reward_model.config import EvaluateSettings, RewardSettings
from reward_model.evaluate import evaluate
from tests.support.training import SMALL


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
