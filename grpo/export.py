"""Merge a policy's adapter into its weights: an ordinary model folder that any tool loads."""

from __future__ import annotations

from pathlib import Path

import torch

from data.atomic_files import whole_folder
from grpo.config import ExportSettings
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.model_checks.saving import check_saving


def export(settings: ExportSettings) -> Path:
    """Write the merged model and its tokenizer, whole or not at all.

    Raises ValueError if the folder is not empty, or what is to be written cannot be.
    """
    out = Path(settings.out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already and not empty: name a new folder with --out")
    origin = find_policy(settings.policy, settings.workspace)
    tokenizer = load_tokenizer(origin, chat=False)
    model = load_model(origin, torch.float32).to(torch.bfloat16)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = 2 * sum(p.numel() for p in model.parameters())  # bytes
    check_saving(out.parent, size, tokenizer, model)
    with whole_folder(out) as fresh:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    return out
