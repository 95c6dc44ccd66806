"""A model's name -> tokenizer and weights, on the right device and in the right precision.

A name is `smollm2-135m` (built in), a run's folder, any local model folder, or a Hugging Face id.
A run's folder holds `origin.json`, which names the model it was trained from, and beside it either
a LoRA side-car (`adapter/`) that sits on that model, or whole weights (`model/`) in its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from reward_model.language_model.device import choose_device, choose_precision
from reward_model.language_model.origin import Origin


def load_tokenizer(origin: Origin, chat: bool = True) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a chat template and a pad token distinct from end-of-turn.

    Raises ValueError for a model that has neither; not where `chat` is False, for raw text needs
    neither of them.
    """
    tokenizer = _from_pretrained(AutoTokenizer, origin.model)
    if chat and not tokenizer.chat_template:
        raise ValueError(
            f"model {origin.model!r} has no chat template: use one tuned for chat, or add"
            " chat_template to its tokenizer_config.json"
        )
    pad = _distinct_pad(tokenizer)
    if chat and pad is None:
        raise ValueError(
            "the tokenizer has no token to pad with besides end-of-turn: add one (pad_token) to its"
            " tokenizer_config.json"
        )
    tokenizer.pad_token = pad or tokenizer.eos_token
    return tokenizer


def load_model(origin: Origin, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The causal model with its side-car merged in (in float32, then cast), on the device."""
    return merged(origin, dtype or choose_precision()[0]).to(choose_device())


def merged(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """The same in main memory: a GPU that holds the model need not hold it in float32."""
    if not origin.adapter:
        return _base(origin, dtype)
    stacked = with_side_car(_base(origin, torch.float32), origin.adapter)
    whole: PreTrainedModel = stacked.merge_and_unload()
    return cast(whole, dtype)


def with_side_car(model: PreTrainedModel, adapter: str) -> PeftModel:
    """The model under a side-car. Raises ValueError for one that belongs to another model."""
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "not found in the base model" not in str(error):
            raise
        raise ValueError(
            f"the side-car in {adapter} belongs to another model than the one it is put on: name"
            " the run it came from, or the model it was trained on"
        ) from None


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in this precision; buffers (rotary frequencies) keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def load_base(
    origin: Origin, dtype: torch.dtype, quantisation: BitsAndBytesConfig | None = None
) -> PreTrainedModel:
    """The causal model without its side-car, on the device; its linear layers maybe quantised."""
    if quantisation is None:
        return _base(origin, dtype).to(choose_device())
    place = {"": choose_device()}
    return _base(origin, dtype, quantization_config=quantisation, device_map=place)


def _base(origin: Origin, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    loader = AutoModelForCausalLM
    model: PreTrainedModel = _from_pretrained(loader, origin.model, dtype=dtype, **options)
    model.config.use_cache = True
    return model


def load_classifier(folder: Path) -> PreTrainedModel:
    """A reward model that was saved whole, in float32, on the device."""
    loader = AutoModelForSequenceClassification
    model: PreTrainedModel = _from_pretrained(loader, str(folder), dtype=torch.float32)
    return model.to(choose_device())


def _from_pretrained(loader: Any, name: str, **options: Any) -> Any:
    disable_progress_bar()
    location = str(built_in_folder()) if name == BUILT_IN_MODEL else name
    try:
        return loader.from_pretrained(location, **options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {name!r} cannot be loaded ({_first(error)}): use {BUILT_IN_MODEL}, a local"
            " model folder, or a Hugging Face id (its hub must be reachable the first time)"
        ) from None


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _distinct_pad(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A token to pad with that is neither end-of-turn nor anything that texts contain, if any."""
    vocabulary = tokenizer.get_vocab()
    candidates = [
        tokenizer.pad_token,
        "<|endoftext|>",
        "<|finetune_right_pad_id|>",
        "<pad>",
        "[PAD]",
        tokenizer.unk_token,
        *tokenizer.all_special_tokens,
    ]
    for token in candidates:
        if token and token in vocabulary and token not in (tokenizer.eos_token, "<|im_start|>"):
            return str(token)
    return None
