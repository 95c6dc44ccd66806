"""Checks that a GRPO run's parts are wired as they should be, before its compute is spent.

Each is made on the real thing: one batch is sampled, scored and trained on by the trainer itself,
then everything is put back, the random state too, so a run is the same with or without it. Every
check stands for runs that looked alive and trained nothing, or the wrong thing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch

from data.atomic_files import write_json
from data.schema import Prompt, make_prompt
from grpo.config import PolicySettings
from grpo.policies.reference import moved, reference_hashes, side_car
from grpo.trainer.batch_metrics import Sample, figures
from grpo.trainer.policy_trainer import PolicyTrainer
from reward_model.language_model.lora import trainable_share
from reward_model.language_model.origin import Origin
from reward_model.scoring.kept_answers import reproduce
from reward_model.scoring.scorer import Scorer

Level = Literal["pass", "warn", "fail"]
PREFLIGHT = "preflight.json"
"""File, inside a run's folder."""
SCORED_ALONE = 8
"""Completions that are scored one by one."""
REPEATS_TO = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""What scoring alone and in a batch may differ by, in standard deviations of SFT's rewards."""
KL_AT_START = {torch.float32: 1e-6, torch.bfloat16: 1e-4}
"""KL per token that still passes for 0. Policy and reference are read alike, so it is 0 here; a
dropout of 0.1 or another reference make 1e-3 and more."""
TRUNCATED = 0.15
FOLLOWS_LENGTH = 0.6
KEPT_GROUPS = 0.5
ENOUGH_GROUPS = 4
"""Groups from which it says something that none is kept."""
MEMORY = 0.9
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One named check: what was found, what is needed, and what to do where it is not so."""

    name: str
    level: Level
    value: str
    need: str
    remedy: str = ""


@dataclass
class Preflight:
    """All checks so far, and what a run's later figures are held against."""

    checks: list[Check] = field(default_factory=list)
    baseline: dict[str, Any] = field(default_factory=dict)
    seconds_per_step: float = 0.0
    eta_seconds: float = 0.0
    memory_gib: float = 0.0

    def add(
        self, name: str, good: bool, value: str, need: str, remedy: str, bad: Level = "fail"
    ) -> None:
        level: Level = "pass" if good else bad
        self.checks.append(Check(name, level, value, need, "" if good else remedy))

    @property
    def sentence(self) -> str:
        """How it went, and how long the run will take."""
        warned = [f"{c.name} is {c.value}: {c.remedy}" for c in self.checks if c.level == "warn"]
        passed = f"{sum(c.level == 'pass' for c in self.checks)} checks passed"
        cost = f"{self.seconds_per_step:.1f} s a step, {duration(self.eta_seconds)} in all"
        return "; ".join([passed, cost, *warned])

    def write(self, folder: Path) -> None:
        write_json(folder / PREFLIGHT, asdict(self))

    def require(self, folder: Path) -> None:
        """Write what was found. Raises ValueError with reason and remedy where a check fails."""
        self.write(folder)
        for check in self.checks:
            if check.level == "fail":
                raise ValueError(
                    f"preflight: {check.name} is {check.value}, needed is {check.need}:"
                    f" {check.remedy}"
                )


def preflight(
    trainer: PolicyTrainer,
    settings: PolicySettings,
    policy: Origin,
    reference: Origin,
    scorer: Scorer,
    reward_folder: Path,
    folder: Path,
) -> Preflight:
    """Check everything; the result lies in the run's folder too, also where a check fails.

    Raises ValueError with the reason and the remedy for the first check that fails.
    """
    found = Preflight()
    model = trainer.accelerator.unwrap_model(trainer.model)
    _wiring(found, model, reference)
    _reward_model(found, scorer, reward_folder)
    found.baseline["same_policy"] = same = policy.hash == reference.hash
    found.require(folder)
    with put_back(trainer):
        try:
            trial = one_step(trainer, settings)
        except torch.OutOfMemoryError:
            found.add("memory", False, "too little", "room for one step", "raise --micro-batches")
            found.require(folder)  # always raises
            raise
        _kl(found, trial, same, settings, model.dtype)
        _update(found, trial)
        _scoring(found, trial, scorer)
        _rewards(found, trial, settings)
        _cost(found, trial, settings, trainer.accelerator.device)
    trainer.retest = trial.retest
    found.require(folder)
    return found


@dataclass
class Trial:
    """What one step showed."""

    samples: list[Sample]
    prompts: list[Prompt]
    metrics: dict[str, float]
    grad_norm: float
    moved: float
    seconds: float
    sampling_seconds: float
    """Its part that sampling and scoring took."""
    memory: int
    """Bytes at most."""
    figures: dict[str, float]
    retest: float = 0.0


def one_step(trainer: PolicyTrainer, settings: PolicySettings) -> Trial:
    """Sample, score, and make one optimiser step, all by the trainer's own methods."""
    model = trainer.accelerator.unwrap_model(trainer.model).train()
    before = side_car(model)
    rows = [trainer.train_dataset[i] for i in range(settings.prompts_per_step)]
    inputs = [row for row in rows for _ in range(settings.group_size)]
    trainer.current_gradient_accumulation_steps = settings.micro_batches
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    for _ in range(settings.micro_batches):
        trainer.training_step(trainer.model, inputs, None)
    trained = [p for p in model.parameters() if p.requires_grad]
    norm = float(torch.nn.utils.clip_grad_norm_(trained, trainer.args.max_grad_norm))
    trainer.create_optimizer()
    trainer.optimizer.step()
    seconds = time.monotonic() - started
    memory = torch.cuda.max_memory_allocated() if cuda else psutil.Process().memory_info().rss
    metrics = {k: float(np.mean(v)) for k, v in trainer._metrics["train"].items() if v}
    return Trial(
        samples=list(trainer.samples),
        prompts=[make_prompt(row["prompt"]) for row in inputs],
        metrics=metrics,
        grad_norm=norm,
        moved=moved(before, side_car(model)),
        seconds=seconds,
        sampling_seconds=trainer.sampling_seconds,
        memory=memory,
        figures=figures(trainer.samples, settings.group_size),
    )


@contextmanager
def put_back(trainer: PolicyTrainer) -> Iterator[None]:
    """Leave weights, random states and everything that counts as they were."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    held = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    kept = {name: getattr(trainer, name) for name in _COUNTERS}
    seen, states = trainer.state.num_input_tokens_seen, (random.getstate(), np.random.get_state())
    devices = list(range(torch.cuda.device_count()))
    trackers, trainer.args.report_to = trainer.args.report_to, []  # none has begun yet
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in held:
                    parameter.copy_(held[name])
        model.zero_grad(set_to_none=True)
        trainer.optimizer = None
        trainer.args.report_to = trackers
        for name, value in kept.items():
            setattr(trainer, name, value)
        trainer._metrics["train"].clear()
        for log in trainer._logs.values():
            log.clear()
        trainer.state.num_input_tokens_seen = seen
        random.setstate(states[0])
        np.random.set_state(states[1])


_COUNTERS = (
    "_step",
    "_buffered_inputs",
    "_current_train_step_time",
    "entropy_coef",
    "_last_world_entropy",
    "_entropy_window_stats",
    "samples",
    "sampled_at",
)


def _wiring(found: Preflight, model: Any, reference: Origin) -> None:
    n, share = trainable_share(model)
    found.add(
        "trainable parameters", n > 0, f"{n:,} ({share:.2%})", "more than 0",
        "start from an SFT run, whose side-car is loaded to be trained",
    )  # fmt: skip
    now, wanted = reference_hashes(model, reference)
    found.add(
        "reference", now == wanted, now[:12], f"{wanted[:12]}, the SFT policy's hash",
        "KL would be measured against another policy: start anew from the SFT run",
    )  # fmt: skip


def _reward_model(found: Preflight, scorer: Scorer, folder: Path) -> None:
    training = sum(m.training for member in scorer.members for m in member.model.modules())
    found.add(
        "reward model's layers in training mode", training == 0, f"{training}", "0",
        "its dropout would make the reward random: load it with Scorer.load",
    )  # fmt: skip
    again = reproduce(folder, scorer)
    if again is None:
        found.add("reward model's held-out accuracy", False, "not recorded", "a record",
                  "train the reward model again to have this checked", "warn")  # fmt: skip
        return
    found.add(
        "reward model's held-out accuracy", again.same,
        f"{again.found:.0%} of {again.n} pairs", f"{again.recorded:.0%}, as when it was trained",
        "it is no longer the model that was trained: train it again",
    )  # fmt: skip


def _kl(
    found: Preflight, trial: Trial, same: bool, settings: PolicySettings, dtype: torch.dtype
) -> None:
    kl, length = trial.metrics["kl"], trial.figures["length"]
    limit = KL_AT_START.get(dtype, 1e-4)
    found.baseline |= {"kl": kl, "kl_floor": limit / 10, "entropy": trial.metrics["entropy"]}
    value = f"{kl:.2g} per token, {kl * length:.2g} nats per answer"
    if same:
        found.add(
            "KL at step 0", abs(kl) <= limit, value, f"0, to rounding ({limit:.1g} per token)",
            "the reference is not the policy that training starts from, or dropout is on: start"
            " from an SFT run of this workspace",
        )  # fmt: skip
        return
    target = settings.kl_target
    found.add(
        "KL at step 0", not target or kl * length <= target, value,
        f"at most the target, {target:g} nats" if target else "any: an earlier round's policy",
        "earlier rounds have drifted this far already: raise --kl-target, or start from an earlier"
        " policy", "warn",
    )  # fmt: skip


def _update(found: Preflight, trial: Trial) -> None:
    found.baseline["grad_norm"] = trial.grad_norm
    found.add(
        "gradient", bool(np.isfinite(trial.grad_norm)), f"{trial.grad_norm:.2g}", "finite",
        "the model overflows or is damaged: use another, or one in higher precision",
    )  # fmt: skip
    found.add(
        "change of the side-car by one step", 0 < trial.moved <= 1,
        f"{trial.moved:.2g} of its size", "more than 0, at most 1",
        "use a smaller --learning-rate: one step undoes what was learned" if trial.moved else
        "all answers of each group got the same reward, or the learning rate is too small to show",
    )  # fmt: skip


def _scoring(found: Preflight, trial: Trial, scorer: Scorer) -> None:
    """Scored alone and scored in a batch must be the same: else padding or dropout leaks in."""
    chosen = np.linspace(0, len(trial.samples) - 1, SCORED_ALONE).round().astype(int)
    texts = [(trial.prompts[i], trial.samples[i]) for i in dict.fromkeys(chosen.tolist())]
    alone = np.array(
        [scorer.score([p], [s["completion"]], [s["finished"]])[0] for p, s in texts], float
    )
    apart = np.abs(alone - [s["model_reward"] for _, s in texts])
    limit = REPEATS_TO.get(scorer.model.dtype, 0.25)
    trial.retest = float(np.sqrt(np.square(apart).mean())) + 1e-6
    found.baseline["retest"] = trial.retest
    found.add(
        "reward alone against in a batch", bool(apart.max() <= limit), f"{apart.max():.2g} apart",
        f"at most {limit:g}", "the reward model reads its padding: train it again",
    )  # fmt: skip


def _rewards(found: Preflight, trial: Trial, settings: PolicySettings) -> None:
    seen = trial.figures
    kept, groups = _kept(trial, settings), settings.prompts_per_step
    found.baseline |= seen | {"dropped": 1 - kept}
    spread = f"{seen['group_std']:.2g} against a noise of {seen['noise']:.2g}"
    value = f"{spread}; {kept:.0%} of {groups} groups kept"
    remedy = (
        "the reward model cannot tell these answers apart: collect more judgements of this policy's"
        " answers, raise --sampling.temperature, or lower --drop-below"
    )
    alike = seen["reward_std"] <= trial.retest
    bad: Level = "fail" if alike or (kept == 0 and groups >= ENOUGH_GROUPS) else "warn"
    found.add("spread of rewards in a group", kept >= KEPT_GROUPS, value,
              f"at least {KEPT_GROUPS:.0%} of groups kept", remedy, bad)  # fmt: skip
    follows = seen["length_corr"]
    chance = 3 / ((settings.group_size - 1) * groups) ** 0.5
    limit = max(FOLLOWS_LENGTH, chance)
    need = f"within ±{limit:.2g}" if limit < 1 else "more completions to tell"
    found.add(
        "rank correlation of reward and length", abs(follows) <= limit,
        f"{follows:+.2f}", need,
        "the reward all but measures length: judge more pairs of equal length"
        + (", or set --length-penalty" if follows > 0 else ""), "warn",
    )  # fmt: skip
    found.add(
        "unfinished completions", seen["truncated"] <= TRUNCATED, f"{seen['truncated']:.0%}",
        f"at most {TRUNCATED:.0%}",
        f"raise --sampling.max-new-tokens above {settings.sampling.max_new_tokens}, or fine-tune"
        " on shorter demonstrations", "warn",
    )  # fmt: skip


def _kept(trial: Trial, settings: PolicySettings) -> float:
    """Share of groups that spread more than the noise, and than scoring twice does."""
    rewards, noise = (
        np.array([s[name] for s in trial.samples]).reshape(-1, settings.group_size)
        for name in ("reward", "noise")
    )
    floor = np.maximum(settings.drop_below * noise[:, 0], trial.retest)
    return float((rewards.std(1, ddof=1) > floor).mean())


def _cost(found: Preflight, trial: Trial, settings: PolicySettings, device: torch.device) -> None:
    again = trial.sampling_seconds * (1 - 1 / settings.iterations)  # the batch serves several steps
    found.seconds_per_step = round(trial.seconds - again, 3)
    found.eta_seconds = round(found.seconds_per_step * settings.steps, 1)
    found.memory_gib = round(trial.memory / GIB, 2)
    total = (
        torch.cuda.mem_get_info(device)[1]
        if device.type == "cuda"
        else psutil.virtual_memory().available + trial.memory
    )
    found.add(
        "memory", trial.memory <= MEMORY * total,
        f"{trial.memory / GIB:.1f} GiB of {total / GIB:.1f}", f"at most {MEMORY:.0%}",
        "raise --micro-batches", "warn",
    )  # fmt: skip
    cost = f"{found.seconds_per_step:.1f} s a step, {duration(found.eta_seconds)} in all"
    found.add("time", True, cost, "any", "")


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
