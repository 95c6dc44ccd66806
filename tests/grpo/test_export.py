"""The exported policy."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from grpo.config import ExportSettings
from grpo.export import export
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.loading import load_model


def test_the_exported_model_answers_like_the_policy(trained, tmp_path):
    export(
        ExportSettings(
            workspace=trained.workspace, policy=trained.ids["grpo"], out=str(tmp_path / "out")
        )
    )
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    policy = load_model(find_policy(trained.ids["grpo"], trained.workspace), torch.float32)
    exported = exported.to(policy.device)
    ids = torch.tensor([[5, 6, 7, 8]], device=policy.device)
    with torch.no_grad():
        assert torch.allclose(exported(ids).logits, policy(ids).logits, atol=2e-2)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    with pytest.raises(ValueError, match="not empty"):
        export(
            ExportSettings(
                workspace=trained.workspace, policy=trained.ids["grpo"], out=str(tmp_path / "out")
            )
        )
