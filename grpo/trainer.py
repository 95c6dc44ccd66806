"""TRL's GRPOTrainer with three things of ours: the shared prompt, exact resume, KL steering.

Shared prompt: the completions of a group have the same prompt, so generation and log-probabilities
run it once and hand its keys and values to all of them; only completion tokens meet the vocabulary.
Equal to TRL's own path to rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import _ChunkedLogProbFunction

from reward_model.generate import generate_shared

WINDOW = "generation_window.pt"
VOCABULARY_CHUNK = 32768
_UNUSUAL_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier_scale",
)


class PolicyTrainer(GRPOTrainer):
    """GRPO on a policy with a LoRA side-car; see the module's docstring."""

    identity = ""
    """Of the reference and the prompts: a checkpoint goes on only with the same ones."""

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
        if not plain or not _can_share(causal):
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

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Also keep the generation window and the KL weight, so that resuming is exact."""
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        window = {
            "step": self._step,
            "inputs": self._buffered_inputs,
            "beta": self.beta,
            "identity": self.identity,
        }
        torch.save(window, folder / WINDOW)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            window = torch.load(Path(checkpoint) / WINDOW, weights_only=True)
            if window["identity"] != self.identity:
                raise ValueError(
                    "the SFT policy or the training prompts have changed since the checkpoint:"
                    " going on would not be the same run; start a new one"
                )
            self._step, self._buffered_inputs = window["step"], window["inputs"]
            self.beta = window["beta"]

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints carry no card."""


def _can_share(causal: Any) -> bool:
    config = causal.config.get_text_config()
    plain_head = not any(getattr(config, name, None) for name in _UNUSUAL_HEAD)
    return plain_head and not causal.is_activation_checkpointing


def shared_prompt_logps(
    causal: Any, input_ids: Tensor, attention_mask: Tensor, keep: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each of the last `keep` tokens: (B, keep), 0 where masked.

    input_ids, attention_mask: (B, P + keep): prompts padded on the left, completions on the right.
    """
    width = input_ids.size(1) - keep
    prompts = torch.cat([input_ids[:, :width], attention_mask[:, :width]], 1)
    unique, owner = torch.unique(prompts, dim=0, return_inverse=True)
    p_ids, p_mask = unique[:, :width], unique[:, width:]
    c_ids, c_mask = input_ids[:, width:], attention_mask[:, width:].bool()
    body = getattr(causal, causal.base_model_prefix)
    cache = DynamicCache()
    end = body(
        input_ids=p_ids,
        attention_mask=p_mask,
        position_ids=(p_mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1:]
    cache.batch_select_indices(owner)
    steps = torch.arange(keep - 1, device=input_ids.device)
    rest = body(
        input_ids=c_ids[:, :-1],
        attention_mask=attention_mask[:, :-1],
        position_ids=p_mask.sum(-1)[owner][:, None] + steps[None],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    hidden = torch.cat([end[owner], rest], 1)[c_mask]
    head = causal.get_output_embeddings()
    outputs = _ChunkedLogProbFunction.apply(
        hidden,
        head.weight,
        head.bias,
        c_ids[c_mask],
        temperature,
        VOCABULARY_CHUNK,
        None,
        1.0,
        ("log_probs", "entropy"),
    )
    blank = torch.zeros(c_mask.shape, dtype=outputs[0].dtype, device=hidden.device)
    logps = blank.masked_scatter(c_mask, outputs[0])
    return logps, blank.masked_scatter(c_mask, outputs[1])
