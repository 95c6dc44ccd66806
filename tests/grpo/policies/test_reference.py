"""The reference: the policy that training started from, frozen, and kept from round to round."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from grpo import train as grpo_train
from grpo.policies.checkpoint import find_policy
from grpo.policies.reference import adapter_distance, pin_reference, reference_of
from grpo.trainer import policy_trainer
from tests.support.training import POLICY, SMALL


def adapter(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_only_the_adapter_trains_and_the_reference_is_frozen(trainer):
    names = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert names and all(".default." in n for n in names)
    weights = trainer.model.state_dict()
    for name in names:
        assert torch.equal(weights[name], weights[name.replace(".default.", ".ref.")])


def test_a_wrong_reference_stops_the_run(trained, tmp_path):
    """The reference is not the policy that training starts from: KL is not 0, and that is said."""
    wrong = trained.workspace / "runs" / "wrong"
    shutil.copytree(trained.folder("sft"), wrong, dirs_exist_ok=True)
    weights = adapter(wrong)
    from safetensors.torch import save_file

    noisy = {k: v + 0.5 * torch.randn_like(v) for k, v in weights.items()}
    save_file(noisy, wrong / "adapter" / "adapter_model.safetensors")

    def pin(model, _origin):
        pin_reference(model, find_policy("wrong", trained.workspace))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_trainer, "pin_reference", pin)
        with pytest.raises(ValueError, match=r"preflight: reference is [0-9a-f]{12}, needed"):
            trained.run("grpo", grpo_train.train, POLICY, name="wrong reference")


def test_a_second_round_keeps_the_first_reference(trained):
    first = trained.ids["grpo"]
    assert reference_of(first, trained.workspace)[0] == trained.ids["sft"]
    second = replace(POLICY, policy=first, reward=trained.ids["reward"], steps=1)
    trained.run("grpo", grpo_train.train, second, name="second round")
    assert trained.metrics("second round")[0]["kl"] > 0
    reference = trained.folder("second round") / "checkpoint-1" / "ref"
    kept = load_file(reference / "adapter_model.safetensors")
    assert same(kept, adapter(trained.folder("sft")))
    assert trained.reports["second round"]["reference"] == trained.ids["sft"]


def test_a_changed_sft_policy_is_refused(trained):
    path = trained.folder("grpo") / "origin.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), "sft_hash": "0" * 64}))
        with pytest.raises(ValueError, match="has changed since"):
            reference_of(trained.ids["grpo"], trained.workspace)
    finally:
        path.write_text(text)


def test_a_plain_model_gets_an_adapter_and_is_its_own_reference(trained, tiny_model):
    settings = replace(POLICY, policy=str(tiny_model), lora=SMALL, steps=2)
    trained.run("grpo", grpo_train.train, settings, name="plain")
    assert trained.metrics("plain")[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert trained.metrics("plain")[-1]["kl"] > 0
    again = replace(settings, policy=trained.ids["plain"])
    trained.run("grpo", grpo_train.train, again, name="plain, second round")
    first = trained.metrics("plain, second round")[0]["kl"]
    assert first == pytest.approx(trained.metrics("plain")[-1]["kl"], abs=5 * first + 1e-4)
    assert first > 0
    assert trained.reports["plain, second round"]["reference"] == str(tiny_model)


def test_a_policy_named_by_its_folder_keeps_its_reference(trained):
    folder = str(trained.folder("grpo"))
    assert reference_of(folder, trained.workspace)[0] == trained.ids["sft"]


def test_distance_is_a_share_of_the_size():
    one = {"a": torch.tensor([3.0, 4.0])}
    assert adapter_distance(one, {"a": torch.tensor([3.0, 4.0])}) == 0
    assert adapter_distance(one, {"a": torch.tensor([0.0, 0.0])}) == pytest.approx(1)
