"""GRPO against the learned reward, with KL to the pinned SFT policy and an entropy bonus."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import time
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig

from data import runs
from data.runs import Recorder, runs_folder
from data.schema import Prompt, content_hash
from data.settings import from_config
from data.splits import split_of
from data.store import Store
from grpo.config import PolicySettings
from grpo.diagnose import diagnose
from grpo.draw import draw
from grpo.monitor import RunCallback
from grpo.policy import (
    adapter_sum,
    find_policy,
    newest,
    pin_reference,
    reference_of,
    save_policy,
    trainable,
)
from grpo.reward import check_same_tokenizer
from grpo.trainer import WINDOW, PolicyTrainer
from reward_model.backbone import Origin, choose_device, choose_precision, load_tokenizer
from reward_model.generate import end_tokens
from reward_model.learned import LearnedReward
from reward_model.score import Scorer

NAMES = {
    "reward": "reward_mean",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "loss": "loss",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
}
KL_AT_START = {torch.float32: 1e-3, torch.bfloat16: 5e-3}
"""KL per token at the first step above which the reference cannot be the policy itself."""
KL_WEIGHT_CEILING = 100.0
"""Steering raises the KL weight to at most this many times its setting."""
BEFORE_AND_AFTER = 6
"""Prompts whose answers before and after are kept in the report."""


def train(settings: PolicySettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Train; saves the policy in the run's folder and returns the report.

    A run that is asked to stop keeps its checkpoint and the policy as it then is. Raises ValueError
    for a missing policy or reward model, another tokenizer, a wrong reference, or a run in which
    nothing trains.
    """
    started = time.monotonic()
    settings = resolved(settings, store)
    if settings.resume:
        _carry_over(settings, run)
    policy, reward_run = settings.policy, settings.reward
    origin = find_policy(policy, settings.workspace)
    sft, reference = reference_of(policy, settings.workspace)
    tokenizer = load_tokenizer(origin)
    run.progress(0, settings.steps, "loading policy and reward model")
    scorer = Scorer.load(_folder(settings.workspace, reward_run))
    check_same_tokenizer(scorer, tokenizer, reward_run)
    prompts = [p for p in store.content.prompts() if split_of(p) == "train"]
    if len(prompts) < settings.prompts_per_step:
        raise ValueError(
            f"{len(prompts)} training prompts are fewer than the {settings.prompts_per_step} of one"
            " step: import more prompts"
        )
    dtype, why = choose_precision()
    print(f"GRPO on {policy} against {reward_run}, KL to {sft}, {why}", flush=True)
    trainer = build_trainer(settings, origin, reference, tokenizer, scorer, prompts, run, dtype)
    trainer.train(resume_from_checkpoint=_checkpoint(settings) if settings.resume else None)
    save_policy(
        trainer.accelerator.unwrap_model(trainer.model),
        run.directory,
        origin,
        kind="grpo",
        reference=sft,
        reward=reward_run,
        sft_hash=reference.hash,
    )
    report = _report(settings, trainer, run)
    report["samples"] = before_and_after(trainer, tokenizer, scorer, store, settings)
    report |= {"policy": policy, "reference": sft, "sft_hash": reference.hash}
    report |= {"reward": reward_run, "precision": why}
    report["seconds"] = round(time.monotonic() - started, 1)
    return report


def build_trainer(
    settings: PolicySettings,
    origin: Origin,
    reference: Origin,
    tokenizer: Any,
    scorer: Scorer,
    prompts: list[Prompt],
    run: Recorder,
    dtype: torch.dtype,
) -> PolicyTrainer:
    """The trainer with its reference pinned to the SFT policy."""
    model = trainable(origin, settings.lora, dtype)
    reward = LearnedReward(scorer, end_tokens(model, tokenizer), settings.reward_clip)
    random.Random(settings.seed).shuffle(prompts)
    same = origin.hash == reference.hash
    callback = GrpoCallback(run, settings, reward, KL_AT_START[dtype] if same else math.inf)
    trainer = PolicyTrainer(
        model,
        reward_funcs=reward,
        args=to_trl(settings, str(run.directory), tokenizer),
        train_dataset=Dataset.from_list(
            [{"prompt": [m.as_dict() for m in p.messages]} for p in prompts]
        ),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    unwrapped = trainer.accelerator.unwrap_model(trainer.model)
    if origin.adapter:
        pin_reference(unwrapped, reference)
    trainer.identity = content_hash(reference.hash, [p.id for p in prompts])
    trainer.remove_callback(PrinterCallback)
    callback.attach(trainer)
    return trainer


def to_trl(settings: PolicySettings, folder: str, tokenizer: Any) -> GRPOConfig:
    """These settings in TRL's words."""
    return GRPOConfig(
        output_dir=folder,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.prompts_per_step * settings.group_size,
        num_generations=settings.group_size,
        gradient_accumulation_steps=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        beta=settings.kl_weight,
        entropy_coef=settings.entropy_weight,
        loss_type="dr_grpo",
        scale_rewards="group",
        temperature=settings.sampling.temperature,
        top_p=settings.sampling.top_p,
        max_completion_length=settings.sampling.max_new_tokens,
        disable_dropout=True,
        max_grad_norm=1.0,
        activation_checkpointing=False,
        bf16=False,  # the weights have the chosen precision already
        use_cpu=choose_device().type == "cpu",
        logging_steps=1,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


class GrpoCallback(RunCallback):
    """Metrics in our names and both units of KL, samples, the first step's proof, KL steering."""

    def __init__(
        self, run: Recorder, settings: PolicySettings, reward: LearnedReward, kl_at_start: float
    ) -> None:
        super().__init__(run, NAMES, "training")
        self.settings = settings
        self.reward = reward
        self.kl_at_start = kl_at_start
        self.trainer: PolicyTrainer
        self._adapter_before = 0.0
        self._first = True

    def attach(self, trainer: PolicyTrainer) -> None:
        self.trainer = trainer
        self._adapter_before = self._adapter()

    def extend(self, metrics: dict[str, Any]) -> dict[str, Any]:
        if "reward_mean" not in metrics:
            return metrics
        rewards = [s["reward"] for s in self.reward.samples]
        size = self.settings.group_size
        groups = [rewards[i : i + size] for i in range(0, len(rewards), size)]
        metrics["group_std"] = fmean(pstdev(g) for g in groups)
        metrics["unique"] = len({s["completion"] for s in self.reward.samples}) / len(rewards)
        metrics["kl_nats"] = metrics["kl"] * metrics["length"]
        metrics["kl_weight"] = self.trainer.beta
        return metrics

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        super().on_log(args, state, control, logs)
        if logs is None or "kl" not in logs:
            return
        if self._first and not self.settings.resume:
            self._prove(float(logs["kl"]))
        self._first = False
        self._keep_samples(state.global_step)
        self._steer(float(logs["kl"]) * float(logs["completions/mean_length"]))

    def _prove(self, kl: float) -> None:
        """After the first step: the reference was the policy, and the step changed the policy."""
        if abs(kl) > self.kl_at_start:
            raise ValueError(
                f"KL to SFT at the first step is {kl:.4f} per token instead of 0: the reference"
                " is not the policy that training started from; start from an SFT run of"
                " this workspace"
            )
        if self._adapter() == self._adapter_before:
            raise ValueError(
                "the first step changed nothing in the policy: all answers of each group got the"
                " same reward, or the learning rate is 0"
            )

    def _adapter(self) -> float:
        return adapter_sum(self.trainer.accelerator.unwrap_model(self.trainer.model))

    def _keep_samples(self, step: int) -> None:
        advantages = list(self.trainer._logs["advantages"])
        with (self.run.directory / "samples.jsonl").open("a", encoding="utf-8") as stream:
            for sample, advantage in zip(self.reward.samples, advantages, strict=True):
                line = {"step": step, **sample, "advantage": round(float(advantage), 4)}
                stream.write(json.dumps(line) + "\n")

    def _steer(self, kl_nats: float) -> None:
        """Raise the KL weight while KL is above its target, lower it back while it is below.

        A proportional controller on the error, after Ziegler et al. 2019, arXiv:1909.08593, 2.2.
        """
        target = self.settings.kl_target
        if not target:
            return
        error = max(-0.3, min(0.6, kl_nats / target - 1))
        low = self.settings.kl_weight
        self.trainer.beta = min(max(self.trainer.beta * (1 + error), low), KL_WEIGHT_CEILING * low)


def before_and_after(
    trainer: PolicyTrainer,
    tokenizer: Any,
    scorer: Scorer,
    store: Store,
    settings: PolicySettings,
) -> list[dict[str, Any]]:
    """Answers of the SFT policy and of the trained one to the same validation prompts."""
    prompts = [p for p in store.content.prompts() if split_of(p) == "validation"]
    prompts = prompts[:BEFORE_AND_AFTER]
    if not prompts:
        return []
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    after = draw(model, tokenizer, prompts, settings.sampling)
    if "ref" in model.peft_config:
        model.set_adapter("ref")
        before = draw(model, tokenizer, prompts, settings.sampling)
    else:
        with model.disable_adapter():
            before = draw(model, tokenizer, prompts, settings.sampling)
    rewards = scorer.score(
        prompts * 2, [c.text for c in before + after], [c.finished for c in before + after]
    )
    return [
        {
            "prompt": prompt.text,
            "before": before[i].text,
            "after": after[i].text,
            "reward_before": round(float(rewards[i]), 3),
            "reward_after": round(float(rewards[len(prompts) + i]), 3),
        }
        for i, prompt in enumerate(prompts)
    ]


def resolved(settings: PolicySettings, store: Store) -> PolicySettings:
    """The settings with policy and reward model named; a resumed run's own, whatever is asked.

    Raises ValueError if there is no such run, it has no checkpoint, or there is no SFT run or
    reward model yet.
    """
    if settings.resume:
        _checkpoint(settings)
        folder = runs_folder(settings.workspace) / settings.resume
        settings = from_config(
            PolicySettings,
            json.loads((folder / "config.json").read_text()),
            resume=settings.resume,
            run_id=settings.run_id,
            workspace=settings.workspace,
            store=settings.store,
        )
    policy = settings.policy or newest(store, "sft", "SFT run", "fine-tune first (grpo sft)")
    reward = settings.reward or newest(
        store, "reward", "reward model", "train one first (reward_model train)"
    )
    return dataclasses.replace(settings, policy=policy, reward=reward)


def _carry_over(settings: PolicySettings, run: Recorder) -> None:
    """Metrics and samples of the resumed run, up to its checkpoint."""
    folder = runs_folder(settings.workspace) / settings.resume
    step = int(_checkpoint(settings).rsplit("-", 1)[1])
    for name in ("metrics.jsonl", "samples.jsonl"):
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        (run.directory / name).write_text("".join(kept), encoding="utf-8")


def _checkpoint(settings: PolicySettings) -> str:
    """The last whole checkpoint of the run to resume."""
    folder = runs_folder(settings.workspace) / settings.resume
    whole = [p for p in folder.glob("checkpoint-*") if (p / WINDOW).is_file()]
    if not whole:
        raise ValueError(f"run {settings.resume!r} has no checkpoint to resume from: start it anew")
    return str(max(whole, key=lambda p: int(p.name.split("-")[1])))


def _report(settings: PolicySettings, trainer: PolicyTrainer, run: Recorder) -> dict[str, Any]:
    steps = [m for m in runs.metrics(run.directory) if "reward_mean" in m]
    if not steps:
        return {"summary": "Stopped before the first step.", "steps": 0, "verdicts": []}
    last = steps[-1]
    gain = last["reward_mean"] - steps[0]["reward_mean"]
    stopped = " (stopped as asked)" if last["step"] < settings.steps else ""
    return {
        "summary": (
            f"{last['step']} steps{stopped}: reward {gain:+.2f},"
            f" KL to SFT {last['kl_nats']:.1f} nats per answer."
        ),
        "steps": last["step"],
        "kl_nats": last["kl_nats"],
        "reward_gain": round(gain, 4),
        "verdicts": diagnose(steps, settings.kl_target),
        "seconds_per_step": round(fmean(s["seconds"] for s in steps), 2),
        "finite": all(math.isfinite(s["loss"]) for s in steps),
    }


def _folder(workspace: Path, run_id: str) -> Path:
    inside = runs_folder(workspace) / run_id
    return inside if inside.is_dir() else Path(run_id)
