"""TRL's GRPOTrainer with three additions: shared prompts, dropped groups, exact resume.

Shared prompts: the completions of a group have the same prompt, so generation and log-probabilities
run it once and reuse its keys and values; only completion tokens go through the output layer. Equal
to TRL's own computation to rounding.

Dropped groups: where the reward model cannot tell a group's completions apart, the differences of
their rewards are its noise; such a group gets no advantage.

Exact resume: a checkpoint also holds the batch that its steps are made on, the order of the
prompts, and the coefficients that are adapted.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import RepeatSampler

from data.atomic_files import write_bytes
from data.schema import Prompt, content_hash
from data.stats.intervals import Floats
from grpo.config import WINDOW, PolicySettings
from grpo.policies.reference import as_reference, pin_reference
from grpo.policies.tuning import trainable
from grpo.trainer.advantages import advantages
from grpo.trainer.batch_metrics import Sample, batch_metrics
from grpo.trainer.reward_per_nat import reward_per_nat
from grpo.trainer.shared_prompt import can_share, shared_prompt_logps, worth_sharing
from grpo.trainer.trl_config import MEASURE_ONLY, grpo_config
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.generation import (
    end_tokens,
    generate_shared,
    opened_thinking,
    text_of,
)
from reward_model.language_model.origin import Origin, weights_hash
from reward_model.scoring.grpo_reward import GrpoReward, Turns
from reward_model.scoring.scorer import Scorer

"""Steering raises the KL coefficient to at most this many times its setting."""
MOVED_ON = ("_step", "_buffered_inputs", "entropy_coef", "_last_world_entropy", "sampled_at")
"""Attributes that a step moves on: a checkpoint holds them, and a trial step puts them back."""
_CHECKPOINTED = (*MOVED_ON, "beta", "retest", "identity")
"""Attributes that a checkpoint holds beside TRL's own, and beside `samples`."""


@dataclass(frozen=True)
class TrainingParts:
    """Everything that a GRPO run is made of, beside its settings."""

    policy: Origin
    reference: Origin
    """The SFT policy that KL is measured against."""
    tokenizer: PreTrainedTokenizerBase
    scorer: Scorer
    reward_folder: Path
    prompts: Sequence[Prompt]
    dtype: torch.dtype
    """Of the frozen weights; the adapter is float32."""


class PolicyTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on a policy with a LoRA adapter; see the module's docstring."""

    samples: Sequence[Sample] = ()
    """The batch that steps are made on now, of all processes."""
    sampled_at = 0
    """The step that it was sampled for."""
    sampling_seconds = 0.0
    """What sampling and scoring it took."""
    retest = 0.0
    """What scoring the same completion twice may differ by."""
    kl_weight = 0.0
    """The KL coefficient when the batch was sampled."""
    beta: float
    """TRL's name of the KL coefficient."""

    def __init__(self, settings: PolicySettings, parts: TrainingParts, folder: Path) -> None:
        """Load the policy, pin its reference and be ready for the first step.

        `folder` is the run's, where checkpoints go. Raises ValueError where nothing would train.
        """
        set_seed(settings.seed)  # a new adapter is initialised the same when the run is resumed
        model: Any = trainable(parts.policy, settings.lora, parts.dtype)
        ends = end_tokens(model, parts.tokenizer)
        model.generation_config.eos_token_id = ends  # TRL stops at these
        self.settings, self.parts = settings, parts
        self.prompts = list(parts.prompts)
        random.Random(settings.seed).shuffle(self.prompts)
        self.reward = GrpoReward(
            parts.scorer,
            ends,
            settings.reward_clip,
            settings.group_size,
            settings.pessimism,
            settings.length_penalty,
            opened_thinking(parts.tokenizer),
            self._reward_per_nat if settings.kl_weight else None,
        )
        rows = [{"prompt": [m.as_dict() for m in p.messages]} for p in self.prompts]
        super().__init__(
            model,
            reward_funcs=self.reward,
            args=grpo_config(settings, folder),
            train_dataset=Dataset.from_list(rows),
            processing_class=parts.tokenizer,
        )
        if parts.policy.adapter:
            pin_reference(self.policy, parts.reference)
        self.remove_callback(PrinterCallback)

    @property
    def policy(self) -> PreTrainedModel:
        """The model that trains, without what distributes it."""
        model: PreTrainedModel = self.accelerator.unwrap_model(self.model)
        return model

    @cached_property
    def identity(self) -> str:
        """Hash of reference, reward model and prompts: a checkpoint is resumed only with these."""
        reward = weights_hash(self.parts.reward_folder)
        return content_hash(self.parts.reference.hash, reward, [p.id for p in self.prompts])

    def calibrate(self, retest: float, entropy: float) -> None:
        """Take over what preflight measured: retest error of the reward, entropy at the start."""
        self.retest = retest
        self.args.entropy_target = self.settings.entropy_target * entropy

    # --- what a step does otherwise than TRL

    def _get_per_token_logps_and_entropies(
        self, model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int, **named: object
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        unwrapped = self.accelerator.unwrap_model(model)
        causal = unwrapped.get_base_model() if hasattr(unwrapped, "get_base_model") else unwrapped
        asked = {name for name, value in named.items() if value is not None and value is not False}
        plain = asked <= {"batch_size", "compute_entropy"}  # no images, no loss of a router's
        if not plain or not can_share(causal) or not worth_sharing(ids, keep):
            found: tuple[Tensor, Tensor | None, Tensor | None]
            found = super()._get_per_token_logps_and_entropies(model, ids, mask, keep, **named)
            return found
        with self.accelerator.autocast():
            logps, entropies = shared_prompt_logps(causal, ids, mask, keep, self.temperature)
        return logps, entropies if "compute_entropy" in asked else None, None

    def _tokenize_prompts(
        self, prompts: Sequence[Sequence[dict[str, str]]]
    ) -> tuple[list[list[int]], None, dict[str, Any]]:
        """(token ids as the renderer gives them, no images, nothing else)."""
        form = chat_format(self.parts.tokenizer)
        return [form.prompt_ids(turns) for turns in prompts], None, {}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: object, *rest: object, **named: object
    ) -> tuple[list[list[int]], None]:
        if self.use_vllm or self.use_transformers_continuous_batching or images is not None:
            plain: tuple[list[list[int]], None] = super()._generate_single_turn(
                prompt_ids, images, *rest, **named
            )
            return plain
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model:
            return generate_shared(model, prompt_ids, self.generation_config), None

    def _calculate_rewards(
        self, inputs: object, prompts: Sequence[Turns], texts: object, ids: Sequence[Sequence[int]]
    ) -> Tensor:
        """Rewards of all processes, (B, 1); what they are made of is kept for the batch.

        texts: as TRL reads the completions' ids, with an end of turn that is not flagged special.
        """
        completions = [text_of(self.parts.tokenizer, one, self.reward.ends) for one in ids]
        self._scored = self.reward.score(prompts, completions, ids)
        rewards = torch.from_numpy(self._scored.reward).float()[:, None]
        gathered: Tensor = self.accelerator.gather(rewards.to(self.accelerator.device))
        return gathered

    def _reward_per_nat(self, rewards: Floats) -> Floats:
        target, scale = self.settings.kl_target, self.settings.advantage_scale
        return reward_per_nat(rewards, self.kl_weight, target, scale)

    def _generate_and_score_completions(self, inputs: object) -> dict[str, Tensor]:
        """As TRL's, with our advantages and the batch kept; the reference is read later."""
        begun, beta = time.monotonic(), self.beta
        self.kl_weight = beta
        self.beta = 0.0  # else TRL reads the reference here, in batches of another shape
        try:
            batch: dict[str, Tensor] = super()._generate_and_score_completions(inputs)
        finally:
            self.beta = beta
        self.sampling_seconds = time.monotonic() - begun
        scored = self._scored
        rewards = torch.from_numpy(scored.reward).view(-1, self.num_generations)
        noise = torch.from_numpy(scored.noise)
        floor = (self.settings.drop_below * noise).clamp(min=self.retest)
        everyones = self.accelerator.gather(rewards.float().to(self.accelerator.device))
        scale = self.settings.advantage_scale
        given, kept = advantages(rewards, floor, scale, everyones.flatten().std())
        batch["advantages"] = given.flatten().to(batch["advantages"])
        size, premium = self.num_generations, scored.risk_premium
        columns = (
            scored.prompts, scored.completions, scored.finished, scored.tokens,
            scored.mean.tolist(), scored.sd.tolist(), scored.reward.tolist(),
            noise.repeat_interleave(size).tolist(), given.flatten().tolist(),
            (~kept).repeat_interleave(size).tolist(),
            [None] * len(rewards) * size if premium is None else premium.tolist(),
        )  # fmt: skip
        self.samples = gather_object([Sample(*row) for row in zip(*columns, strict=True)])
        self.sampled_at = self.state.global_step + 1
        return batch

    def _run_epoch(self, *args: object, **named: object) -> None:
        """Nothing where a run is resumed from its last step: only what comes after is to do."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **named)

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
        """TRL's, with the reference read in the same parts of a batch as the policy.

        Equal weights then give a KL of exactly 0 whatever the precision. It is read once for each
        part and kept, for a batch may serve several steps.
        """
        if self.beta and "ref_per_token_logps" not in inputs:
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
            mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
            length = inputs["completion_ids"].size(1)
            with torch.no_grad(), as_reference(self.policy):
                found = self._get_per_token_logps_and_entropies(self.model, ids, mask, length)
            inputs["ref_per_token_logps"] = found[0]
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the metrics of the batch that the step was made on, also where it is older.

        So every tracker sees what metrics.jsonl has.
        """
        if "loss" in logs and self.samples:
            seen = self._metrics["train"]
            found = asdict(batch_metrics(self.samples, self.num_generations))
            tokens = sum(sample.tokens for sample in self.samples)
            entropy, target = self._last_world_entropy, self.args.entropy_target
            rests = self.use_adaptive_entropy and entropy > target
            found |= {
                "kl_weight": 0.0 if self.beta == MEASURE_ONLY else float(self.beta),
                "entropy_weight": 0.0 if rests else float(self.entropy_coef),  # of the next step
                "kl_nats": fmean(seen["kl"]) * found["length"],
                "tokens_per_second": tokens / max(fmean(seen["step_time"]), 1e-9),
            }
            seen.update({name: [value] for name, value in found.items() if value is not None})
        super().log(logs, start_time)

    # --- checkpoints

    def _get_train_sampler(self, dataset: Dataset | None = None) -> PromptOrder:
        self.order = PromptOrder(super()._get_train_sampler(dataset))
        return self.order

    def _save_checkpoint(self, model: PreTrainedModel, trial: object) -> None:
        """Also keep the batch and the coefficients, so that resuming is exact at any step."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        window = {name: getattr(self, name) for name in _CHECKPOINTED}
        window["samples"] = [asdict(sample) for sample in self.samples]
        window["entropy_target"] = self.args.entropy_target
        # within a pass the order is drawn again from where it began, and skipped into; between two
        # passes the next one is still to be drawn
        ended = float(self.state.epoch or 0).is_integer()
        window["order"] = self.order.generator.get_state() if ended else self.order.began
        content = io.BytesIO()
        torch.save(window, content)
        write_bytes(folder / WINDOW, content.getvalue())  # written last: it marks the checkpoint

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        window = torch.load(Path(checkpoint) / WINDOW, weights_only=True)
        if window["identity"] != self.identity:
            raise ValueError(
                "the SFT policy, the reward model or the prompts have changed since the"
                " checkpoint: going on would not be the same run; start a new one"
            )
        # called once the optimiser is there and before the first batch: nothing is drawn yet
        self.args.entropy_target = window["entropy_target"]
        self.order.generator.set_state(window["order"])
        self.samples = [Sample(**sample) for sample in window["samples"]]
        self.__dict__.update({name: window[name] for name in _CHECKPOINTED})

    def create_model_card(self, *_: object, **__: object) -> None:
        """Checkpoints carry no card."""


class PromptOrder(RepeatSampler):  # type: ignore[misc]
    """TRL's order of prompts, another for each pass; it can go on in the middle of one."""

    def __init__(self, order: RepeatSampler) -> None:
        self.__dict__ = order.__dict__
        self.began = self.generator.get_state()
        """The generator's state that draws the present pass again."""

    def __iter__(self) -> Iterator[int]:
        self.began = self.generator.get_state()
        yield from super().__iter__()
