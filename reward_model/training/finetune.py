"""Tuning a reward model's network on the joint likelihood, starting from the fitted head."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from data.runs.recorder import Recorder
from data.stats.intervals import Floats
from reward_model.config import RewardSettings
from reward_model.dataset.examples import TIE, A, Examples, group_rows
from reward_model.evaluation.cross_validation import Model
from reward_model.language_model.adapter import in_float32, lora_config, what_trains
from reward_model.language_model.classifier import apply_head, completion_states, set_head
from reward_model.language_model.render import Rendered
from reward_model.language_model.views import View, cut_layers, find_blocks
from reward_model.likelihood.fit import HeadFit
from reward_model.training.memory import TuningMemory, check_memory, tuning_memory
from reward_model.training.micro_batches import ForwardPass, in_pieces, micro_batches
from reward_model.training.token_loss import last_states, times_better, token_loss


def tune(
    network: PreTrainedModel,
    examples: Examples,
    texts: Sequence[Rendered],
    fit: HeadFit,
    settings: RewardSettings,
    pad_token_id: int,
    run: Recorder,
    place: int,
    view: View,
    output: nn.Module | None = None,
    left_out: Floats | None = None,
) -> PreTrainedModel | PeftModel:
    """Train the network in place; returns what is to be saved: it, or the adapter in it.

    Annotators and cuts stay as the head's fit found them; each batch holds whole prompts. place:
    which member of the ensemble it is, the last of which needs room beside the others. output: the
    policy's output layer, for the language-model loss; the network is whole then, and is cut
    afterwards. left_out: what length and form add to the judged completions' rewards (N,); it stays
    as the head's fit found it, and the network learns what is left. Raises ValueError where the
    memory for it is missing, and where the loss stops being finite.
    """
    set_head(network, fit.weights)
    trained = _make_trainable(network, settings, view.depth).train()

    def read(some: Sequence[Rendered]) -> torch.Tensor:
        """Rewards, and with an output layer the log-loss of an average token, (N, 1 or 2)."""
        with last_states(network) as passes:
            states = completion_states(network, some, pad_token_id, view)
        columns = [apply_head(network, states).double() + fit.intercept]
        if output is not None:
            columns.append(token_loss(output, passes, some, pad_token_id).double())
        return torch.stack(columns, 1)

    batches = list(prompt_batches(examples, settings, random.Random(settings.seed + place)))
    memory = tuning_memory(trained, [texts[i] for batch in batches for i in batch], read)
    check_memory(memory, settings.members - place, network.device, run.directory)
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimiser, len(batches) // 10, len(batches))
    loss_of = _Loss.of(examples, texts, fit, settings, len(batches), left_out)
    for step, batch in enumerate(batches, 1):
        run.check_stop()
        begun = time.monotonic()
        rows = loss_of.accumulate(batch, read, memory)
        loss, n, right = loss_of.judgements(batch, rows)
        if n:
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
            optimiser.step()
            optimiser.zero_grad()
            _check_finite(norm, float(loss), step, settings.learning_rate)
            run.log(
                step=step,
                loss=round(float(loss) / n, 5),
                accuracy=None if right is None else round(right, 4),
                grad_norm=round(norm, 5),
                **_logged_tokens(rows, loss_of.better[batch]),
                seconds=round(time.monotonic() - begun, 2),
            )
            run.progress(step, len(batches), "training")
        schedule.step()
    trained.eval()
    cut_layers(network, view.depth)
    return trained


@dataclass(frozen=True)
class _Loss:
    """What is minimised: the joint likelihood, and the language model's loss beside it."""

    model: Model
    examples: Examples
    texts: Sequence[Rendered]
    fit: HeadFit
    added: torch.Tensor
    """To the rewards that the network gives (N,)."""
    better: torch.Tensor
    """How often each completion was the better one (N,)."""
    lm_weight: float
    per_batch: float
    """Judgements of an average batch. Divided by these, not by its own, each weighs the same."""

    @classmethod
    def of(
        cls,
        examples: Examples,
        texts: Sequence[Rendered],
        fit: HeadFit,
        settings: RewardSettings,
        batches: int,
        left_out: Floats | None,
    ) -> _Loss:
        model = Model(settings.objective, settings.scalar, settings.effects)
        joint = model.joint(examples)
        per_batch = max(1.0, len(joint) * settings.epochs / max(1, batches))
        added = torch.zeros(len(texts)) if left_out is None else torch.from_numpy(left_out)
        better = torch.from_numpy(times_better(joint))
        return cls(model, examples, texts, fit, added, better, settings.lm_weight, per_batch)

    def judgements(
        self, batch: Sequence[int], rows: torch.Tensor
    ) -> tuple[torch.Tensor, int, float | None]:
        """As `batch_loss`; rows: what was read of the batch (B, 1 or 2)."""
        return batch_loss(
            self.model, self.examples, batch, rows[:, 0] + self.added[batch], self.fit
        )

    def accumulate(
        self, batch: Sequence[int], read: ForwardPass, memory: TuningMemory
    ) -> torch.Tensor:
        """Add a batch's gradients, part by part; its rewards and token losses (B, 1 or 2)."""
        found: dict[int, torch.Tensor] = {}
        for part in micro_batches(
            self.examples, batch, self.texts, memory.activations, memory.room
        ):
            some = [self.texts[i] for i in part]
            rows = in_pieces(read, some, memory.activations, memory.room).cpu()
            loss, n, _ = self.judgements(part, rows)
            if rows.size(1) > 1:
                loss = loss + self.lm_weight * (self.better[part] @ rows[:, 1])
            if n:
                torch.autograd.backward(loss / self.per_batch)
            found.update(zip(part, rows.detach(), strict=True))
        return torch.stack([found[i] for i in batch])


def _check_finite(norm: float, loss: float, step: int, learning_rate: float) -> None:
    if not np.isfinite([norm, loss]).all():
        raise ValueError(
            f"the loss became infinite or NaN at step {step}: use a smaller --learning-rate"
            f" than {learning_rate}"
        )


def _logged_tokens(rows: torch.Tensor, better: torch.Tensor) -> dict[str, float]:
    """The better completions' log-loss, nats a token, where it was read; rows: (B, 1 or 2)."""
    if rows.size(1) == 1 or not better.any():
        return {}
    return {"lm_loss": round(float(better @ rows[:, 1] / better.sum()), 5)}


def _make_trainable(
    network: PreTrainedModel, settings: RewardSettings, depth: int
) -> PreTrainedModel | PeftModel:
    """The network up to this layer, or the adapter put into it; what trains is in float32."""
    trained: PreTrainedModel | PeftModel = network.requires_grad_(True)
    if settings.tuning == "lora":
        trained = get_peft_model(network, lora_config(network, settings.lora, "SEQ_CLS"))
    if blocks := find_blocks(network):
        blocks.layers[depth:].requires_grad_(False)
        if settings.tuning == "full":
            blocks.layers[depth:].float()  # they read what the trained layers give
    in_float32(trained)
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
    right = None
    if joint.n_pairs and decided.any():
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
