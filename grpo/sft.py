"""Supervised fine-tuning on the demonstrations, with TRL's SFTTrainer; loss on completions only."""

from __future__ import annotations

import time
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from data.runs import Recorder
from data.schema import Demonstration
from data.splits import split_of
from data.store import Store
from grpo.config import SftSettings
from grpo.monitor import RunCallback
from grpo.policy import find_policy, save_policy, trainable
from reward_model.backbone import choose_device, choose_precision, load_tokenizer
from reward_model.render import render

NAMES = {"loss": "loss", "grad_norm": "grad_norm", "eval_loss": "validation_loss"}
FEWEST = 8


def train(settings: SftSettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Fine-tune on the training prompts' demonstrations; saves the policy, returns the report.

    Raises ValueError for too few demonstrations.
    """
    started = time.monotonic()
    demonstrations = store.content.demonstrations()
    sides = {
        s: [d for d in demonstrations if split_of(d.prompt) == s] for s in ("train", "validation")
    }
    if len(sides["train"]) < FEWEST:
        raise ValueError(
            f"{len(sides['train'])} demonstrations of training prompts are too few: at least"
            f" {FEWEST}"
            ' are needed; import some ({"type": "demonstration", ...})'
        )
    origin = find_policy(settings.model, settings.workspace)
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_precision()
    print(
        f"fine-tuning {settings.model} on {len(sides['train'])} demonstrations, {why}", flush=True
    )
    model = trainable(origin, settings.lora, dtype)
    rows = {s: _rows(tokenizer, found, settings.max_tokens) for s, found in sides.items()}
    if len(rows["train"]) < FEWEST:
        raise ValueError(
            f"{len(rows['train'])} demonstrations of at most {settings.max_tokens} tokens are too"
            f" few: at least {FEWEST} are needed; raise --max-tokens"
        )
    trainer = SFTTrainer(
        model,
        args=to_trl(settings, str(run.directory), validate=bool(rows["validation"])),
        train_dataset=Dataset.from_list(rows["train"]),
        eval_dataset=Dataset.from_list(rows["validation"]) if rows["validation"] else None,
        processing_class=tokenizer,
        callbacks=[RunCallback(run, NAMES, "fine-tuning")],
    )
    trainer.remove_callback(PrinterCallback)
    before = _validation_loss(trainer, rows["validation"])
    trainer.train()
    after = _last_validation_loss(trainer)
    save_policy(trainer.model, run.directory, origin, kind="sft")
    return {
        "summary": _summary(len(rows["train"]), before, after),
        "demonstrations": len(rows["train"]),
        "left_out_too_long": sum(len(sides[s]) - len(rows[s]) for s in sides),
        "validation_loss_before": before,
        "validation_loss": after,
        "model": settings.model,
        "precision": why,
        "seconds": round(time.monotonic() - started, 1),
    }


def _rows(
    tokenizer: Any, demonstrations: list[Demonstration], max_tokens: int
) -> list[dict[str, list[int]]]:
    """Token ids by the same `render` that rewards use, with labels on the completion."""
    rows = []
    for demonstration in demonstrations:
        text = render(tokenizer, demonstration.prompt, demonstration.text, finished=True)
        if len(text.ids) <= max_tokens:
            labels = [-100] * len(text.prompt) + text.completion
            rows.append({"input_ids": text.ids, "labels": labels})
    return rows


def to_trl(settings: SftSettings, folder: str, validate: bool) -> SFTConfig:
    """These settings in TRL's words."""
    return SFTConfig(
        output_dir=folder,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=3,
        train_sampling_strategy="group_by_length",
        max_length=settings.max_tokens,
        dataset_kwargs={"skip_prepare_dataset": True},
        bf16=False,  # the weights have the chosen precision already
        activation_checkpointing=False,
        use_cpu=choose_device().type == "cpu",
        logging_steps=1,
        eval_strategy="epoch" if validate else "no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _validation_loss(trainer: SFTTrainer, rows: list[Any]) -> float | None:
    return round(float(trainer.evaluate()["eval_loss"]), 4) if rows else None


def _last_validation_loss(trainer: SFTTrainer) -> float | None:
    found = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    return round(float(found[-1]), 4) if found else None


def _summary(n: int, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return f"Fine-tuned on {n} demonstrations; none are held out to measure it by."
    trend = "fell" if after < before else "did not fall"
    return (
        f"Fine-tuned on {n} demonstrations: loss on held-out ones {trend},"
        f" {before:.2f} to {after:.2f} nats a token."
    )
