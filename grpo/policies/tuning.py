"""What trains in fine-tuning and pretraining: an adapter, an adapter on 4 bits, or all weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, PreTrainedModel

from grpo.config import TuneSettings
from reward_model.config import LoraSettings
from reward_model.language_model.adapter import (
    in_float32,
    lora_config,
    trainable_adapter,
    trainable_share,
    what_trains,
)
from reward_model.language_model.loading import load_base, load_model
from reward_model.language_model.origin import Origin
from reward_model.model_checks.adapter_files import whole_layers


def to_train(
    settings: TuneSettings, origin: Origin, dtype: torch.dtype
) -> PreTrainedModel | PeftModel:
    """The model with what `settings.tuning` says trainable, in float32.

    `full` merges an adapter that is there into the weights and trains them all. Raises ValueError
    where 4 bits cannot be had here, or nothing would train.
    """
    if settings.tuning == "full":
        model = load_model(origin, torch.float32).requires_grad_(True)
        print(what_trains(model), flush=True)
        return model
    if settings.tuning == "lora":
        return trainable(origin, settings.lora, dtype)
    check_qlora()
    base = load_base(origin, dtype, four_bits(dtype))
    base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    return trainable(origin, settings.lora, dtype, base)


def check_qlora() -> None:
    """ValueError with the remedy where this machine cannot hold a model in 4 bits."""
    if not torch.cuda.is_available():
        raise ValueError("tuning qlora needs an NVIDIA GPU, and none is here: use --tuning lora")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            "tuning qlora needs the package bitsandbytes: pip install 'bitsandbytes>=0.50,<0.51',"
            " or use --tuning lora"
        )


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """QLoRA's own choice: normal floats, their scales quantised too, computing in `dtype`.

    The adapter is trained on the rounded weights, and later used on the unrounded ones: what is
    sampled, scored and exported differs a little from what was trained. Dettmers et al. 2023,
    arXiv:2305.14314.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def trainable(
    origin: Origin, lora: LoraSettings, dtype: torch.dtype, base: PreTrainedModel | None = None
) -> PeftModel:
    """The policy with an adapter that trains: its own, or a new one on a plain model.

    Its own keeps its rank, alpha and targets; dropout is no part of it and comes from `lora`. It
    is in float32 whatever the model's precision. `base` is the model under it where that is loaded
    already. Raises ValueError if nothing trains.
    """
    if origin.adapter and whole_layers(Path(origin.adapter)):
        dtype = torch.float32  # these layers train, and what runs into them has their precision
    base = load_base(origin, dtype) if base is None else base
    if origin.adapter:
        model = trainable_adapter(base, origin.adapter, lora.dropout)
    else:
        model = get_peft_model(base, lora_config(base, lora, "CAUSAL_LM"))
    in_float32(model)
    if not trainable_share(model)[0]:
        raise ValueError("no parameter of the policy would train: check its adapter")
    print(what_trains(model), flush=True)
    return model
