"""TRL's GRPOTrainer with three things of ours: the shared prompt, groups dropped, exact resume.

Shared prompt: the completions of a group have the same prompt, so generation and log-probabilities
run it once and hand its keys and values to all of them; only completion tokens meet the vocabulary.
Equal to TRL's own path to rounding.

Groups dropped: where the reward model cannot tell a group's completions apart, their differences
are its noise; such a group gets no advantage.

Exact resume: a checkpoint also holds the batch that its steps are made on, the order of the
prompts, and what is steered.

The reference is read in the same parts of a batch as the policy: equal weights then give a KL of 0
whatever the precision.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import RepeatSampler, use_adapter

from grpo.config import WINDOW, AdvantageScale
from grpo.trainer.advantages import advantages
from grpo.trainer.batch_metrics import Sample, figures
from grpo.trainer.shared_prompt import _can_share, _worth_it, shared_prompt_logps
from reward_model.language_model.generation import generate_shared
from reward_model.scoring.grpo_reward import GrpoReward

MEASURE_ONLY = 1e-12
"""TRL measures KL only where its weight is not 0: this much holds nothing."""
_KEPT = (
    "_step",
    "_buffered_inputs",
    "beta",
    "entropy_coef",
    "_last_world_entropy",
    "retest",
    "samples",
    "sampled_at",
    "identity",
)
"""What a checkpoint holds beside TRL's own."""


class PolicyTrainer(GRPOTrainer):
    """GRPO on a policy with a LoRA side-car; see the module's docstring."""

    identity = ""
    """Of reference, reward model and prompts: a checkpoint goes on only with the same ones."""
    learned: GrpoReward | None = None
    """Where it is None, advantages are TRL's own."""
    advantage_scale: AdvantageScale = "group"
    drop_below = 0.0
    retest = 0.0
    """What scoring the same completion twice may differ by."""
    samples: Sequence[Sample] = ()
    """The batch that steps are made on now, of all processes."""
    sampled_at = 0
    """The step that it was sampled for."""
    sampling_seconds = 0.0
    """What sampling and scoring it took."""
    order: PromptOrder
    beta: float
    """TRL's name of the KL weight."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        unwrapped = self.accelerator.unwrap_model(model)
        causal = unwrapped.get_base_model() if hasattr(unwrapped, "get_base_model") else unwrapped
        plain = not compute_aux_loss and all(value is None for value in images.values())
        if not plain or not _can_share(causal) or not _worth_it(input_ids, logits_to_keep):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **images,
            )
        with self.accelerator.autocast():
            logps, entropies = shared_prompt_logps(
                causal, input_ids, attention_mask, logits_to_keep, self.temperature
            )
        return logps, entropies if compute_entropy else None, None

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, *rest: Any, **named: Any
    ) -> tuple[list[list[int]], None]:
        if self.use_vllm or self.use_transformers_continuous_batching or images is not None:
            plain: tuple[list[list[int]], None] = super()._generate_single_turn(
                prompt_ids, images, *rest, **named
            )
            return plain
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model:
            return generate_shared(model, prompt_ids, self.generation_config), None

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """With our advantages in the place of TRL's, and the batch kept; the reference waits."""
        begun, weight = time.monotonic(), self.beta
        self.beta = 0.0  # else TRL reads the reference here, in a batch of another make
        try:
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        finally:
            self.beta = weight
        self.sampling_seconds = time.monotonic() - begun
        if self.learned is None:
            return batch
        scored = self.learned.scored
        rewards = torch.from_numpy(scored.reward).view(-1, self.num_generations)
        noise = torch.from_numpy(scored.noise)
        floor = (self.drop_below * noise).clamp(min=self.retest)
        everyones = self.accelerator.gather(rewards.float().to(self.accelerator.device))
        given, kept = advantages(rewards, floor, self.advantage_scale, everyones.flatten().std())
        batch["advantages"] = given.flatten().to(batch["advantages"])
        self.samples = gather_object(_samples(scored, given.flatten(), kept))
        self.sampled_at = self.state.global_step + 1
        return batch

    def _run_epoch(self, *args: Any, **named: Any) -> None:
        """None where a run goes on from its last step: there is only what comes after to do."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **named)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """The reference's log-probabilities are read once for each part of a batch, and kept."""
        if self.beta and "ref_per_token_logps" not in inputs:
            inputs["ref_per_token_logps"] = self._reference_logps(inputs)
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    @torch.no_grad()
    def _reference_logps(self, inputs: dict[str, Any]) -> Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        keep = inputs["completion_ids"].size(1)
        model = self.accelerator.unwrap_model(self.model)
        with use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, keep)[0]

    def _get_train_sampler(self, dataset: Any = None) -> PromptOrder:
        order = super()._get_train_sampler(dataset)
        self.order = PromptOrder(order)
        return self.order

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the figures of the batch that the step was made on, also where it is an older one;
        so every tracker sees what metrics.jsonl has."""
        if "loss" in logs and self.samples:
            found = figures(self.samples, self.num_generations)
            seen = self._metrics["train"]
            found |= {"kl_weight": self.kl_weight, "entropy_weight": self.entropy_weight}
            found["kl_nats"] = fmean(seen["kl"]) * found["length"]
            tokens = sum(sample["tokens"] for sample in self.samples)
            found["tokens_per_second"] = tokens / max(fmean(seen["step_time"]), 1e-9)
            seen.update({name: [value] for name, value in found.items()})
        super().log(logs, start_time)

    @property
    def kl_weight(self) -> float:
        return 0.0 if self.beta == MEASURE_ONLY else float(self.beta)

    @property
    def entropy_weight(self) -> float:
        """As it acts in the next step: not at all while entropy is above its target."""
        rests = self.use_adaptive_entropy and self._last_world_entropy > self.args.entropy_target
        return 0.0 if rests else float(self.entropy_coef)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Also keep the batch and what is steered, so that resuming is exact at any step."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        window = {name: getattr(self, name) for name in _KEPT}
        window["entropy_target"] = self.args.entropy_target
        window["order"] = self.order.state(ended=float(self.state.epoch or 0).is_integer())
        partial = folder / f"{WINDOW}.part"  # there whole or not at all: it marks the checkpoint
        with partial.open("wb") as stream:
            torch.save(window, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(folder / WINDOW)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            window = torch.load(Path(checkpoint) / WINDOW, weights_only=True)
            if window["identity"] != self.identity:
                raise ValueError(
                    "the SFT policy, the reward model or the prompts have changed since the"
                    " checkpoint: going on would not be the same run; start a new one"
                )
            self.args.entropy_target = window.pop("entropy_target")
            self.order.generator.set_state(window.pop("order"))
            for name, value in window.items():
                setattr(self, name, value)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints carry no card."""


class PromptOrder(RepeatSampler):
    """TRL's order of prompts, another for each pass; it can go on in the middle of one."""

    def __init__(self, order: RepeatSampler) -> None:
        self.__dict__ = order.__dict__
        self._began = self.generator.get_state()

    def __iter__(self) -> Iterator[int]:
        self._began = self.generator.get_state()
        yield from super().__iter__()

    def state(self, ended: bool) -> Tensor:
        """From which the present pass is drawn again, or, where it has ended, the next one."""
        return self.generator.get_state() if ended else self._began


def _samples(scored: Any, given: Tensor, kept: Tensor) -> list[Sample]:
    """One dict a completion, in order; given: (B,) advantages; kept: (G,)."""
    size = len(given) // len(kept)
    return [
        {
            "prompt": scored.prompts[i],
            "completion": scored.completions[i],
            "finished": scored.finished[i],
            "tokens": scored.tokens[i],
            "model_reward": float(scored.mean[i]),
            "sd": float(scored.sd[i]),
            "reward": float(scored.reward[i]),
            "noise": float(scored.noise[i // size]),
            "advantage": float(given[i]),
            "dropped": not bool(kept[i // size]),
        }
        for i in range(len(given))
    ]
