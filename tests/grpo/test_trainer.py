"""GRPO's own parts: advantages, what is steered, what each step says, and going on exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOTrainer

from data import runs
from data.schema import make_prompt
from data.splits import split_of
from grpo import train as grpo_train
from grpo.config import WINDOW, PolicySettings
from grpo.policies.reference import adapter_distance, reference_of
from grpo.trainer.advantages import TINY, advantages
from grpo.trainer.batch_metrics import Sample, batch_metrics, repetition, spearman
from grpo.trainer.callback import diagnose_rows
from grpo.trainer.kl_target import next_kl_coefficient
from grpo.trainer.policy_trainer import PolicyTrainer
from grpo.trainer.trl_config import MEASURE_ONLY
from reward_model.config import LoraSettings
from reward_model.language_model.generation import draw
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render_prompt
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer
from tests.grpo.test_policies import adapter, same, stop_after
from tests.support.training import POLICY

# --- advantages

REWARDS = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.0, 0.1, 0.0, 0.1], [5.0, 5.0, 5.0, 5.0]])
NONE = torch.zeros(3)


def test_group_scale_is_grpos_formula():
    found, kept = advantages(REWARDS, NONE, "group")
    for i in (0, 1):
        row = REWARDS[i].numpy()
        want = (row - row.mean()) / (row.std(ddof=1) + TINY)
        assert np.allclose(found[i], want, atol=1e-6)
    assert kept.tolist() == [True, True, False] and not found[2].any()


def test_batch_scale_divides_by_the_whole_steps_spread():
    found, _ = advantages(REWARDS, NONE, "batch")
    spread = REWARDS.flatten().std()
    assert torch.allclose(found[0], (REWARDS[0] - 3) / (spread + TINY))
    other, _ = advantages(REWARDS, NONE, "batch", torch.tensor(10.0))
    assert torch.allclose(other[0], (REWARDS[0] - 3) / (10 + TINY))
    plain, _ = advantages(REWARDS, NONE, "none")
    assert torch.equal(plain[0], REWARDS[0] - 3)


def test_a_group_below_its_noise_is_dropped():
    found, kept = advantages(REWARDS, torch.tensor([0.5, 0.5, 0.5]), "group")
    assert kept.tolist() == [True, False, False]
    assert found[0].any() and not found[1:].any()


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5),
    st.sampled_from(["group", "batch", "none"]),
    st.floats(0, 5),
)
def test_advantages_are_finite_and_centred(rows, scale, floor):
    rewards = torch.tensor(rows, dtype=torch.float64)
    found, kept = advantages(rewards, torch.full((len(rows),), floor).double(), scale)
    assert torch.isfinite(found).all()
    assert torch.allclose(found.mean(1), torch.zeros(len(rows)).double(), atol=1e-6)
    assert not found[~kept].any()


# --- the reward


@pytest.fixture(scope="module")
def scorer(trained):
    return Scorer.load(trained.folder("reward"), torch.float32)


ASKED = {
    "prompts": [[{"role": "user", "content": "Why?"}]] * 4,
    "completions": ["Because.", "I would say so, yes.", "No", "No"],
    "completion_ids": [[5, 6, 2], [7] * 30, [9, 2], [9, 2]],
}


def test_reward_is_mean_less_length(scorer):
    reward = GrpoReward(scorer, [2], clip=50.0, group_size=4)
    plain = reward.score(**ASKED)
    assert reward(**ASKED) == plain.reward.tolist()
    mean, sd = scorer.score(["Why?"] * 4, ASKED["completions"], plain.finished, return_std=True)
    assert np.allclose(plain.reward, mean) and np.allclose(plain.sd, sd)
    short = GrpoReward(scorer, [2], 50.0, 4, length_penalty=2.0)
    assert np.allclose(short(**ASKED), plain.reward - 2 * np.array([3, 30, 2, 2]) / 100)
    assert plain.tokens == [3, 30, 2, 2]


def test_noise_of_a_group_is_about_differences_alone(scorer):
    alike = {**ASKED, "completions": ["No"] * 4, "completion_ids": [[9, 2]] * 4}
    reward = GrpoReward(scorer, [2], 50.0, 4)
    same = reward.score(**alike)
    assert same.noise == pytest.approx([0], abs=1e-3) and (same.sd > 0.1).all()
    assert reward.score(**ASKED).noise[0] > 0.1
    with pytest.raises(ValueError, match="4 completions are no groups of 3"):
        scorer.score_groups(["Why?"] * 4, ASKED["completions"], [True] * 4, 3)


# --- what a batch says


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


def sample(completion, reward, finished=True):
    tokens = len(completion.split())
    return Sample("Why?", completion, finished, tokens, reward, 0.5, reward, 0.2, 0.0, False)


def test_metrics_tell_groups_from_the_batch():
    rows = [sample("a b", 1.0), sample("a b c", 2.0), sample("d", 11.0), sample("d", 12.0, False)]
    found = batch_metrics(rows, 2)
    assert found.group_std == pytest.approx(np.sqrt(0.5))
    assert found.reward_std == pytest.approx(np.std([1, 2, 11, 12], ddof=1))
    assert found.unique == 0.75 and found.truncated == 0.25
    # one group follows length, the other cannot tell
    assert found.length_corr == pytest.approx(0.5)


def test_repetition_and_rank_correlation():
    assert repetition("no no no no") == pytest.approx(2 / 3)
    assert repetition("one") == repetition("") == 0
    assert spearman(np.array([1.0, 2, 3]), np.array([1.0, 4, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 1]), np.array([1.0, 2])) == 0


# --- steering


def test_kl_coefficient_follows_kl_to_its_target():
    assert next_kl_coefficient(0.04, 12, 6, 0.04) == pytest.approx(0.064)
    assert next_kl_coefficient(0.4, 3, 6, 0.04) == pytest.approx(0.28)
    assert next_kl_coefficient(0.04, 0, 6, 0.04) == 0.04
    assert next_kl_coefficient(3.9, 60, 6, 0.04) == 4.0
    beta, kl = 0.04, 20.0
    for _ in range(60):
        beta = next_kl_coefficient(beta, kl, 6, 0.04)
        kl = 20 * 0.04 / beta  # the nearer the larger the coefficient
    assert kl == pytest.approx(6, rel=0.05)


def test_kl_coefficient_zero_is_measured_and_not_next_kl_coefficient(trained):
    trained.run("grpo", grpo_train.train, replace(POLICY, kl_weight=0.0, steps=2), name="free")
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


def test_weights_that_overflow_are_said(trained):
    """Sampling from a policy whose scores are not numbers ends in one line."""
    model = load_model(find_origin(str(trained.folder("sft"))), torch.float32)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    tokenizer = load_tokenizer(find_origin(str(trained.folder("sft"))))
    with pytest.raises(ValueError, match="scores are not finite"):
        draw(model, tokenizer, [make_prompt("Why?")], **asdict(POLICY.sampling))


def test_distance_is_a_share_of_the_size():
    one = {"a": torch.tensor([3.0, 4.0])}
    assert adapter_distance(one, {"a": torch.tensor([3.0, 4.0])}) == 0
    assert adapter_distance(one, {"a": torch.tensor([0.0, 0.0])}) == pytest.approx(1)


# --- trackers


def test_a_tracker_that_is_not_installed(trained, monkeypatch):
    monkeypatch.setattr(grpo_train, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="tracker wandb is not installed: run pip install wandb"):
        trained.run("grpo", grpo_train.train, replace(POLICY, report_to="wandb"), name="w")


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


def test_a_policy_named_by_its_folder_keeps_its_reference(trained):
    folder = str(trained.folder("grpo"))
    assert reference_of(folder, trained.workspace)[0] == trained.ids["sft"]
