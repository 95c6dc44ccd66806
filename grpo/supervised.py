"""Learning from texts with TRL's SFTTrainer: what fine-tuning and pretraining share.

The loss on held-out texts is measured before, on the way and at the end; the weights with the best
one are kept. Prechelt 1998, "Early stopping - but when?".
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from data.runs.recorder import Recorder, Stopped
from grpo.config import TuneSettings
from grpo.policies.checkpoint import save_policy, save_whole, try_saving
from grpo.policies.tuning import to_train
from grpo.reports.records import TrainingCourse
from grpo.trainer.run_callback import RunCallback, StepMetrics
from reward_model.language_model.adapter import in_float32, layer_names, matched, trainable_share
from reward_model.language_model.device import choose_device, choose_dtype
from reward_model.language_model.origin import Origin
from reward_model.model_checks.context import context_length, require_known, require_length

NAMES = {name: name for name in ("loss", "grad_norm", "learning_rate", "entropy")} | {
    "mean_token_accuracy": "token_accuracy",
    "num_tokens": "tokens_per_second",
    "eval_loss": "validation_loss",
}
TokenRows = list[dict[str, list[int]]]
"""Token ids and labels of each text; -100 where there is no loss."""


def learn(
    settings: TuneSettings,
    origin: Origin,
    tokenizer: PreTrainedTokenizerBase,
    rows: Mapping[str, TokenRows],
    run: Recorder,
    words: str,
    kind: str,
) -> TrainingCourse:
    """Train on rows["train"], measure on rows["validation"]: how it went.

    What was trained is written to the run's folder, as of a run of this kind: the adapter, or all
    weights of full tuning. A stop keeps the weights as they then are. Raises ValueError for texts
    longer than the model reads and for a loss that is no number, and Stopped where nothing has been
    trained yet.
    """
    dtype, why = choose_dtype()
    chosen = "" if settings.learning_rate else f", chosen for {settings.tuning}"
    size = f"{settings.tuning}, learning rate {settings.rate:g}{chosen}"
    print(f"{words}: {settings.model}, {size}, {why}", flush=True)
    if origin.adapter and settings.tuning != "full":
        print("its adapter is trained on, with its own rank, alpha and targets", flush=True)
    run.progress(0, 1, "loading the model")
    model = to_train(settings, origin, dtype)
    require_length(settings.max_tokens, context_length(model.config, tokenizer), settings.model)
    texts = [row["input_ids"] for side in rows.values() for row in side]
    require_known(texts, model.get_input_embeddings().weight.size(0), tokenizer)
    try_saving(model, tokenizer, run.directory, settings.tuning, merged_after=kind == "pretrain")
    callback = EarlyStoppingCallback(run, settings.patience, words)
    trainer = SFTTrainer(
        model,
        args=sft_config(settings, str(run.directory), dtype, validate=bool(rows["validation"])),
        train_dataset=Dataset.from_list(rows["train"]),
        eval_dataset=Dataset.from_list(rows["validation"]) if rows["validation"] else None,
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    in_float32(trainer.model)  # TRL rounds what trains on 4 bits
    if rows["validation"]:
        run.progress(0, 1, "measuring the loss on held-out texts")
        trainer.evaluate()
    callback.train(trainer)
    course = callback.course(trainer, settings, why)
    if settings.tuning == "full":
        save_whole(trainer.model, tokenizer, run.directory, origin, kind=kind)
    else:
        save_policy(trainer.model, run.directory, origin, kind=kind)
    return course


def sft_config(
    settings: TuneSettings, folder: str, dtype: torch.dtype, validate: bool
) -> SFTConfig:
    """These settings under TRL's names."""
    mixed = settings.tuning != "lora"  # else the frozen weights have the chosen precision already
    part = 1 / (4 * settings.epochs)  # of all steps, as transformers takes it
    return SFTConfig(
        output_dir=folder,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=3,
        train_sampling_strategy="group_by_length",
        max_length=settings.max_tokens,
        dataset_kwargs={"skip_prepare_dataset": True},
        bf16=mixed and dtype == torch.bfloat16,
        activation_checkpointing=settings.tuning == "qlora",
        use_cpu=choose_device().type == "cpu",
        logging_steps=1,
        eval_strategy="steps" if validate else "no",
        eval_steps=settings.eval_every or min(part, 0.999),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


class EarlyStoppingCallback(RunCallback):
    """Metrics in our names; the best weights, kept in main memory; early stopping."""

    def __init__(self, run: Recorder, patience: int, message: str) -> None:
        super().__init__(run, NAMES, message)
        self.patience = patience
        self.losses: list[tuple[int, float]] = []
        """(step, loss on held-out texts), the first before training."""
        self.early = False
        self._best: dict[str, torch.Tensor] = {}
        self._best_step: int | None = None
        self._tokens = 0.0

    def train(self, trainer: SFTTrainer) -> None:
        """Train, and put the best weights back, but after a stop: that keeps what there is."""
        try:
            trainer.train()
        except Stopped:  # while it measured
            return
        if self.run.stop_requested or not self._best:
            return
        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                if name in self._best:
                    parameter.copy_(self._best[name])

    def course(self, trainer: SFTTrainer, settings: TuneSettings, precision: str) -> TrainingCourse:
        """How it went, after `train`."""
        n, share = trainable_share(trainer.model)
        stopped = self.run.stop_requested
        measured = dict(self.losses)
        last = self.losses[-1][1] if self.losses else None
        at_best = measured.get(self._best_step) if self._best_step else None
        return TrainingCourse(
            steps=trainer.state.global_step,
            planned=trainer.state.max_steps,
            ended="as asked" if stopped else "early" if self.early else "as planned",
            validation_loss_before=measured.get(0),
            validation_loss=last if stopped else at_best,
            validation_loss_last=last,
            best_step=None if stopped else self._best_step,
            tuning=settings.tuning,
            learning_rate=settings.rate,
            trainable=n,
            trainable_share=round(share, 6),
            targets=layer_names(matched(trainer.model)),
            precision=precision,
        )

    def extend(self, metrics: StepMetrics) -> StepMetrics:
        """TRL counts the tokens it has read so far: here they are a speed."""
        if "tokens_per_second" in metrics:
            tokens = float(metrics["tokens_per_second"])
            seconds = max(time.monotonic() - self._step_began, 1e-9)
            metrics["tokens_per_second"] = round((tokens - self._tokens) / seconds, 1)
            self._tokens = tokens
        return metrics

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        model: PreTrainedModel,
        **_: object,
    ) -> None:
        """Keep the weights of the lowest validation loss, and stop where it no longer falls."""
        loss = round(metrics["eval_loss"], 4)
        best = min((known for step, known in self.losses if step), default=float("inf"))
        self.losses.append((state.global_step, loss))
        if not state.global_step:
            return
        if loss < best:
            self._best_step = state.global_step
            trained = (pair for pair in model.named_parameters() if pair[1].requires_grad)
            self._best = {name: p.detach().to("cpu", copy=True) for name, p in trained}
        elif self.patience and state.global_step < state.max_steps:
            since = [step for step, _ in self.losses if step > (self._best_step or 0)]
            self.early = len(since) >= self.patience
            control.should_training_stop = control.should_training_stop or self.early

    def on_prediction_step(self, *_: object, **__: object) -> None:
        self.run.check_stop()
