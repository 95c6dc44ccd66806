"""The token that fills a batch's shorter texts: one that no text and no template contains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

KNOWN = ("<|endoftext|>", "<|finetune_right_pad_id|>", "<pad>", "[PAD]")
"""Tokens that models are known to pad with, in the order in which they are looked for."""
PADDING = re.compile(r"(?i)pad")
RESERVED = re.compile(r"(?i)reserved|unused|placeholder|extra_id|dummy")
ODD = "\x07 ᚠ 𒀀 🜚 \ue000 \U000f0000"
"""Characters that a vocabulary of words lacks."""
TURNS = (
    [{"role": "user", "content": "x"}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
    [{"role": "system", "content": "z"}, {"role": "user", "content": "x"}],
)


def choose_pad(tokenizer: PreTrainedTokenizerBase, rows: int | None = None) -> str | None:
    """A token to pad with; None where the tokenizer has none.

    It is inside the embedding, no text yields it, and the chat template does not write it: neither
    the beginning of a text nor the end of a turn, else real tokens would count as padding and be
    stripped. rows: of the embedding. The tokenizer's own is taken where it is such a token, then
    tokens made for it, then reserved ones.
    """
    vocabulary, added = tokenizer.get_vocab(), set(tokenizer.get_added_vocab())
    written = written_tokens(tokenizer)

    def can_pad(token: str) -> bool:
        place = vocabulary.get(token)
        if place is None or place in written or (rows is not None and place >= rows):
            return False
        if token in added and token != tokenizer.unk_token:
            return True
        texts = [ODD] if token == tokenizer.unk_token else [token, f" {token}"]
        read = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return all(tokenizer.convert_tokens_to_ids(token) not in ids for ids in read)

    return next((t for t in _candidates(tokenizer) if can_pad(t)), None)


def _candidates(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    yield from (str(t) for t in (tokenizer.pad_token, *KNOWN) if t)
    by_id = sorted(tokenizer.get_added_vocab().items(), key=lambda item: item[1])
    for pattern in (PADDING, RESERVED):
        yield from (token for token, _ in by_id if pattern.search(token))
    yield from (str(t) for t in (tokenizer.unk_token, *tokenizer.all_special_tokens) if t)


def written_tokens(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of what begins and ends texts, and of all that the chat template writes."""
    found = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    found |= set(tokenizer("x")["input_ids"])  # with what the tokenizer puts around a text
    if not tokenizer.chat_template:
        return found
    for turns in TURNS:
        for opened in (False, True):
            with suppress(TemplateError, TypeError, ValueError, LookupError):  # it may refuse turns
                found |= set(
                    tokenizer.apply_chat_template(
                        turns, add_generation_prompt=opened, return_dict=False
                    )
                )
    source = str(tokenizer.chat_template)
    # of tools, images or thinking: written in branches that no plain turn reaches
    return found | {i for token, i in tokenizer.get_added_vocab().items() if token in source}


def earlier_pad(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The pad of reward models that did not note theirs: so they read texts as they always did."""
    taken, vocabulary = (None, "", tokenizer.eos_token, "<|im_start|>"), tokenizer.get_vocab()
    candidates = [tokenizer.pad_token, *KNOWN, tokenizer.unk_token, *tokenizer.all_special_tokens]
    return next((str(t) for t in candidates if t not in taken and t in vocabulary), None)
