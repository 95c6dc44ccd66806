"""Checks that a GRPO run's parts are wired as they should be, before its compute is spent.

Each is made on the real parts: one batch is sampled, scored and trained on by the trainer itself,
then everything is put back, the random state too, so a run is the same with or without it. Each
check is there for a fault with which runs looked alive and trained nothing, or the wrong thing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch

from data.runs.checks import GIB, MEMORY, Checks
from data.stats.estimate import format_duration
from grpo.policies.reference import reference_hashes
from grpo.trainer.policy_trainer import PolicyTrainer
from grpo.trainer.trial_step import TrialStep, make_trial_step, put_back
from reward_model.language_model.adapter import trainable_share
from reward_model.scoring.kept_answers import reproduce

SCORED_ALONE = 8
"""Completions that are scored one by one."""
REPEATS_TO = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""What scoring alone and in a batch may differ by, in standard deviations of SFT's rewards."""
KL_AT_START = {torch.float32: 1e-6, torch.bfloat16: 1e-4}
"""KL per token that still counts as 0. Policy and reference are read alike, so it is 0 here; a
dropout of 0.1 or another reference make 1e-3 and more."""
TRUNCATED = 0.15
FOLLOWS_LENGTH = 0.6
KEPT_GROUPS = 0.5


@dataclass
class Preflight(Checks):
    """All checks so far, the baseline of the run's metrics, and what the run will cost."""

    baseline: dict[str, float] = field(default_factory=dict)
    """Metrics of one batch before the first step (those of BatchMetrics, kl, entropy, grad_norm);
    kl_floor: KL per token that rounding alone may make; retest: what scoring the same completion
    twice differs by; same_policy: whether the policy is its own reference, so that KL starts at 0.
    Only what was measured before a check failed."""
    seconds_per_step: float = 0.0
    eta_seconds: float = 0.0
    memory_gib: float = 0.0

    @property
    def sentence(self) -> str:
        """How many checks passed, how long the run will take, and all warnings."""
        passed = f"{sum(c.level == 'pass' for c in self.checks)} checks passed"
        cost = f"{self.seconds_per_step:.1f} s a step, {format_duration(self.eta_seconds)} in all"
        return "; ".join([passed, cost, *self.warnings])


def run_preflight(trainer: PolicyTrainer, folder: Path) -> Preflight:
    """Check everything and calibrate the trainer; the result is written to the run's folder.

    It is written also where a check fails. Raises ValueError with the reason and the remedy for the
    first check that fails.
    """
    found = Preflight()
    _check_parts(found, trainer)
    found.require(folder)
    with put_back(trainer):
        try:
            trial = make_trial_step(trainer)
        except torch.OutOfMemoryError:
            found.add("memory", False, "too little", "room for one step", "raise --micro-batches")
            found.require(folder)  # always raises
            raise
        _check_kl(found, trial, trainer)
        _check_update(found, trial)
        _check_scoring(found, trainer)
        _check_rewards(found, trial, trainer)
        _check_cost(found, trial, trainer)
    trainer.calibrate(found.baseline["retest"], found.baseline["entropy"])
    found.require(folder)
    return found


def _check_parts(found: Preflight, trainer: PolicyTrainer) -> None:
    n, share = trainable_share(trainer.policy)
    found.add(
        "trainable parameters", n > 0, f"{n:,} ({share:.2%})", "more than 0",
        "start from an SFT run, whose adapter is loaded to be trained",
    )  # fmt: skip
    parts = trainer.parts
    found.baseline["same_policy"] = parts.policy.hash == parts.reference.hash
    now, wanted = reference_hashes(trainer.policy, parts.reference)
    found.add(
        "reference", now == wanted, now[:12], f"{wanted[:12]}, the SFT policy's hash",
        "KL would be measured against another policy: start anew from the SFT run",
    )  # fmt: skip
    training = sum(m.training for member in parts.scorer.members for m in member.model.modules())
    found.add(
        "reward model's layers in training mode", training == 0, f"{training}", "0",
        "its dropout would make the reward random: load it with Scorer.load",
    )  # fmt: skip
    again = reproduce(parts.reward_folder, parts.scorer)
    if again is None:
        found.add("reward model's held-out accuracy", False, "not recorded", "a record",
                  "train the reward model again to have this checked", "warn")  # fmt: skip
        return
    found.add(
        "reward model's held-out accuracy", again.same,
        f"{again.found:.0%} of {again.n} pairs", f"{again.recorded:.0%}, as when it was trained",
        "it is no longer the model that was trained: train it again",
    )  # fmt: skip


def _check_kl(found: Preflight, trial: TrialStep, trainer: PolicyTrainer) -> None:
    kl, nats = trial.kl, trial.kl * trial.batch.length
    limit = KL_AT_START.get(trainer.policy.dtype, 1e-4)
    found.baseline |= {"kl": kl, "kl_floor": limit / 10, "entropy": trial.entropy}
    value = f"{kl:.2g} per token, {nats:.2g} nats per answer"
    if found.baseline["same_policy"]:
        found.add(
            "KL at step 0", abs(kl) <= limit, value, f"0, to rounding ({limit:.1g} per token)",
            "the reference is not the policy that training starts from, or dropout is on: start"
            " from an SFT run of this workspace",
        )  # fmt: skip
        return
    target = trainer.settings.kl_target
    found.add(
        "KL at step 0", not target or nats <= target, value,
        f"at most the target, {target:g} nats" if target else "any: an earlier round's policy",
        "earlier rounds have drifted this far already: raise --kl-target, or start from an earlier"
        " policy", "warn",
    )  # fmt: skip


def _check_update(found: Preflight, trial: TrialStep) -> None:
    found.baseline["grad_norm"] = trial.grad_norm
    found.add(
        "gradient", bool(np.isfinite(trial.grad_norm)), f"{trial.grad_norm:.2g}", "finite",
        "the model overflows or is damaged: use another, or one in higher precision",
    )  # fmt: skip
    found.add(
        "change of the adapter by one step", 0 < trial.moved <= 1,
        f"{trial.moved:.2g} of its size", "more than 0, at most 1",
        "use a smaller --learning-rate: one step undoes what was learned" if trial.moved else
        "all answers of each group got the same reward, or the learning rate is too small to show",
    )  # fmt: skip


def _check_scoring(found: Preflight, trainer: PolicyTrainer) -> None:
    """Scored alone and scored in a batch must be the same: else padding or dropout leaks in."""
    scorer = trainer.parts.scorer
    size, samples = trainer.settings.group_size, trainer.samples
    chosen = dict.fromkeys(np.linspace(0, len(samples) - 1, SCORED_ALONE).round().astype(int))
    texts = [(trainer.prompts[i // size], samples[i]) for i in chosen]
    alone = np.array([scorer.score([p], [s.completion], [s.finished])[0] for p, s in texts], float)
    apart = np.abs(alone - [s.model_reward for _, s in texts])
    limit = REPEATS_TO.get(scorer.model.dtype, 0.25)
    found.baseline["retest"] = float(np.sqrt(np.square(apart).mean())) + 1e-6
    found.add(
        "reward alone against in a batch", bool(apart.max() <= limit), f"{apart.max():.2g} apart",
        f"at most {limit:g}", "the reward model reads its padding: train it again",
    )  # fmt: skip


def _check_rewards(found: Preflight, trial: TrialStep, trainer: PolicyTrainer) -> None:
    settings, batch = trainer.settings, trial.batch
    groups, retest = settings.prompts_per_step, found.baseline["retest"]
    rewards = np.array([s.reward for s in trainer.samples]).reshape(groups, -1)
    noise = np.array([s.noise for s in trainer.samples]).reshape(groups, -1)[:, 0]
    floor = np.maximum(settings.drop_below * noise, retest)
    kept = float((rewards.std(1, ddof=1) > floor).mean())
    found.baseline |= asdict(batch) | {"dropped": 1 - kept}
    spread = f"{batch.group_std:.2g} against a noise of {batch.noise:.2g}"
    alike = batch.reward_std <= retest
    less = ", or take --pessimism 0" if settings.pessimism else ""
    found.add(
        "spread of rewards in a group", kept >= KEPT_GROUPS,
        f"{spread}; {kept:.0%} of {groups} groups kept",
        f"at least {KEPT_GROUPS:.0%} of groups kept",
        "the reward model cannot tell these answers apart: collect more judgements of this"
        f" policy's answers, raise --sampling.temperature, or lower --drop-below{less}",
        "fail" if alike or (kept == 0 and groups >= 4) else "warn",  # of fewer it says little
    )  # fmt: skip
    # A rank correlation of a few completions is far from 0 by chance: three standard errors.
    chance = 3 / ((settings.group_size - 1) * groups) ** 0.5
    limit = max(FOLLOWS_LENGTH, chance)
    found.add(
        "rank correlation of reward and length", abs(batch.length_corr) <= limit,
        f"{batch.length_corr:+.2f}",
        f"within ±{limit:.2g}" if limit < 1 else "more completions to tell",
        "the reward all but measures length: judge more pairs of equal length"
        + (", or set --length-penalty" if batch.length_corr > 0 else ""), "warn",
    )  # fmt: skip
    found.add(
        "unfinished completions", batch.truncated <= TRUNCATED, f"{batch.truncated:.0%}",
        f"at most {TRUNCATED:.0%}",
        f"raise --sampling.max-new-tokens above {settings.sampling.max_new_tokens}, or fine-tune"
        " on shorter demonstrations", "warn",
    )  # fmt: skip


def _check_cost(found: Preflight, trial: TrialStep, trainer: PolicyTrainer) -> None:
    settings, device = trainer.settings, trainer.accelerator.device
    again = trainer.sampling_seconds * (1 - 1 / settings.iterations)  # a batch serves several steps
    found.seconds_per_step = round(trial.seconds - again, 3)
    found.eta_seconds = round(found.seconds_per_step * settings.steps, 1)
    found.memory_gib = round(trial.memory / GIB, 2)
    total = psutil.virtual_memory().available + trial.memory
    if device.type == "cuda":
        total = torch.cuda.mem_get_info(device)[1]
    found.add(
        "memory", trial.memory <= MEMORY * total,
        f"{trial.memory / GIB:.1f} GiB of {total / GIB:.1f}", f"at most {MEMORY:.0%}",
        "raise --micro-batches", "warn",
    )  # fmt: skip
    cost = f"{found.seconds_per_step:.1f} s a step, {format_duration(found.eta_seconds)} in all"
    found.add("time", True, cost, "any", "")
