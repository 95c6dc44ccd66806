"""A model's name -> tokenizer and weights, on the right device and in the right dtype.

A name is `smollm2-135m` (built in), a run's folder, any local model folder, or a Hugging Face id.
A run's folder holds `origin.json`, which names the model it was trained from, and beside it either
a LoRA adapter (`adapter/`) for that model, or whole weights (`model/`) in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import (
    disable_progress_bar,
    get_verbosity,
    set_verbosity,
    set_verbosity_error,
)

from reward_model.config import BUILT_IN_MODEL
from reward_model.language_model.adapter import fit_embedding, with_adapter
from reward_model.language_model.built_in import built_in_folder
from reward_model.language_model.device import choose_device, choose_dtype
from reward_model.language_model.origin import Origin
from reward_model.model_checks.adapter_files import (
    embedding_rows,
    parts_embedding,
    tokenizer_files,
)
from reward_model.model_checks.context import context_length
from reward_model.model_checks.padding import choose_pad, earlier_pad, written_tokens
from reward_model.model_checks.refusals import (
    is_encoder,
    refuse_body,
    refuse_kind,
    refuse_unfit,
    unused_weights,
    why_not_loaded,
)
from reward_model.model_checks.saving import mend_generation_config

T = TypeVar("T")


def load_tokenizer(
    origin: Origin, chat: bool = True, policy: bool = True
) -> PreTrainedTokenizerBase:
    """The policy's tokenizer, with a chat template and a token to pad with (see `choose_pad`).

    An adapter's own tokenizer where it brings one along. policy: whether it has to write texts; a
    classifier does not. Raises ValueError for a model that is none, for one that has no template or
    nothing to pad with (not where `chat` is False, for raw text needs neither of them), and for a
    tokenizer that is not the model's.
    """
    config = load_config(origin)
    if policy or not is_classifier(config):
        refuse_kind(origin.model, config)
    tokenizer, name = _read_tokenizer(origin, chat)
    brought = embedding_rows(Path(origin.adapter)) if origin.adapter else None
    rows = brought or int(load_config(origin).get_text_config().vocab_size)
    _check_tokenizer(tokenizer, rows, name)
    chosen = choose_pad(tokenizer, rows)
    if chat and chosen is None:
        raise ValueError(
            f"the tokenizer of {name!r} has no token to pad with: each that it has begins a text,"
            " ends a turn, stands in the chat template or in texts, or has no row in the model's"
            f" embedding ({rows} rows); add one (pad_token) to tokenizer_config.json, and a row for"
            " it to the model (resize_token_embeddings)"
        )
    tokenizer.pad_token = chosen or tokenizer.eos_token
    return tokenizer


def load_scorers_tokenizer(origin: Origin, pad: str | None) -> PreTrainedTokenizerBase:
    """A reward model's tokenizer, with the pad that it noted; None where it noted none."""
    tokenizer, _ = _read_tokenizer(origin, chat=True)
    tokenizer.pad_token = pad or earlier_pad(tokenizer) or tokenizer.eos_token
    return tokenizer


def _read_tokenizer(origin: Origin, chat: bool) -> tuple[PreTrainedTokenizerBase, str]:
    """(tokenizer, where it lies)."""
    own = bool(origin.adapter and tokenizer_files(Path(origin.adapter)))
    name = origin.adapter if own else origin.model
    tokenizer: PreTrainedTokenizerBase = _load_named(AutoTokenizer.from_pretrained, name)
    if chat and not tokenizer.chat_template:
        raise ValueError(
            f"model {name!r} has no chat template: use one tuned for chat, or add"
            " chat_template to its tokenizer_config.json"
        )
    return tokenizer, name


def load_config(origin: Origin) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = _load_named(AutoConfig.from_pretrained, origin.model)
    except ValueError as error:
        if not origin.adapter:
            raise
        raise ValueError(
            f"{error}; the adapter in {origin.adapter} says that it belongs to this model"
            " (base_model_name_or_path in adapter_config.json: set it to where the model is)"
        ) from error
    return config


def longest_text(origin: Origin, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The most tokens that the model reads; None where nothing says."""
    return context_length(load_config(origin), tokenizer)


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """ValueError where texts or the template need tokens that the model has no row for.

    Added tokens that nothing writes may be beyond the embedding: models come with such ones.
    """
    added = set(tokenizer.get_added_vocab().values())
    words = {i for i in tokenizer.get_vocab().values() if i not in added}
    if len(words) < 2:
        raise ValueError(f"the tokenizer of {name!r} has no vocabulary: copy its tokenizer.json")
    needed = words | {i for i in written_tokens(tokenizer) if isinstance(i, int)}
    beyond = sorted(i for i in needed if i >= rows)
    if beyond:
        raise ValueError(
            f"the tokenizer of {name!r} has tokens that the model has no row for, first"
            f" {tokenizer.convert_ids_to_tokens(beyond[0])!r} ({beyond[0]}; the model has 0 to"
            f" {rows - 1}): take the tokenizer that belongs to the model, or resize its embedding"
        )


def load_model(origin: Origin, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The causal model with its adapter merged in, on the device."""
    return merged(origin, dtype or choose_dtype()[0]).to(choose_device())


def is_classifier(config: PreTrainedConfig) -> bool:
    """Whether a model is a network that gives labels, as reward models are."""
    return any(c.endswith("ForSequenceClassification") for c in config.architectures or [])


def load_network(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """What a reward model reads with, on the device: a classifier's network, or `load_model`'s."""
    if not is_classifier(load_config(origin)):
        return load_model(origin, dtype)
    return load_classifier(origin.model, dtype)


def merged(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """The causal model with its adapter merged in, in main memory.

    Merged in float32 and then cast: in bfloat16 small changes of large weights are lost. In main
    memory, for a GPU that holds the model in bfloat16 may be too small for it in float32. A tied
    embedding is untied where the adapter changes one end of it alone.
    """
    if not origin.adapter:
        return _load_causal(origin, dtype)
    base = _load_causal(origin, torch.float32)
    fit_embedding(base, origin.adapter)
    if parts_embedding(Path(origin.adapter)):
        untie(base)
    whole: PreTrainedModel = with_adapter(base, origin.adapter).merge_and_unload()
    return cast(whole, dtype)


def untie(model: PreTrainedModel) -> None:
    """Give the output layer weights of its own, equal to the embedding's."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    if last is None or last.weight is not first.weight:
        return
    last.weight = nn.Parameter(first.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.config.get_text_config().tie_word_embeddings = False


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


def _load_causal(origin: Origin, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    refuse_kind(origin.model, load_config(origin))
    load = AutoModelForCausalLM.from_pretrained
    model = _load_weights(load, origin.model, dtype=dtype, **options)
    model.config.use_cache = True
    mend_generation_config(model, lambda line: _say_once(f"{origin.model}: {line}"))
    return model


def load_classifier(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A reward model that was saved whole, on the device. name: its folder, or a hub id."""
    load = AutoModelForSequenceClassification.from_pretrained
    return _load_weights(load, name, dtype=dtype).to(choose_device())


def load_body(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """A network without its head, on the device: of a causal model, a classifier or an encoder.

    Raises ValueError for one that is neither.
    """
    config = load_config(origin)
    refuse_body(origin.model, config)
    whole = [str(c) for c in config.architectures or []]
    writes = any(c.endswith(("ForCausalLM", "LMHeadModel")) for c in whole)
    if origin.adapter or (writes and not is_encoder(config)):
        body: PreTrainedModel = load_model(origin, dtype).base_model
        return body
    load = AutoModel.from_pretrained
    found = _load_weights(load, origin.model, unread="pooler", dtype=dtype)
    return found.to(choose_device())


def load_body_tokenizer(origin: Origin) -> PreTrainedTokenizerBase:
    """The tokenizer of `load_body`'s network; it may have no chat template, and no token to pad
    with, where none can be told from what texts hold."""
    tokenizer, _ = _read_tokenizer(origin, chat=False)
    rows = getattr(load_config(origin).get_text_config(), "vocab_size", None)
    tokenizer.pad_token = choose_pad(tokenizer, rows)
    return tokenizer


def _load_weights(
    from_pretrained: Callable[..., tuple[PreTrainedModel, dict[str, Any]]],
    name: str,
    unread: str = "",
    **options: Any,
) -> PreTrainedModel:
    """The model, all of whose weights come from its files. Raises ValueError where they do not.

    unread: a part that nothing reads, whose weights may be missing.
    """
    model, found = _load_named(
        from_pretrained,
        name,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused below, with the sizes
        **options,
    )
    if unread:
        there = [k for k in found["missing_keys"] if unread not in k.split(".")]
        found = {**found, "missing_keys": there}
    refuse_unfit(name, found)
    if unused := unused_weights(name, found):
        _say_once(unused)
    return model


def _load_named(from_pretrained: Callable[..., T], name: str, **options: object) -> T:
    """What transformers loads; code of the model's own is never run.

    Raises ValueError, in one line, whatever the library raises.
    """
    disable_progress_bar()
    location = str(built_in_folder()) if name == BUILT_IN_MODEL else name
    try:
        with _quiet():
            return from_pretrained(location, trust_remote_code=False, **options)
    except Exception as error:  # a model's files can fail in any of the libraries that read them
        raise ValueError(why_not_loaded(name, error)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' reports: what matters of them is said in one line."""
    before = get_verbosity()
    set_verbosity_error()
    try:
        yield
    finally:
        set_verbosity(before)


@cache  # a command may load a model several times
def _say_once(line: str) -> None:
    print(line, flush=True)
