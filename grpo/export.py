"""Merge a policy's adapter into its weights: an ordinary model folder that any tool loads."""

from __future__ import annotations

from pathlib import Path

import torch

from grpo.config import ExportSettings
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.loading import load_model, load_tokenizer


def export(settings: ExportSettings) -> Path:
    """Write the merged model and its tokenizer. Raises ValueError if the folder is not empty."""
    out = Path(settings.out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already and not empty: name a new folder with --out")
    origin = find_policy(settings.policy, settings.workspace)
    model = load_model(origin, torch.float32)
    model.to(torch.bfloat16).save_pretrained(out)
    load_tokenizer(origin, chat=False).save_pretrained(out)
    return out
