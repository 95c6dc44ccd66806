"""A tiny, randomly initialised chat model with a real tokenizer: no network, seconds to train."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = (
    "What is a good answer? A short and friendly one, which says what was asked and no more than\n"
    "that. You would thank a neighbour who explained in two plain sentences how bread rises, why"
    " the sky\n"
    "turns red at dusk, or where to plant the tulips; you would not thank one who talked until"
    " midnight."
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tiny(
    folder: Path, seed: int = 0, vocabulary: int = 340, text: str = TEXT, terse: bool = False
) -> Path:
    """Write a two-layer Llama and its tokenizer, made for `text`, as an ordinary model folder.

    Its answers go on to the limit; those of a terse one end after a few tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=fast.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=fast.convert_tokens_to_ids("<|im_end|>"),
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    if terse:  # every few tokens the end, otherwise a row of zeros, points the right way
        with torch.no_grad():
            rows = model.model.embed_tokens.weight
            rows[config.eos_token_id] = -150 * rows[0]
    model.save_pretrained(folder)
    return folder
