"""One whole training step made on trial by the trainer itself, and then put back."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from grpo.policies.reference import adapter_distance, adapter_state
from grpo.trainer.batch_metrics import BatchMetrics, batch_metrics
from grpo.trainer.policy_trainer import MOVED_ON, PolicyTrainer

_COUNTERS = (*MOVED_ON, "_current_train_step_time", "_entropy_window_stats", "samples")


@dataclass(frozen=True)
class TrialStep:
    kl: float
    """To the reference, in nats per token."""
    entropy: float
    """In nats per token."""
    grad_norm: float
    moved: float
    """Distance that the adapter's weights moved, as a share of their norm."""
    seconds: float
    memory: int
    """Bytes at most."""
    batch: BatchMetrics


def make_trial_step(trainer: PolicyTrainer) -> TrialStep:
    """Sample, score, and make one optimiser step, all by the trainer's own methods."""
    settings, model = trainer.settings, trainer.policy.train()
    before = adapter_state(model)
    rows = trainer.train_dataset.select(range(settings.prompts_per_step))
    inputs = [row for row in rows for _ in range(settings.group_size)]
    trainer.current_gradient_accumulation_steps = settings.micro_batches
    if cuda := torch.cuda.is_available():
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
    seen = trainer._metrics["train"]
    return TrialStep(
        kl=float(np.mean(seen["kl"])),
        entropy=float(np.mean(seen["entropy"])),
        grad_norm=norm,
        moved=adapter_distance(before, adapter_state(model)),
        seconds=seconds,
        memory=memory,
        batch=batch_metrics(trainer.samples, settings.group_size),
    )


@contextmanager
def put_back(trainer: PolicyTrainer) -> Iterator[None]:
    """Leave weights, random states and all counters as they were, so that the run is the same."""
    model = trainer.policy
    held = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    kept = {name: getattr(trainer, name) for name in _COUNTERS}
    seen, states = trainer.state.num_input_tokens_seen, (random.getstate(), np.random.get_state())
    trackers, trainer.args.report_to = trainer.args.report_to, []  # none has begun yet
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        # also after a failed check; the adapter alone has moved, so nothing else is copied
        model.load_state_dict(held, strict=False)
        model.zero_grad(set_to_none=True)
        trainer.optimizer = None  # its moments have seen the trial: train() makes another
        trainer.args.report_to = trackers
        trainer.__dict__.update(kept)
        trainer._metrics["train"].clear()
        for log in trainer._logs.values():
            log.clear()
        trainer.state.num_input_tokens_seen = seen
        random.setstate(states[0])
        np.random.set_state(states[1])
