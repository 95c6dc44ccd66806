"""Tuning a reward model's network on the joint likelihood, starting from the fitted head."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from data.runs.recorder import Recorder
from reward_model.config import RewardSettings
from reward_model.dataset.examples import TIE, A, Examples, group_rows
from reward_model.evaluation.cross_validation import Model
from reward_model.language_model.classifier import apply_head, last_states, set_head
from reward_model.language_model.lora import lora_config, what_trains
from reward_model.language_model.render import Rendered
from reward_model.likelihood.fit import HeadFit


def tune(
    network: PreTrainedModel,
    examples: Examples,
    texts: Sequence[Rendered],
    fit: HeadFit,
    settings: RewardSettings,
    pad_token_id: int,
    run: Recorder,
    seed: int,
) -> PreTrainedModel | PeftModel:
    """Train the network in place; returns what is to be saved: it, or the adapter in it.

    Annotators and cuts stay as the head's fit found them; each batch holds whole prompts. Raises
    ValueError where the loss stops being finite.
    """
    set_head(network, fit.weights)
    trained = _make_trainable(network, settings)
    batches = list(prompt_batches(examples, settings, random.Random(seed)))
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimiser, len(batches) // 10, len(batches))
    model = Model(settings.objective, settings.scalar, settings.effects)
    # divided by the average batch's judgements, not its own: each judgement then weighs the same
    per_batch = max(1.0, len(model.joint(examples)) * settings.epochs / max(1, len(batches)))
    trained.train()
    for step, batch in enumerate(batches, 1):
        run.check_stop()
        begun = time.monotonic()
        states = last_states(network, [texts[i] for i in batch], pad_token_id)
        rewards = apply_head(network, states).double() + fit.intercept
        loss, n, right = batch_loss(model, examples, batch, rewards, fit)
        if n:
            torch.autograd.backward(loss / per_batch)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
            optimiser.step()
            optimiser.zero_grad()
            if not np.isfinite([norm, float(loss.detach())]).all():
                raise ValueError(
                    f"the loss became infinite or NaN at step {step}: use a smaller --learning-rate"
                    f" than {settings.learning_rate}"
                )
            run.log(
                step=step,
                loss=round(float(loss.detach()) / n, 5),
                accuracy=None if right is None else round(right, 4),
                grad_norm=round(norm, 5),
                seconds=round(time.monotonic() - begun, 2),
            )
            run.progress(step, len(batches), "training")
        schedule.step()
    trained.eval()
    return trained


def _make_trainable(
    network: PreTrainedModel, settings: RewardSettings
) -> PreTrainedModel | PeftModel:
    """The network, or the adapter put into it; what trains is in float32."""
    trained: PreTrainedModel | PeftModel = network
    if settings.tuning == "full":
        network.requires_grad_(True)
    else:
        trained = get_peft_model(network, lora_config(network, settings.lora, "SEQ_CLS"))
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    print(what_trains(trained), flush=True)
    return trained


def batch_loss(
    model: Model, examples: Examples, batch: Sequence[int], rewards: torch.Tensor, fit: HeadFit
) -> tuple[torch.Tensor, int, float | None]:
    """(nats summed, judgements, share of decided comparisons that are right) of one batch.

    rewards: (B,), of the completions in `batch`.
    """
    places = torch.tensor(batch)
    here = np.zeros(len(examples.completions), bool)
    here[batch] = True
    inside = examples.where(here)
    joint = model.joint(inside)
    every = torch.zeros(len(here), dtype=rewards.dtype).index_put((places,), rewards.cpu())
    pairs = inside.pairs
    decided = pairs.outcome != TIE
    if not joint.n_pairs or not decided.any():
        return joint.nll(every, fit.values), len(joint), None
    apart = (every[pairs.a] - every[pairs.b]).detach().numpy()[decided]
    right = float(np.mean((apart > 0) == (pairs.outcome[decided] == A)))
    return joint.nll(every, fit.values), len(joint), right


def prompt_batches(
    examples: Examples, settings: RewardSettings, rng: random.Random
) -> Iterator[list[int]]:
    """Places of judged completions, about `batch_size` at a time, all of a prompt in one batch."""
    judged = np.zeros(len(examples.completions), bool)
    for places in (examples.pairs.a, examples.pairs.b, examples.binary.item, examples.scalar.item):
        judged[places] = True
    groups = [kept for g in group_rows(examples.prompt) if len(kept := g[judged[g]].tolist())]
    for _ in range(settings.epochs):
        rng.shuffle(groups)
        batch: list[int] = []
        for group in groups:
            if batch and len(batch) + len(group) > settings.batch_size:
                yield batch
                batch = []
            batch = batch + group
        if batch:
            yield batch
