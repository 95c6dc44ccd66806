"""Completions that a careless route gets wrong, for the parity certificate."""

from __future__ import annotations

from contextlib import suppress

from transformers import PreTrainedTokenizerBase

from data.schema import Completion, make_prompt
from reward_model.language_model.render import render_prompt


def hard_probes(tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> list[Completion]:
    """Completions that a careless route gets wrong."""
    plain = make_prompt("What is a good answer?")
    chat = make_prompt(
        [
            {"role": "user", "content": "Is it raining?"},
            {"role": "assistant", "content": "\nYes, it is."},
            {"role": "user", "content": "And tomorrow?  "},
        ]
    )
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
    marks = " ".join(tokenizer.chat_control_tokens or tokenizer.all_special_tokens)
    long = "and so it went on, " * (max_tokens or 512)
    probes = [
        Completion(plain, "A short one.", True),
        Completion(plain, "A short one.", False),
        Completion(plain, "", True),
        Completion(plain, "", False),
        Completion(plain, "\n\n  A line break first, blanks last.  \n", True),
        Completion(plain, "Zażółć 你好 🙂‍↔️ \u202eright to left\u202c, e\u0301", True),
        Completion(plain, f"The marks {marks} stand in this text.", True),
        Completion(plain, f"It ends with padding {tokenizer.pad_token}", False),
        Completion(plain, long, True),
        Completion(make_prompt(long), "No.", True),
        Completion(make_prompt(f"What are {marks} for?"), "For turns.", True),
        Completion(chat, " Dry.", True),
    ]
    with suppress(ValueError):  # the chat template may take no system's turn
        render_prompt(tokenizer, make_prompt(told))
        probes.append(Completion(make_prompt(told), "A model.", True))
    return probes
