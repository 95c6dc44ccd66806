"""Tuning a reward model's network on the joint likelihood, from the fitted head on."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from transformers import get_cosine_schedule_with_warmup

from data.runs.recorder import Recorder
from reward_model.config import RewardSettings
from reward_model.dataset.examples import TIE, A, Examples, group_rows
from reward_model.evaluation.cross_validation import Model
from reward_model.language_model.classifier import body_of, last_states
from reward_model.language_model.lora import lora_config, what_trains
from reward_model.language_model.render import Rendered
from reward_model.likelihood.fit import HeadFit


def tune(
    network: Any,
    examples: Examples,
    texts: Sequence[Rendered],
    fit: HeadFit,
    settings: RewardSettings,
    pad_token_id: int,
    run: Recorder,
    seed: int,
) -> Any:
    """The network with a side-car, or with all its weights, trained on `examples`.

    Annotators and cuts stay as the head's fit found them; each batch holds whole prompts. Raises
    ValueError where the loss stops being finite.
    """
    with torch.no_grad():
        network.score.weight.copy_(torch.from_numpy(fit.weights)[None])
    network, base = _trainable(network, settings)
    batches = list(prompt_batches(examples, settings, random.Random(seed)))
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimiser, len(batches) // 10, len(batches))
    model = Model(settings.objective, settings.scalar, settings.effects)
    per_batch = max(1.0, len(model.joint(examples)) * settings.epochs / max(1, len(batches)))
    network.train()
    for step, batch in enumerate(batches, 1):
        run.check_stop()
        begun = time.monotonic()
        states = last_states(body_of(base), [texts[i] for i in batch], pad_token_id)
        rewards = base.score(states)[:, 0].double() + fit.intercept
        loss, n, right = batch_loss(model, examples, batch, rewards, fit)
        if n:
            (loss / per_batch).backward()
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
            optimiser.step()
            optimiser.zero_grad()
            _log(run, settings, step, len(batches), float(loss.detach()) / n, right, norm, begun)
        schedule.step()
    network.eval()
    return network


def _trainable(network: Any, settings: RewardSettings) -> tuple[Any, Any]:
    """(what trains, the classifier inside it), in training precision."""
    if settings.tuning == "full":
        network.requires_grad_(True)
        base = network
    else:
        network = get_peft_model(network, lora_config(network, settings.lora, "SEQ_CLS"))
        base = network.base_model.model
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    print(what_trains(network), flush=True)
    return network, base


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


def _log(
    run: Recorder,
    settings: RewardSettings,
    step: int,
    steps: int,
    loss: float,
    right: float | None,
    norm: float,
    begun: float,
) -> None:
    if not np.isfinite(norm) or not np.isfinite(loss):
        raise ValueError(
            f"the loss became infinite or NaN at step {step}: use a smaller --learning-rate"
            f" than {settings.learning_rate}"
        )
    run.log(
        step=step,
        loss=round(loss, 5),
        accuracy=None if right is None else round(right, 4),
        grad_norm=round(norm, 5),
        seconds=round(time.monotonic() - begun, 2),
    )
    run.progress(step, steps, "training")


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
