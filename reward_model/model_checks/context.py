"""How many tokens a model reads at once, and which texts fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from data.schema import Prompt
from reward_model.chat.chat_format import PromptRefused

NAMES = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length",
    "seq_length",
)  # fmt: skip
"""What configurations call it."""
ANY_LENGTH = 10**9
"""From here on a tokenizer's model_max_length says nothing: transformers writes 1e30."""


def context_length(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
) -> int | None:
    """The most tokens that the model reads; None where nothing says.

    Of a model with several parts the text part's. A sliding window bounds how far a layer looks
    back and not how long a text may be. RoPE scaled by `yarn` or `dynamic` reads `factor` times the
    length it was trained on (Peng et al. 2023, arXiv:2309.00071); other kinds state the length that
    they reach. The tokenizer's own limit counts where the configuration has none.
    """
    text = config.get_text_config()
    found = [int(n) for name in NAMES if isinstance(n := getattr(text, name, None), int) and n > 0]
    if found:
        rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
        # one for all layers, or one for each kind of them
        ropes = [value for value in rope.values() if isinstance(value, Mapping)] or [rope]
        return max(found[0], *(_stretched(one, found[0]) for one in ropes), 0)
    stated = getattr(tokenizer, "model_max_length", None) or ANY_LENGTH
    return int(stated) if 0 < stated < ANY_LENGTH else None


def _stretched(rope: Mapping[str, object], length: int) -> int:
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if kind not in ("yarn", "dynamic") or not isinstance(factor, int | float):
        return 0
    trained = rope.get("original_max_position_embeddings")
    return int((trained if isinstance(trained, int) else length) * factor)


def require_length(tokens: int, longest: int | None, name: str) -> None:
    """ValueError where texts of so many tokens are longer than the model reads."""
    if longest is not None and tokens > longest:
        raise ValueError(
            f"max tokens {tokens} not allowed: {name} reads at most {longest}; use that or less"
        )


@dataclass(frozen=True)
class Fitting:
    """Prompts that can be asked, and how many cannot."""

    prompts: list[Prompt]
    counted: dict[str, int]
    """How many were left out, by reason; empty where none was."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """Of the prompts that can be asked."""
        return frozenset(prompt.id for prompt in self.prompts)

    @property
    def sentence(self) -> str:
        """The same in words; empty where none was left out."""
        said = "; ".join(f"{n} {reason}" for reason, n in self.counted.items())
        return f"Left out: {said}." if said else ""


def prompts_that_fit(
    prompts: Sequence[Prompt],
    tokens_of: Callable[[Prompt], Sequence[int]],
    longest: int | None,
    new_tokens: int,
    name: str,
    or_none: bool = False,
) -> Fitting:
    """Those that leave room for `new_tokens` within what the model reads, in their order.

    Those whose turns the chat template refuses are left out too. tokens_of: a prompt's token ids up
    to where the model's turn begins. Raises ValueError where no prompt could fit, and where none
    does unless that may be (`or_none`).
    """
    room = math.inf if longest is None else longest - new_tokens
    if room < 1:
        raise ValueError(
            f"max new tokens {new_tokens} not allowed: {name} reads at most {longest} tokens,"
            " prompt and answer together; use a lower --sampling.max-new-tokens"
        )
    fit: list[Prompt] = []
    refused: list[PromptRefused] = []
    for prompt in prompts:
        try:
            if len(tokens_of(prompt)) <= room:
                fit.append(prompt)
        except PromptRefused as error:
            refused.append(error)
    too_long = len(prompts) - len(fit) - len(refused)
    why = f"{name} reads {longest}, less {new_tokens} of an answer"
    reason = f"prompts longer than {room} tokens ({why})"
    if not fit and not or_none:
        if too_long:
            raise ValueError(
                f"all {too_long} are {reason}: use shorter prompts, a lower"
                " --sampling.max-new-tokens, or a model that reads more"
            )
        if refused:
            raise refused[0]
    counts = {reason: too_long}
    if refused:
        counts[f"prompts that {name}'s chat template refuses ({refused[0].why})"] = len(refused)
    return Fitting(fit, {reason: n for reason, n in counts.items() if n})


def prompts_taken(
    prompts: Iterable[Prompt], tokens_of: Callable[[Prompt], Sequence[int]], name: str
) -> Fitting:
    """Those, each once, whose turns the chat template takes, however long they are.

    Raises ValueError where it takes none.
    """
    each = {prompt.id: prompt for prompt in prompts}
    return prompts_that_fit([*each.values()], tokens_of, None, 0, name)


def require_known(
    texts: Iterable[Sequence[int]], rows: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    """ValueError where a text holds a token for which the model's embedding has no row."""
    largest = max((max(ids, default=0) for ids in texts), default=0)
    if largest >= rows:
        raise ValueError(
            f"a text holds {tokenizer.convert_ids_to_tokens(largest)!r} (token {largest}), and the"
            f" model has rows for tokens 0 to {rows - 1} only: take the tokenizer that belongs to"
            " the model, or resize its embedding"
        )
