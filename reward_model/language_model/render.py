"""The one function from (prompt, completion, finished?) to token ids.

Reward-model training, evaluation, scoring and GRPO's reward all call it, so the text a reward model
is trained on is the text it is asked about. It is what the model's own chat template writes for the
whole conversation: an exported reward model is called with that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from data.schema import Prompt
from reward_model.chat.chat_format import PromptRefused, chat_format
from reward_model.chat.template_check import ASKED, Turns, shared_start


@dataclass(frozen=True)
class Rendered:
    """Token ids of a prompt and of one completion of it."""

    prompt: list[int]
    """Those that all completions of the prompt share."""
    completion: list[int]
    """With what the template writes behind it, only where the completion ended by itself."""
    truncated: bool = False
    """Whether something was cut to fit."""
    behind: int = field(default=0, compare=False)
    """How many ids of the completion follow its end-of-turn, e.g. the template's line break: no
    model generates them."""
    beside: Rendered | None = field(default=None, compare=False)
    """The same prompt and completion as a second model reads them, where there is one."""

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.completion

    def with_second(self, beside: Rendered) -> Rendered:
        """The same text, as a second model reads it too."""
        cut = self.truncated or beside.truncated
        return replace(self, beside=beside, truncated=cut)


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of the prompt up to where the model's turn begins.

    Raises PromptRefused where the chat template refuses its turns, ValueError where it loses the
    text of one.
    """
    return chat_format(tokenizer).prompt_ids(turns_of(prompt))


def render(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    completion: str,
    finished: bool,
    max_tokens: int | None = None,
    apart: bool = False,
) -> Rendered:
    """Token ids as the reward model reads them.

    End-of-turn, and what else the template writes behind a turn, follow the completion only if it
    ended by itself: one cut at the token limit must look cut. Beyond `max_tokens` the prompt loses
    its beginning; a completion longer than that by itself loses its end, and with it the
    end-of-turn. `apart`: as `render_apart` does.
    """
    pad = tokenizer.pad_token_id
    if apart:
        return cut_to_fit(*render_apart(tokenizer, prompt, completion, finished), pad, max_tokens)
    form, turns = chat_format(tokenizer), turns_of(prompt)
    start = form.prompt_ids(turns)
    whole = [*turns, {"role": "assistant", "content": completion}]
    ids = form.conversation_ids(whole, finished)
    seam = shared_start(start, ids)
    text = cut_to_fit(ids[:seam], ids[seam:], pad, max_tokens)
    return replace(text, behind=form.behind_end(text.completion)) if finished else text


def turns_of(prompt: Prompt) -> Turns:
    """A prompt's messages as chat templates take them."""
    return [message.as_dict() for message in prompt.messages]


def render_apart(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, completion: str, finished: bool
) -> tuple[list[int], list[int]]:
    """Ids of prompt and completion, as reward models read them before the template wrote all.

    The completion is tokenised by itself and ends with the tokenizer's end of sequence. A model is
    asked in the way in which it was trained.
    """
    turns = turns_of(prompt)
    try:
        start: list[int] = tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except TemplateError as error:
        raise PromptRefused(turns, error) from None
    ids: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return start, [*ids, tokenizer.eos_token_id] if finished else ids


def cut_to_fit(
    prompt_ids: list[int], completion_ids: list[int], pad_token_id: int, max_tokens: int | None
) -> Rendered:
    """These ids, at most `max_tokens` of them, cut as `render` says.

    Padding at the completion's end goes too, where a text spells that token out: whatever loads a
    classifier reads it at the last token that is no padding.
    """
    truncated = max_tokens is not None and len(prompt_ids) + len(completion_ids) > max_tokens
    if max_tokens is not None and truncated:
        completion_ids = completion_ids[: max_tokens - 1]
        prompt_ids = prompt_ids[-(max_tokens - len(completion_ids)) :]
    while completion_ids and completion_ids[-1] == pad_token_id:
        completion_ids = completion_ids[:-1]
    return Rendered(prompt_ids, completion_ids, truncated)


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the vocabulary and the chat template: equal where `render` gives equal ids."""
    facts = [sorted(tokenizer.get_vocab().items()), tokenizer.chat_template]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def require_thinking(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ValueError where the chat template leaves a turn's thinking out, so that a setting
    which is to keep it would do nothing."""
    answered = {"role": "assistant", "content": "<think>\nunsaid\n</think>\n\nsaid"}
    if "unsaid" not in chat_format(tokenizer).text([ASKED, answered]):
        raise ValueError(
            "the model's chat template leaves the thinking of a finished turn out: use --thinking"
            " answer"
        )
