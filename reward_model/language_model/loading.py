"""A model's name -> tokenizer and weights, on the right device and in the right dtype.

A name is `smollm2-135m` (built in), a run's folder, any local model folder, or a Hugging Face id.
A run's folder holds `origin.json`, which names the model it was trained from, and beside it either
a LoRA adapter (`adapter/`) for that model, or whole weights (`model/`) in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from reward_model.config import BUILT_IN_MODEL
from reward_model.language_model.built_in import built_in_folder
from reward_model.language_model.device import choose_device, choose_dtype
from reward_model.language_model.origin import Origin

T = TypeVar("T")


def load_tokenizer(origin: Origin, chat: bool = True) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a chat template and a pad token distinct from end-of-turn.

    Raises ValueError for a model that has neither; not where `chat` is False, for raw text needs
    neither of them.
    """
    tokenizer: PreTrainedTokenizerBase = _load_named(AutoTokenizer.from_pretrained, origin.model)
    if chat and not tokenizer.chat_template:
        raise ValueError(
            f"model {origin.model!r} has no chat template: use one tuned for chat, or add"
            " chat_template to its tokenizer_config.json"
        )
    # neither end-of-turn nor anything that texts contain
    candidates = [
        tokenizer.pad_token,
        "<|endoftext|>",
        "<|finetune_right_pad_id|>",
        "<pad>",
        "[PAD]",
        tokenizer.unk_token,
        *tokenizer.all_special_tokens,
    ]
    taken, vocabulary = (None, "", tokenizer.eos_token, "<|im_start|>"), tokenizer.get_vocab()
    pad = next((str(t) for t in candidates if t not in taken and t in vocabulary), None)
    if chat and pad is None:
        raise ValueError(
            "the tokenizer has no token to pad with besides end-of-turn: add one (pad_token) to its"
            " tokenizer_config.json"
        )
    tokenizer.pad_token = pad or tokenizer.eos_token
    return tokenizer


def load_model(origin: Origin, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The causal model with its adapter merged in, on the device."""
    return merged(origin, dtype or choose_dtype()[0]).to(choose_device())


def merged(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """The causal model with its adapter merged in, in main memory.

    Merged in float32 and then cast: in bfloat16 small changes of large weights are lost. In main
    memory, for a GPU that holds the model in bfloat16 may be too small for it in float32.
    """
    if not origin.adapter:
        return _load_causal(origin, dtype)
    stacked = with_adapter(_load_causal(origin, torch.float32), origin.adapter)
    whole: PreTrainedModel = stacked.merge_and_unload()
    return cast(whole, dtype)


def with_adapter(model: PreTrainedModel, adapter: str) -> PeftModel:
    """The model with an adapter on it. Raises ValueError for one that belongs to another model."""
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "not found in the base model" not in str(error):
            raise
        raise ValueError(
            f"the adapter in {adapter} belongs to another model than the one it is put on: name"
            " the run it came from, or the model it was trained on"
        ) from None


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in this dtype; buffers (rotary frequencies) keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def load_base(
    origin: Origin, dtype: torch.dtype, quantisation: BitsAndBytesConfig | None = None
) -> PreTrainedModel:
    """The causal model without its adapter, on the device; its linear layers maybe quantised."""
    if quantisation is None:
        return _load_causal(origin, dtype).to(choose_device())
    place = {"": choose_device()}
    return _load_causal(origin, dtype, quantization_config=quantisation, device_map=place)


def _load_causal(origin: Origin, dtype: torch.dtype, **options: object) -> PreTrainedModel:
    load = AutoModelForCausalLM.from_pretrained
    model: PreTrainedModel = _load_named(load, origin.model, dtype=dtype, **options)
    model.config.use_cache = True
    return model


def load_classifier(folder: Path) -> PreTrainedModel:
    """A reward model that was saved whole, in float32, on the device."""
    load = AutoModelForSequenceClassification.from_pretrained
    model: PreTrainedModel = _load_named(load, str(folder), dtype=torch.float32)
    return model.to(choose_device())


def _load_named(from_pretrained: Callable[..., T], name: str, **options: object) -> T:
    disable_progress_bar()
    location = str(built_in_folder()) if name == BUILT_IN_MODEL else name
    try:
        return from_pretrained(location, **options)
    except (OSError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ValueError(
            f"model {name!r} cannot be loaded ({why}): use {BUILT_IN_MODEL}, a local"
            " model folder, or a Hugging Face id (its hub must be reachable the first time)"
        ) from None
