"""What is trained of a policy: adapters loaded to be trained on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import torch
from peft import PeftModel

from grpo.policies.checkpoint import find_policy
from grpo.policies.tuning import trainable
from reward_model.language_model.device import choose_device
from reward_model.language_model.origin import find_origin
from tests.support.training import SMALL


def test_dropout_comes_from_the_settings_and_not_from_the_adapter(trained, tmp_path):
    """SFT may have used it; GRPO's KL to the reference is 0 only without it."""
    folder = tmp_path / "dropped"
    shutil.copytree(trained.folder("sft"), folder)
    path = folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_dropout": 0.1}))
    model = trainable(find_origin(str(folder)), SMALL, torch.float32).train()
    assert model.peft_config["default"].lora_dropout == 0
    ids = torch.arange(5, 25, device=choose_device())[None]
    assert torch.equal(model(ids).logits, model(ids).logits)
    dropping = trainable(find_origin(str(folder)), replace(SMALL, dropout=0.5), torch.float32)
    assert not torch.equal(dropping.train()(ids).logits, dropping(ids).logits)


def test_a_peft_policy_must_be_loaded_trainable(trained):
    origin = find_policy(trained.ids["sft"], trained.workspace)
    model = trainable(origin, SMALL, torch.float32)
    assert isinstance(model, PeftModel)
    assert any(p.requires_grad for p in model.parameters())
