"""GRPO against the learned reward, with KL to the pinned SFT policy and an entropy bonus."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, set_seed
from trl import GRPOConfig

from data import runs
from data.runs.files import runs_folder
from data.runs.recorder import Recorder
from data.schema import Prompt, content_hash
from data.settings import from_config
from data.splits import split_of
from data.store import Store
from grpo.config import PolicySettings
from grpo.policies.checkpoint import find_policy, newest, save_policy
from grpo.policies.reference import pin_reference, reference_of
from grpo.policies.tuning import trainable
from grpo.reward import check_same_tokenizer
from grpo.sampling.local import draw
from grpo.trainer.callback import SAMPLES, GrpoCallback, verdicts
from grpo.trainer.policy_trainer import MEASURE_ONLY, WINDOW, PolicyTrainer
from grpo.trainer.preflight import PREFLIGHT, preflight
from reward_model.language_model.device import choose_device, choose_dtype
from reward_model.language_model.generation import end_tokens
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import Origin, weights_hash
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer

CISPO_CEILING = 5.0
"""Importance weights are cut here; below 1 there would be none. Khatri et al. 2025,
arXiv:2510.13786."""
ENTROPY_CEILING = 20.0
"""Steering raises the entropy weight to at most this many times its setting."""
BEFORE_AND_AFTER = 6
"""Prompts whose answers before and after are kept in the report."""


def train(settings: PolicySettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Train; saves the policy in the run's folder and returns the report.

    A run that is asked to stop keeps its checkpoint and the policy as it then is. Raises ValueError
    for a missing policy, reward model or tracker, another tokenizer, or a preflight check that
    fails.
    """
    started = time.monotonic()
    _require_tracker(settings)
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
    dtype, why = choose_dtype()
    print(f"GRPO on {policy} against {reward_run}, KL to {sft}, {why}", flush=True)
    trainer = build_trainer(settings, origin, reference, tokenizer, scorer, prompts, run, dtype)
    reward_folder = _folder(settings.workspace, reward_run)
    trainer.identity = content_hash(
        reference.hash, weights_hash(reward_folder), [p.id for p in prompts]
    )
    if not settings.resume:
        run.progress(0, settings.steps, "preflight")
        found = preflight(
            trainer, settings, origin, reference, scorer, reward_folder, run.directory
        )
        trainer.args.entropy_target = settings.entropy_target * found.baseline["entropy"]
        print(f"preflight: {found.sentence}", flush=True)
        run.check_stop()
    trainer.train(resume_from_checkpoint=str(_checkpoint(settings)) if settings.resume else None)
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
    set_seed(settings.seed)  # a new side-car is drawn the same when the run goes on
    model = trainable(origin, settings.lora, dtype)
    reward = GrpoReward(
        scorer,
        end_tokens(model, tokenizer),
        settings.reward_clip,
        settings.group_size,
        settings.uncertainty_penalty,
        settings.length_penalty,
    )
    random.Random(settings.seed).shuffle(prompts)
    callback = GrpoCallback(run, settings)
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
    trainer.learned = reward
    trainer.advantage_scale, trainer.drop_below = settings.advantage_scale, settings.drop_below
    trainer.remove_callback(PrinterCallback)
    callback.attach(trainer)
    return trainer


def to_trl(settings: PolicySettings, folder: str, tokenizer: Any) -> GRPOConfig:
    """These settings in TRL's words."""
    completions = settings.prompts_per_step * settings.group_size
    return GRPOConfig(
        output_dir=folder,
        max_steps=settings.steps,
        per_device_train_batch_size=completions // settings.micro_batches,
        num_generations=settings.group_size,
        gradient_accumulation_steps=settings.micro_batches,
        num_iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        beta=settings.kl_weight or MEASURE_ONLY,
        entropy_coef=settings.entropy_weight,
        use_adaptive_entropy=settings.entropy_target > 0,
        entropy_coef_min=settings.entropy_weight,
        entropy_coef_max=ENTROPY_CEILING * settings.entropy_weight,
        entropy_coef_delta=settings.entropy_weight / 2,
        loss_type=settings.loss_type,
        epsilon_high=CISPO_CEILING if settings.loss_type == "cispo" else None,
        scale_rewards=settings.advantage_scale,
        temperature=settings.sampling.temperature,
        top_p=settings.sampling.top_p,
        max_completion_length=settings.sampling.max_new_tokens,
        disable_dropout=True,
        max_grad_norm=1.0,
        activation_checkpointing=False,
        bf16=False,  # the weights have the chosen precision already
        use_cpu=choose_device().type == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        report_to=[] if settings.report_to == "none" else [settings.report_to],
        project="coach",
        run_name=Path(folder).name,
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


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
        runs.refresh(store, settings.workspace)  # one that was killed is seen to have died
        row = store.runs.get(settings.resume)
        if row is not None and row.live:
            raise ValueError(f"run {settings.resume} is going on: stop it first")
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
    checkpoint = _checkpoint(settings)
    folder, step = checkpoint.parent, int(checkpoint.name.split("-")[1])
    print(f"going on with {folder.name} after step {step}, with the settings it had", flush=True)
    if (folder / PREFLIGHT).is_file():
        shutil.copy(folder / PREFLIGHT, run.directory)
    for name in ("metrics.jsonl", SAMPLES):
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        (run.directory / name).write_text("".join(kept), encoding="utf-8")


def _checkpoint(settings: PolicySettings) -> Path:
    """The last whole checkpoint of the run to resume; where it has none, of the one it went on
    from. Raises ValueError where there is none."""
    seen: list[str] = []
    name = settings.resume
    while name and name not in seen:
        seen.append(name)
        folder = runs_folder(settings.workspace) / name
        whole = [p for p in folder.glob("checkpoint-*") if (p / WINDOW).is_file()]
        if whole:
            return max(whole, key=lambda p: int(p.name.split("-")[1]))
        config = folder / "config.json"
        name = json.loads(config.read_text()).get("resume", "") if config.is_file() else ""
    raise ValueError(f"run {settings.resume!r} has no checkpoint to resume from: start it anew")


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
        "verdicts": verdicts(run.directory, steps, settings, runs.samples(run.directory)),
        "seconds_per_step": round(fmean(s["seconds"] for s in steps), 2),
        "finite": all(math.isfinite(s["loss"]) for s in steps),
    }


def _require_tracker(settings: PolicySettings) -> None:
    """Raise ValueError where the tracker is not installed."""
    name = settings.report_to
    if name != "none" and find_spec(name) is None:
        raise ValueError(
            f"tracker {name} is not installed: run pip install {name}, or leave --report-to out"
        )


def _folder(workspace: Path, run_id: str) -> Path:
    inside = runs_folder(workspace) / run_id
    return inside if inside.is_dir() else Path(run_id)
