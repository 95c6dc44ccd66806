"""Five families of chat models in small: their own templates and kinds of tokenizer.

A template is the family's; a tokenizer has its special tokens, the rest is learned from a few
lines. Gemma's marks of turns are not flagged special here, as in its first tokenizers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.support.tiny import TEXT

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content ="
    " '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim"
    " + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}"
    "{%- endif %}{{- bos_token }}{%- for message in loop_messages %}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('After the optional system message, conversation roles must alternate"
    " user/assistant/user/assistant/...') }}{%- endif %}{%- if message['role'] == 'user' %}"
    "{%- if loop.first and system_message is defined %}"
    "{{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}{%- else %}"
    "{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}"
    "{%- endif %}{%- endfor %}"
)
PHI = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}"
    "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """What makes up a family's tokenizer."""

    template: str
    kind: str
    """byte: as GPT-2 and Llama 3; first, gemma, prefix: SentencePiece's, by where a blank is put
    in front: of a text, of none, of every stretch between added tokens."""
    bos: str | None
    eos: str
    pad: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    """Added, and not flagged special."""
    ends: tuple[str, ...] = ()
    """What the generation config names besides eos."""
    end: str = ""
    """What ends a turn."""


FAMILIES = {
    "chatml": Family(
        CHATML, "byte", None, "<|im_end|>", "<|endoftext|>",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), ("<tool_call>", "<|fim_middle|>"),
        end="<|im_end|>",
    ),
    "llama3": Family(
        LLAMA_3, "byte", "<|begin_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|eot_id|>", "<|finetune_right_pad_id|>"),
        ends=("<|end_of_text|>",), end="<|eot_id|>",
    ),
    "gemma": Family(
        GEMMA, "gemma", "<bos>", "<eos>", "<pad>", ("<pad>", "<eos>", "<bos>", "<unk>"),
        ("<start_of_turn>", "<end_of_turn>", "\n\n", "<table>", "<unused7>"),
        ends=("<end_of_turn>",), end="<end_of_turn>",
    ),
    "mistral": Family(
        MISTRAL, "first", "<s>", "</s>", "<pad>",
        ("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[control_8]"), end="</s>",
    ),
    "phi": Family(
        PHI, "prefix", "<s>", "<|endoftext|>", "<|placeholder1|>",
        ("<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>",
         "<|end|>", "<|user|>"),
        ends=("<|end|>",), end="<|end|>",
    ),
}  # fmt: skip


def make_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A family's tokenizer in small."""
    learner = Tokenizer(models.BPE())
    byte = family.kind == "byte"
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte else []
    if byte:
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        learner.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=alphabet, show_progress=False, max_token_length=8
    )
    learner.train_from_iterator([TEXT.replace("\n", " ")], trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary = dict(learned["vocab"])
    if not byte:
        pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
        vocabulary |= {piece: len(vocabulary) + i for i, piece in enumerate(pieces)}
    merges = [tuple(merge) for merge in learned["merges"]]
    if byte:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    else:
        tokenizer = Tokenizer(
            models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
        )
    _shape(tokenizer, family.kind)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in family.special])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in family.plain])
    if family.bos:
        bos = (family.bos, tokenizer.token_to_id(family.bos))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A",
            pair=f"{family.bos} $A {family.bos} $B",
            special_tokens=[bos],
        )
    named = {"eos_token": family.eos, "pad_token": family.pad}
    if family.bos:
        named["bos_token"] = family.bos
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.chat_template = family.template
    return fast


def _shape(tokenizer: Tokenizer, kind: str) -> None:
    if kind == "byte":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif kind == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    if kind != "gemma":
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)


def make_family(folder: Path, name: str, seed: int = 0) -> Path:
    """A family's model in small, as an ordinary model folder."""
    family = FAMILIES[name]
    tokenizer = make_tokenizer(family)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    ends = [tokenizer.convert_tokens_to_ids(t) for t in (family.eos, *family.ends)]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
