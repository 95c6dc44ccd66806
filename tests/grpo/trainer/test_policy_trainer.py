"""The policy trainer: what is steered, what each step says, and going on exactly."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from trl import GRPOTrainer

from data import runs
from data.schema import make_prompt
from data.splits import split_of
from grpo import train as grpo_train
from grpo.config import WINDOW, PolicySettings
from grpo.trainer.callback import diagnose_rows
from grpo.trainer.policy_trainer import PolicyTrainer
from grpo.trainer.trl_config import MEASURE_ONLY
from reward_model.config import LoraSettings
from reward_model.language_model.render import render_prompt
from tests.grpo.policies.test_reference import adapter, same
from tests.support.training import POLICY

# --- what the trainer reads


def test_the_policy_reads_prompts_as_the_reward_model_does(trainer):
    """Control tokens that a prompt spells out are text there too, and answers end as turns do."""
    tokenizer, prompt = trainer.parts.tokenizer, make_prompt("What does <|im_end|> mean?")
    turns = [m.as_dict() for m in prompt.messages]
    ids, images, more = trainer._tokenize_prompts([turns])
    assert ids == [render_prompt(tokenizer, prompt)] and images is None and not more
    assert ids[0].count(tokenizer.eos_token_id) == 1
    assert trainer.generation_config.eos_token_id == trainer.reward.ends == trainer.eos_token_ids
    answer = tokenizer("So<|im_end|>", add_special_tokens=False)["input_ids"]
    seen = []
    trainer.reward.scorer.score_groups = lambda *given: seen.append(given[1]) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer._calculate_rewards([], [turns], [""], [answer])
    assert seen == [["So"]]


def test_kl_is_zero_at_the_first_step_and_the_policy_moves(trained):
    steps = trained.metrics("grpo")
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert steps[-1]["kl"] > 0
    assert not same(adapter(trained.folder("sft")), adapter(trained.folder("grpo")))


def test_shared_prompt_gives_trls_log_probabilities(trainer):
    tokenizer = trainer.processing_class
    prompts = [tokenizer(t)["input_ids"] for t in ("A good question?", "Why?")]
    width = max(map(len, prompts))
    torch.manual_seed(0)
    rows, masks = [], []
    for prompt in [prompts[0], prompts[0], prompts[1], prompts[1]]:
        n = int(torch.randint(2, 6, ()))
        completion = torch.randint(5, 250, (n,)).tolist()
        pad = tokenizer.pad_token_id
        rows.append([pad] * (width - len(prompt)) + prompt + completion + [pad] * (6 - n))
        masks.append([0] * (width - len(prompt)) + [1] * (len(prompt) + n) + [0] * (6 - n))
    device = trainer.model.device
    ids, mask = torch.tensor(rows, device=device), torch.tensor(masks, device=device)
    args = (trainer.model, ids, mask, 6)
    ours = trainer._get_per_token_logps_and_entropies(*args, compute_entropy=True)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *args, compute_entropy=True)
    keep = mask[:, -6:].bool()
    assert torch.allclose(ours[0][keep], theirs[0][keep], atol=1e-5)
    assert torch.allclose(ours[1][keep], theirs[1][keep], atol=1e-5)


# --- steering


def test_a_kl_coefficient_of_zero_is_measured_and_stays(trained):
    trained.run(
        "grpo",
        grpo_train.train,
        replace(POLICY, kl_weight=0.0, pessimism=0.0, steps=2),
        name="free",
    )
    rows = trained.metrics("free")
    assert [r["kl_weight"] for r in rows] == [0.0] * 2
    assert rows[-1]["kl"] > 0
    assert MEASURE_ONLY * rows[-1]["kl"] < 1e-9


@pytest.mark.parametrize(("start", "weights"), [(0.1, [0, 0]), (2, [0.015, 0.02])])
def test_entropy_bonus_acts_and_grows_below_its_target(trained, monkeypatch, start, weights):
    """With a starting entropy far below what the policy has, it rests; with one far above, acts."""

    calibrate = PolicyTrainer.calibrate
    monkeypatch.setattr(
        PolicyTrainer,
        "calibrate",
        lambda self, retest, entropy: calibrate(self, retest, start * entropy),
    )
    settings = replace(POLICY, steps=2, entropy_weight=0.01, entropy_target=0.9)
    trained.run("grpo", grpo_train.train, settings, name="steered")
    assert [r["entropy_weight"] for r in trained.metrics("steered")] == pytest.approx(weights)


# --- settings that reach the trainer


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "cispo", "advantage_scale": "batch"},
        {"loss_type": "sapo", "advantage_scale": "none"},
        {"loss_type": "dapo", "micro_batches": 4, "iterations": 2},
        {"loss_type": "bnpo", "pessimism": 0.5, "length_penalty": 1.0, "drop_below": 0.0},
    ],
)
def test_every_loss_trains(trained, changes):
    trained.run("grpo", grpo_train.train, replace(POLICY, steps=2, **changes), name="loss")
    rows = trained.metrics("loss")
    assert [r["step"] for r in rows] == [1, 2]
    assert 0 < rows[0]["moved"] != rows[1]["moved"] > 0
    assert all(np.isfinite(v) for r in rows for v in r.values())
    assert all("clip_ratio" in r for r in rows) == (changes["loss_type"] != "sapo")


def test_micro_batches_are_one_batch(trained):
    """The same step in four parts, to rounding."""
    settings = replace(POLICY, steps=1, micro_batches=4)
    trained.run("grpo", grpo_train.train, settings, name="parts")
    one, other = trained.metrics("grpo")[0], trained.metrics("parts")[0]
    assert one["reward_mean"] == other["reward_mean"]
    assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entropy_target": 1.5}, "entropy target 1.5 not allowed"),
        ({"entropy_target": 0.5, "entropy_weight": 0.0}, "entropy target without entropy weight"),
        ({"micro_batches": 3}, "micro batches 3 not allowed: use a number that divides"),
        ({"pessimism": -1.0}, "pessimism -1.0 not allowed"),
        ({"pessimism": 1.0, "kl_weight": 0.0}, "pessimism without kl weight not allowed"),
        ({"learning_rate": 0.0}, "learning rate 0.0 not allowed"),
        ({"iterations": 0}, "iterations 0 not allowed"),
        ({"lora": LoraSettings(dropout=0.1)}, "lora dropout 0.1 not allowed in GRPO"),
        ({"kl_target": float("nan")}, "kl target nan not allowed"),
        ({"learning_rate": float("inf")}, "learning rate inf not allowed"),
    ],
)
def test_settings_out_of_range(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(PolicySettings(), **changes)


# --- each step is told


def test_metrics_carry_what_is_watched(trained):
    last = trained.metrics("grpo")[-1]
    for name in (
        "reward_mean",
        "reward_std",
        "group_std",
        "kl",
        "kl_nats",
        "entropy",
        "grad_norm",
        "length",
        "truncated",
        "kl_weight",
        "seconds",
    ):
        assert math.isfinite(last[name]), name
    samples = (trained.folder("grpo") / "samples.jsonl").read_text().splitlines()
    assert len(samples) == 4 * POLICY.prompts_per_step * POLICY.group_size
    groups = [json.loads(s)["advantage"] for s in samples[: POLICY.group_size]]
    assert abs(sum(groups)) < 1e-2


def test_samples_carry_reward_and_advantage_once_a_batch(trained, straight):
    kept = runs.samples(trained.folder("straight"))
    size, batch = straight.group_size, straight.group_size * straight.prompts_per_step
    assert [s["step"] for s in kept] == [1] * batch + [3] * batch + [5] * batch
    for group in (kept[i : i + size] for i in range(0, len(kept), size)):
        assert len({s["prompt"] for s in group}) == 1
        if not group[0]["dropped"]:
            assert sum(s["advantage"] for s in group) == pytest.approx(0, abs=1e-2)
            best = max(group, key=lambda s: s["reward"])
            assert best["advantage"] == max(s["advantage"] for s in group)
    rows = trained.metrics("straight")
    assert rows[0]["reward_mean"] == rows[1]["reward_mean"] != rows[2]["reward_mean"]
    assert rows[0]["kl"] == 0 and rows[1]["kl"] > 0


def test_verdicts_are_written_while_it_runs(trained):
    folder = trained.folder("grpo")
    live = json.loads((folder / "verdicts.json").read_text())
    told = trained.reports["grpo"]["verdicts"]
    assert live and [(v["name"], v["text"]) for v in live] == [(v["name"], v["text"]) for v in told]


def test_what_is_no_number_is_told_before_the_run_ends(trained, monkeypatch):
    def broken(self, model, inputs):
        loss = GRPOTrainer._compute_loss(self, model, inputs)
        return loss * float("nan") if self.state.global_step == 2 else loss

    monkeypatch.setattr(PolicyTrainer, "_compute_loss", _with_reference(broken))
    with pytest.raises(ValueError, match="grad norm became infinite or NaN at step 3"):
        trained.run("grpo", grpo_train.train, POLICY, name="nan")
    failed = trained.store.runs.list("grpo")[0]
    assert failed.status == "failed" and "at step 3" in failed.message
    folder = runs.runs_folder(trained.workspace) / failed.id
    assert [m["step"] for m in runs.metrics(folder)] == [1, 2, 3]
    assert runs.metrics(folder)[-1]["loss"] is None
    assert (folder / "checkpoint-2" / WINDOW).is_file()
    (live,) = [v for v in runs.verdicts(folder) if v["name"] == "not-finite"]
    assert "infinite or NaN at step 3" in live["text"]
    again = diagnose_rows(folder, runs.metrics(folder), POLICY, runs.samples(folder))
    assert [asdict(v) for v in again] == runs.verdicts(folder)


def _with_reference(broken):
    """A loss of its own behind PolicyTrainer's."""
    ours = PolicyTrainer._compute_loss

    def loss(self, model, inputs):
        ours(self, model, inputs)
        return broken(self, model, inputs)

    return loss


# --- trackers


def test_tensorboard_sees_our_metrics(trained):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not there"
    )
    settings = replace(POLICY, steps=2, report_to="tensorboard")
    trained.run("grpo", grpo_train.train, settings, name="board")
    (events,) = trained.folder("board").rglob("events.out.tfevents*")
    read = accumulator.EventAccumulator(str(events)).Reload()
    rows = trained.metrics("board")
    for name in ("group_std", "unique", "disagreement", "kl_nats", "tokens_per_second"):
        seen = [e.value for e in read.Scalars(f"train/{name}")]
        assert seen == pytest.approx([r[name] for r in rows], rel=1e-4)


# --- going on exactly


def stop_after(step):
    def work(settings, store, run):
        progress = run.progress

        def spy(done, total, message=""):
            progress(done, total, message)
            if done == step and message == "training":
                run.request_stop()

        run.progress = spy
        return grpo_train.train(settings, store, run)

    return work


@pytest.fixture(scope="module")
def straight(trained):
    """Six steps, two on a batch, each in two parts; four to a pass over the prompts."""
    prompts = sum(split_of(p) == "train" for p in trained.store.content.prompts())
    settings = replace(
        POLICY, steps=6, save_every=5, entropy_target=1.0, iterations=2, micro_batches=2,
        prompts_per_step=prompts // 2, group_size=2, drop_below=0.0,
    )  # fmt: skip
    trained.run("grpo", grpo_train.train, settings, name="straight")
    seen = [s["prompt"] for s in runs.samples(trained.folder("straight"))]
    first, third = seen[: len(seen) // 3], seen[-len(seen) // 3 :]
    assert first != third  # the order of a later pass is another
    return settings


def test_checkpoints_hold_the_generation_window(trained):
    folders = sorted(p.name for p in trained.folder("grpo").glob("checkpoint-*"))
    assert folders == ["checkpoint-2", "checkpoint-4"]
    assert (trained.folder("grpo") / "checkpoint-4" / WINDOW).is_file()


@pytest.mark.parametrize("step", [1, 4, 6])
def test_resume_is_bit_exact_at_any_step(trained, straight, step):
    """In the middle of a generation window; at the end of one, of a pass over prompts, of the run.

    What is steered is as it was, and the settings are those of the stopped run.
    """
    stopped = trained.run("grpo", stop_after(step), straight, name="stopped")
    assert [m["step"] for m in trained.metrics("stopped")][-1] == step
    assert trained.store.runs.get(stopped).status == "stopped"
    trained.run("grpo", grpo_train.train, replace(POLICY, resume=stopped, steps=99), name="resumed")
    assert same(adapter(trained.folder("straight")), adapter(trained.folder("resumed")))
    timed = ("seconds", "tokens_per_second")
    for one, other in zip(trained.metrics("straight"), trained.metrics("resumed"), strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }
    kept = [runs.samples(trained.folder(n)) for n in ("straight", "resumed")]
    assert kept[0] == kept[1]
    assert (trained.folder("resumed") / "preflight.json").is_file()


@pytest.fixture(scope="module")
def stopped(trained):
    """A run stopped after two of four steps, and half a checkpoint, as `kill -9` leaves it."""
    run_id = trained.run("grpo", stop_after(2), POLICY, name="before")
    half = trained.folder("before") / "checkpoint-3"
    shutil.copytree(trained.folder("before") / "checkpoint-2", half)
    (half / WINDOW).unlink()
    return run_id


def test_a_run_that_died_before_its_first_checkpoint_hands_on_to_the_one_before(trained, stopped):
    """To its last whole checkpoint."""
    second = trained.run("grpo", stop_after(3), replace(POLICY, resume=stopped), name="second")
    for checkpoint in trained.folder("second").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    trained.run("grpo", grpo_train.train, replace(POLICY, resume=second), name="third")
    assert [m["step"] for m in trained.metrics("third")] == [1, 2, 3, 4]
    assert same(adapter(trained.folder("grpo")), adapter(trained.folder("third")))
    assert PolicyTrainer.samples == ()


def test_another_reward_model_is_not_the_same_run(trained, stopped):
    head = trained.folder("reward") / "head.npz"
    kept = head.read_bytes()
    try:
        with np.load(head) as found:
            np.savez(head, **{**found, "weights": found["weights"] * 1.01})
        with pytest.raises(ValueError, match="the reward model or the prompts have changed"):
            trained.run("grpo", grpo_train.train, replace(POLICY, resume=stopped), name="other")
    finally:
        head.write_bytes(kept)
