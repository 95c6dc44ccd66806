"""What loading a model found, or why it failed, in one line with the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from reward_model.config import BUILT_IN_MODEL

NO_POLICY = re.compile(
    r"For(SequenceClassification|TokenClassification|QuestionAnswering|MaskedLM|PreTraining"
    r"|MultipleChoice|ImageClassification|AudioClassification|Embedding\w*)$"
)
"""Classes of networks that predict no next token."""
GENERIC = (
    f"use {BUILT_IN_MODEL}, a local model folder, or a Hugging Face id (its hub must be reachable"
    " the first time)"
)
REMEDIES: Sequence[tuple[str, str]] = (
    (
        r"custom code|trust_remote_code",
        "it brings its own Python code, which is never run here: use a model whose kind"
        " transformers knows by itself",
    ),
    (
        r"does not recognize this architecture|Unrecognized model in",
        "transformers {transformers} does not know its kind (model_type in config.json): use"
        " another model, or a newer transformers",
    ),
    (
        r"Unrecognized configuration class",
        "it does not write text token by token: use a causal language model",
    ),
    (r"(?i)validation error", "correct that in its config.json"),
    (
        r"Greedy methods|num_return_sequences|cache_implementation|num_beams|watermark",
        "correct that in its generation_config.json",
    ),
    (
        r"tiktoken|sentencepiece|SentencePiece|protobuf",
        "pip install sentencepiece protobuf, or put its tokenizer.json beside tokenizer.model",
    ),
    (
        r"[Ww]eights only load failed|UnpicklingError|PytorchStreamReader|pickle|zip archive",
        "its pickled weights are damaged, or hold more than tensors: get it as model.safetensors"
        " (save_pretrained of transformers writes it)",
    ),
    (
        r"SafetensorError|deserializing header",
        "its weights are damaged or cut short: copy or download it again",
    ),
)
"""What an error says, by pattern, and the remedy."""


def why_not_loaded(name: str, error: Exception) -> str:
    """One line on a model that cannot be loaded: the reason and the remedy."""
    said = f"{type(error).__name__}: {error}"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    joined = " ".join(plain.split()) or type(error).__name__
    first = re.split(r"(?<=\w\w)\. ", joined)[0]
    reason, remedy = first[:160].rstrip(" .:,"), GENERIC
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        reason, remedy = "too little memory", "use a smaller model, or a machine with more"
    elif isinstance(error, ImportError):
        named = re.search(r"`?pip install ([\w\-\[\]]+)|No module named '(\w+)'", str(error))
        package = (named[1] or named[2]) if named else ""
        other = "install what it names, or use another model"
        remedy = f"pip install {package}" if package else other
    else:
        remedy = next((r for words, r in REMEDIES if re.search(words, said)), GENERIC)
    remedy = remedy.format(transformers=version("transformers"))
    return f"model {name!r} cannot be loaded ({reason}): {remedy}"


def refuse_quantised(name: str, config: PreTrainedConfig) -> None:
    """ValueError for weights that cannot be trained further, merged or exported here."""
    text = config.get_text_config()
    quantised = getattr(config, "quantization_config", None) or getattr(
        text, "quantization_config", None
    )
    if quantised is not None:
        asked = quantised if isinstance(quantised, Mapping) else quantised.to_dict()
        method = str(asked.get("quant_method", "unknown"))
        raise ValueError(
            f"model {name!r} holds quantised weights ({method.rpartition('.')[2].lower()}), which"
            " can be neither trained nor merged: use the unquantised model that it was made from"
            " (--tuning qlora rounds that to 4 bits by itself), or serve it and sample with"
            " --endpoint"
        )


def refuse_kind(name: str, config: PreTrainedConfig) -> None:
    """ValueError for a model that is no policy by its configuration.

    One whose weights are quantised cannot be trained; one with an encoder, and a classifier, do not
    continue a text.
    """
    refuse_quantised(name, config)
    classes = [str(c) for c in config.architectures or []]
    wrong = next((c for c in classes if NO_POLICY.search(c)), "")
    if config.is_encoder_decoder or is_encoder(config) or wrong:
        what = wrong or ("an encoder and a decoder" if config.is_encoder_decoder else "an encoder")
        raise ValueError(
            f"model {name!r} is {what} ({config.model_type}), which does not continue a text token"
            " by token: use a causal language model, tuned for chat"
        )


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether each token of a text sees those behind it too."""
    text = config.get_text_config()
    masked = text.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return masked and not getattr(text, "is_decoder", False)


def refuse_body(name: str, config: PreTrainedConfig) -> None:
    """ValueError for a model whose states cannot be read text by text by its configuration."""
    text = config.get_text_config()
    if getattr(config, "quantization_config", None) or getattr(text, "quantization_config", None):
        raise ValueError(
            f"model {name!r} holds quantised weights: use the unquantised model that it was made"
            " from"
        )
    layers, width = (getattr(text, n, None) for n in ("num_hidden_layers", "hidden_size"))
    if config.is_encoder_decoder or not (isinstance(layers, int) and isinstance(width, int)):
        kind = "an encoder and a decoder" if config.is_encoder_decoder else "no text model"
        raise ValueError(
            f"model {name!r} is {kind} ({config.model_type}): use a causal language model, or a"
            " text encoder such as BERT"
        )


def refuse_unfit(name: str, found: Mapping[str, Any]) -> None:
    """ValueError where weights and configuration do not belong together.

    found: what transformers says of loading. Weights that are not in the files, or of another size,
    would be drawn at random.
    """
    wrong, missing = sorted(found["mismatched_keys"]), sorted(found["missing_keys"])
    if wrong:
        key, stored, asked = wrong[0]
        raise ValueError(
            f"model {name!r} has {key} of the size {tuple(stored)}, and {tuple(asked)} by its"
            " config.json: take both from the same model"
        )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"model {name!r} has no weights for {missing[0]}{more}, which would be random: its"
            " config.json belongs to another model, or its files are not whole; copy or download it"
            " again"
        )


def unused_weights(name: str, found: Mapping[str, Any]) -> str:
    """A line on weights in the files that the configuration asks nothing of; empty without any."""
    unused = sorted(found["unexpected_keys"])
    if not unused:
        return ""
    return f"{name}: {len(unused)} weights in its files are not used, first {unused[0]}"
