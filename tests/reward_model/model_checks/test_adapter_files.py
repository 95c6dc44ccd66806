"""Adapter folders that PEFT and TRL write are taken as a model, or refused in words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
)

from reward_model.language_model import loading
from reward_model.language_model.loading import load_model, load_tokenizer, merged
from reward_model.language_model.origin import Origin, find_origin
from tests.reward_model.model_checks.odd_models import POINTER, edit_json, variant

IDS = torch.tensor([[5, 6, 7, 8, 9]])
QV = ("q_proj", "v_proj")


def make_adapter(
    base: Path, folder: Path, targets: Sequence[str] = QV, tokens: int = 0, **options: Any
) -> torch.Tensor:
    """Write an adapter as TRL does; returns the logits that base and adapter give."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokens:
        tokenizer.add_tokens([f"<new_{i}>" for i in range(tokens)])
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    torch.manual_seed(3)
    config = LoraConfig(
        r=4, task_type="CAUSAL_LM", target_modules=list(targets), init_lora_weights=False, **options
    )
    with warnings.catch_warnings():  # PEFT on tied layers
        warnings.simplefilter("ignore")
        stacked = get_peft_model(model, config).eval()
    for name, value in stacked.named_parameters():
        if "modules_to_save" in name:
            value.data += 0.1 * torch.randn_like(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stacked.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return logits(stacked)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(IDS.to(model.device)).logits.float().cpu()
    return found


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (QV, {}),
        (QV, {"use_dora": True}),
        (QV, {"use_rslora": True, "lora_alpha": 3}),
        ((*QV, "lm_head"), {}),
        ((*QV, "embed_tokens"), {}),
        (QV, {"modules_to_save": ["lm_head", "embed_tokens"]}),
        (QV, {"modules_to_save": ["lm_head"]}),
        (QV, {"modules_to_save": ["embed_tokens"]}),
        (QV, {"trainable_token_indices": [5, 6]}),
        (QV, {"tokens": 4}),
        (QV, {"tokens": 4, "modules_to_save": ["lm_head", "embed_tokens"]}),
        ((*QV, "lm_head"), {"tokens": 4}),
    ],
)
def test_an_adapters_folder_is_a_policy_with_the_same_logits(
    tiny_model: Path, tmp_path: Path, targets: Sequence[str], options: dict[str, Any]
) -> None:
    """Also one on the output layer of a model that shares it with the embedding."""
    wanted = make_adapter(tiny_model, tmp_path / "a", targets, **options)
    origin = find_origin(str(tmp_path / "a"))
    assert origin == Origin(str(tiny_model), str(tmp_path / "a"))
    model = merged(origin, torch.float32)
    assert same(logits(model), wanted)
    model.save_pretrained(tmp_path / "whole")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "whole", dtype=torch.float32)
    assert same(logits(again), wanted)
    tokenizer = load_tokenizer(origin)
    assert len(tokenizer) == 340 + options.get("tokens", 0) == logits(again).size(-1)


def test_the_adapters_own_tokenizer_and_template_count(tiny_model: Path, tmp_path: Path) -> None:
    make_adapter(tiny_model, tmp_path / "a", tokens=2)
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}<|im_end|>")
    tokenizer = load_tokenizer(find_origin(str(tmp_path / "a")))
    assert tokenizer.convert_tokens_to_ids("<new_1>") == 341
    assert str(tokenizer.chat_template).startswith("{{ messages[0]")


@pytest.mark.parametrize("beside", [True, False])
def test_a_relative_base_is_found_beside_the_adapter_or_where_the_command_runs(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    variant(tiny_model, tmp_path / "base")
    make_adapter(tiny_model, tmp_path / "a")
    edit_json(tmp_path / "a" / "adapter_config.json", {"base_model_name_or_path": "base"})
    monkeypatch.chdir(tmp_path / "a" if beside else tmp_path)
    origin = find_origin(str(tmp_path / "a"))
    assert Path(origin.model).resolve() == tmp_path / "base"


def pointer(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_text(POINTER)


def config(**changes: object) -> Any:
    return lambda folder: edit_json(folder / "adapter_config.json", changes)


REFUSED = {
    "base gone": (config(base_model_name_or_path="/gone/base"), "'/gone/base', which is not here"),
    "relative base gone": (config(base_model_name_or_path="./gone"), "'./gone', which is not here"),
    "deep base gone": (config(base_model_name_or_path="a/b/c"), "'a/b/c', which is not here"),
    "no base": (config(base_model_name_or_path=None), "does not say which.*base_model_name_or"),
    "classifier": (config(task_type="SEQ_CLS"), "made for SEQ_CLS.*a policy's adapter"),
    "another kind": (config(peft_type="PREFIX_TUNING"), "PREFIX_TUNING.*only LORA.*merge it"),
    "weights gone": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "no weights.*adapter_model.safetensors",
    ),
    "pointer": (pointer, "git lfs pull"),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "is not JSON"),
    "a whole model too": (
        lambda f: (f / "model.safetensors").write_bytes(b"x"),
        "both a whole model and an adapter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_an_adapter_that_cannot_be_used_is_refused(
    tiny_model: Path, tmp_path: Path, what: str
) -> None:
    change, words = REFUSED[what]
    make_adapter(tiny_model, tmp_path / "a")
    change(tmp_path / "a")
    with pytest.raises(ValueError, match=words):
        find_origin(str(tmp_path / "a"))


@pytest.mark.parametrize("layers", [1, 3])
def test_an_adapter_of_a_model_with_other_layers_is_refused(
    tiny_model: Path, tmp_path: Path, layers: int
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    other = type(model)(
        type(model.config)(**{**model.config.to_dict(), "num_hidden_layers": layers})
    )
    other.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "other")
    make_adapter(tmp_path / "other", tmp_path / "a")
    edit_json(tmp_path / "a" / "adapter_config.json", {"base_model_name_or_path": str(tiny_model)})
    with pytest.raises(ValueError, match="belongs to another model"):
        load_model(find_origin(str(tmp_path / "a")))


def test_a_pickled_adapter_is_read(tiny_model: Path, tmp_path: Path) -> None:
    wanted = make_adapter(tiny_model, tmp_path / "a")
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    PeftModel.from_pretrained(model, tmp_path / "a").save_pretrained(
        tmp_path / "a", safe_serialization=False
    )
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    origin = find_origin(str(tmp_path / "a"))
    assert same(logits(merged(origin, torch.float32)), wanted)
    assert len(origin.hash) == 64


def test_the_adapter_inside_a_runs_folder_leads_to_the_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    make_adapter(tiny_model, tmp_path / "run" / "adapter")
    edit_json(
        tmp_path / "run" / "adapter" / "adapter_config.json", {"base_model_name_or_path": "/gone"}
    )
    (tmp_path / "run" / "origin.json").write_text(json.dumps({"model": str(tiny_model)}))
    assert find_origin(str(tmp_path / "run" / "adapter")).model == str(tiny_model)


def test_a_base_that_may_be_at_the_hub_and_is_not_is_told_with_its_adapter(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(tiny_model, tmp_path / "a")
    edit_json(tmp_path / "a" / "adapter_config.json", {"base_model_name_or_path": "models/gone"})

    def fail(*_: object, **__: object) -> None:
        raise OSError("models/gone is not a valid model identifier")

    monkeypatch.setattr(loading.AutoConfig, "from_pretrained", fail)
    origin = find_origin(str(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"'models/gone' cannot be .*set it to where the model is"):
        load_tokenizer(origin)


def test_the_base_needs_no_tokenizer_where_the_adapter_has_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    base = variant(tiny_model, tmp_path / "base")
    make_adapter(base, tmp_path / "a")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (base / name).unlink()
    assert load_tokenizer(find_origin(str(tmp_path / "a"))).chat_template
