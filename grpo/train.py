"""GRPO against the learned reward, with KL to the pinned SFT policy and an entropy bonus."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
from transformers import PreTrainedTokenizerBase

from data import runs
from data.runs.checks import PREFLIGHT
from data.runs.files import run_folder
from data.runs.recorder import Recorder
from data.splits import split_of
from data.store import Store
from grpo.config import PolicySettings
from grpo.policies.checkpoint import find_policy, save_policy, try_saving
from grpo.policies.reference import as_reference, reference_of, require_matrices_alone
from grpo.reports.records import AnswerPair, GrpoReport
from grpo.run import find_checkpoint
from grpo.sampling.local import fitting_prompts
from grpo.trainer.callback import SAMPLES, GrpoCallback, diagnose_rows
from grpo.trainer.policy_trainer import PolicyTrainer, TrainingParts
from grpo.trainer.preflight import run_preflight
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.generation import draw
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.render import fingerprint
from reward_model.model_checks.context import Fitting
from reward_model.scoring.scorer import Scorer
from reward_model.training.start import START_HEAD

BEFORE_AND_AFTER = 6
"""Prompts whose answers before and after are kept in the report."""


def train(settings: PolicySettings, store: Store, run: Recorder) -> GrpoReport:
    """Train; saves the policy in the run's folder and returns the report.

    The settings are resolved ones (see grpo.run). A run that is asked to stop keeps its checkpoint
    and the policy as it then is. Raises ValueError for a missing policy, reward model or tracker,
    another tokenizer, or a preflight check that fails.
    """
    started = time.monotonic()
    tracker = settings.report_to
    if tracker != "none" and find_spec(tracker) is None:
        raise ValueError(
            f"tracker {tracker} is not installed: run pip install {tracker}, or leave --report-to"
            " out"
        )
    checkpoint = find_checkpoint(settings, store) if settings.resume else None
    if checkpoint:
        _carry_over(checkpoint, run)
    sft, reference = reference_of(settings.policy, settings.workspace)
    run.progress(0, settings.steps, "loading policy and reward model")
    dtype, why = choose_dtype()
    reward_folder = run_folder(settings.reward, settings.workspace)
    policy = find_policy(settings.policy, settings.workspace)
    require_matrices_alone(policy)
    tokenizer, scorer = load_tokenizer(policy), Scorer.load(reward_folder)
    if not (reward_folder / START_HEAD).is_file():  # that one has a network of its own on purpose
        check_same_tokenizer(scorer, tokenizer, settings.reward)
    found = [p for p in store.content.prompts() if split_of(p) == "train"]
    new_tokens = settings.sampling.max_new_tokens
    fitting = fitting_prompts(found, policy, tokenizer, new_tokens, settings.policy)
    if fitting.counted:
        print(fitting.sentence, flush=True)
    prompts = fitting.prompts
    if len(prompts) < settings.prompts_per_step:
        raise ValueError(
            f"{len(prompts)} training prompts are fewer than the"
            f" {settings.prompts_per_step} of one step: import more prompts"
        )
    print(f"GRPO on {settings.policy} against {settings.reward}, KL to {sft}, {why}", flush=True)
    parts = TrainingParts(policy, reference, tokenizer, scorer, reward_folder, prompts, dtype)
    trainer = PolicyTrainer(settings, parts, run.directory)
    try_saving(trainer.policy, tokenizer, run.directory, "lora")
    trainer.add_callback(GrpoCallback(run, trainer))
    if not checkpoint:
        run.progress(0, settings.steps, "preflight")
        print(f"preflight: {run_preflight(trainer, run.directory).sentence}", flush=True)
        run.check_stop()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    facts = {"reference": sft, "reward": settings.reward, "sft_hash": reference.hash}
    save_policy(trainer.policy, run.directory, policy, kind="grpo", **facts)
    return _make_report(trainer, store, run, sft, why, started, fitting)


def before_and_after(trainer: PolicyTrainer, store: Store) -> list[AnswerPair]:
    """Answers of the SFT policy and of the trained one to the same validation prompts."""
    model, parts, sampling = trainer.policy.eval(), trainer.parts, asdict(trainer.settings.sampling)
    found = [p for p in store.content.prompts() if split_of(p) == "validation"]
    new_tokens, name = trainer.settings.sampling.max_new_tokens, trainer.settings.policy
    fitting = fitting_prompts(found, parts.policy, parts.tokenizer, new_tokens, name, or_none=True)
    prompts = fitting.prompts[:BEFORE_AND_AFTER]
    if not prompts:
        return []
    after = draw(model, parts.tokenizer, prompts, **sampling)
    with as_reference(model):
        before = draw(model, parts.tokenizer, prompts, **sampling)
    rewards = np.split(parts.scorer.rewards_of(before + after), 2)
    return [AnswerPair.of(*row) for row in zip(before, after, *rewards, strict=True)]


def check_same_tokenizer(
    scorer: Scorer, policy_tokenizer: PreTrainedTokenizerBase, name: str
) -> None:
    """Raise ValueError where the reward model reads texts through another tokenizer."""
    if fingerprint(scorer.tokenizer) != fingerprint(policy_tokenizer):
        raise ValueError(
            f"reward model {name} was trained for another tokenizer or chat template than the"
            " policy has: train a reward model on this policy (coach reward --policy ...)"
        )


def _carry_over(checkpoint: Path, run: Recorder) -> None:
    """Copy metrics, samples and preflight of the resumed run, up to its checkpoint."""
    folder, step = checkpoint.parent, int(checkpoint.name.split("-")[1])
    print(f"going on with {folder.name} after step {step}, with the settings it had", flush=True)
    if (folder / PREFLIGHT).is_file():
        shutil.copy(folder / PREFLIGHT, run.directory)
    for name in ("metrics.jsonl", SAMPLES):
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        (run.directory / name).write_text("".join(kept), encoding="utf-8")


def _make_report(
    trainer: PolicyTrainer,
    store: Store,
    run: Recorder,
    sft: str,
    precision: str,
    started: float,
    fitting: Fitting,
) -> GrpoReport:
    settings = trainer.settings
    steps = [m for m in runs.metrics(run.directory) if "reward_mean" in m]
    if not steps:
        return GrpoReport(summary="Stopped before the first step.", steps=0)
    last = steps[-1]
    gain = last["reward_mean"] - steps[0]["reward_mean"]
    premiums = [step["risk_premium"] for step in steps if "risk_premium" in step]
    premium = fmean(premiums) if premiums else None
    takes = "takes" if settings.pessimism else "is off, and would take"
    said = "" if premium is None else f" Pessimism {takes} {premium:.2f} off a reward."
    stopped = " (stopped as asked)" if last["step"] < settings.steps else ""
    return GrpoReport(
        summary=f"{last['step']} steps{stopped}: reward {gain:+.2f},"
        f" KL to SFT {last['kl_nats']:.1f} nats per answer.{said} {fitting.sentence}".rstrip(),
        steps=last["step"],
        kl_nats=last["kl_nats"],
        reward_gain=round(gain, 4),
        risk_premium=None if premium is None else round(premium, 4),
        verdicts=diagnose_rows(run.directory, steps, settings, runs.samples(run.directory)),
        seconds_per_step=round(fmean(s["seconds"] for s in steps), 2),
        finite=all(math.isfinite(s["loss"]) for s in steps),
        samples=before_and_after(trainer, store),
        policy=settings.policy,
        reference=sft,
        sft_hash=trainer.parts.reference.hash,
        reward=settings.reward,
        precision=precision,
        left_out=fitting.counted,
        seconds=round(time.monotonic() - started, 1),
    )
