"""A GRPO run's settings as TRL takes them."""

from __future__ import annotations

from pathlib import Path

import torch
from trl import GRPOConfig

from grpo.config import PolicySettings
from reward_model.language_model.device import choose_device

MEASURE_ONLY = 1e-12
"""TRL measures KL only where its coefficient is not 0: this one is too small to act."""
ENTROPY_CEILING = 20.0
"""Steering raises the entropy coefficient to at most this many times its setting."""
CISPO_CEILING = 5.0
"""Importance weights are clipped here; below 1 there would be none. Khatri et al. 2025,
arXiv:2510.13786."""


def grpo_config(settings: PolicySettings, folder: Path) -> GRPOConfig:
    """These settings under TRL's names."""
    completions = settings.prompts_per_step * settings.group_size
    return GRPOConfig(
        output_dir=str(folder),
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
        logging_nan_inf_filter=False,  # a loss that is NaN has to be seen
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        report_to=[] if settings.report_to == "none" else [settings.report_to],
        project="coach",
        run_name=folder.name,
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
