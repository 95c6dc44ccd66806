"""Texts and token ids as clients of other servers send them, taken apart into what `render` gives.

Those clients send one text: the prompt in the chat template, and the completion right behind it.
Tokenised as a whole it is other tokens than the reward model was trained on wherever the two grow
together at the seam, it may carry padding, and it may go on behind end-of-turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from data.schema import make_prompt
from reward_model.language_model.render import Rendered, cut_to_fit, render


@dataclass(frozen=True)
class ChatText:
    """How texts in one tokenizer's chat template come apart."""

    tokenizer: PreTrainedTokenizerBase
    max_tokens: int | None
    opening: str
    """What begins the model's turn; empty where the template does not say."""
    closing: str
    """What the template writes behind an end-of-turn, e.g. a line break. It is not read."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> ChatText:
        asked, answered = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
        before = _in_template(tokenizer, [asked], add_generation_prompt=False)
        after = _in_template(tokenizer, [asked], add_generation_prompt=True)
        opening = after.removeprefix(before) if after.startswith(before) else ""
        whole = _in_template(tokenizer, [asked, answered], add_generation_prompt=False)
        _, end, closing = whole.rpartition(str(tokenizer.eos_token))
        return cls(tokenizer, max_tokens, opening, closing if end else "")

    def read_chat(self, messages: Sequence[object], finished: bool) -> Rendered:
        """A conversation whose last turn, the assistant's, is the completion. Or ValueError."""
        match messages[-1] if messages else None:
            case {"role": "assistant", "content": str(completion)}:
                prompt = make_prompt(list(messages[:-1]))
            case other:
                raise ValueError(
                    f"messages end with {str(other)[:60]}: end with the assistant's turn, a text,"
                    " which is what is scored"
                )
        return render(self.tokenizer, prompt, completion, finished, self.max_tokens)

    def read_text(self, text: str, prompt: str = "") -> Rendered:
        """A prompt and its completion as one text.

        `prompt`: its first part, in the chat template (read as it stands) or bare (put into the
        template). Without, the last opening of a turn parts the two. Finished where end-of-turn
        stands at the end. Raises ValueError for a text that has neither.
        """
        pad = str(self.tokenizer.pad_token)
        if not (prompt and text.startswith(prompt)):
            text = re.sub(rf"\A(?:{re.escape(pad)})+", "", text)
        if prompt and text.startswith(prompt):
            first, rest = prompt, text[len(prompt) :]
        else:
            first, rest = self._parted(text)
        rest = _without_end(rest, pad)
        completion, finished = self._ended(rest)
        if self.opening not in first:
            whole = make_prompt(first)
            return render(self.tokenizer, whole, completion, finished, self.max_tokens)
        return self._fit(self._ids(first), [*self._ids(completion), *self._end(finished)])

    def read_ids(self, ids: Sequence[int]) -> Rendered:
        """Token ids as they stand, without padding around them; ValueError for unknown ones."""
        size, pad = len(self.tokenizer), self.tokenizer.pad_token_id
        wrong = [i for i in ids if not 0 <= i < size]
        if wrong:
            raise ValueError(f"token id {wrong[0]} unknown: use 0 to {size - 1}")
        start, end = 0, len(ids)
        while start < end and ids[start] == pad:
            start += 1
        while start < end and ids[end - 1] == pad:
            end -= 1
        if start == end:
            raise ValueError("no token but padding: send a prompt and its completion")
        kept = list(ids[start:end])
        closing = self._ids(self.closing) if self.closing else []
        if closing and kept[-len(closing) - 1 :] == [self.tokenizer.eos_token_id, *closing]:
            kept = kept[: -len(closing)]
        seam = _last_end(kept, self._ids(self.opening)) if self.opening else len(kept)
        return self._fit(kept[:seam], kept[seam:])

    def _parted(self, text: str) -> tuple[str, str]:
        before, opening, completion = text.rpartition(self.opening or "\0")
        if not opening:
            raise ValueError(
                f"the text {text[:40]!r} is not in this model's chat template: put the prompt into"
                " it, with its generation prompt, and the completion behind it; or send messages"
            )
        return before + opening, completion

    def _ended(self, rest: str) -> tuple[str, bool]:
        """(the completion's text, whether end-of-turn followed it)."""
        end = str(self.tokenizer.eos_token)
        if self.closing and rest.endswith(end + self.closing):
            rest = rest.removesuffix(self.closing)
        return rest.removesuffix(end), rest.endswith(end)

    def _end(self, finished: bool) -> list[int]:
        return [self.tokenizer.eos_token_id] if finished else []

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _fit(self, prompt_ids: list[int], completion_ids: list[int]) -> Rendered:
        return cut_to_fit(prompt_ids, completion_ids, self.tokenizer.pad_token_id, self.max_tokens)


def in_template(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> str:
    """A prompt's text in the chat template, up to where the model's turn begins."""
    return _in_template(tokenizer, messages, add_generation_prompt=True)


def _in_template(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    *,
    add_generation_prompt: bool,
) -> str:
    text: str = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=add_generation_prompt, tokenize=False
    )
    return text


def _last_end(ids: Sequence[int], part: Sequence[int]) -> int:
    """Where the last occurrence of `part` in `ids` ends; the end of `ids` where there is none."""
    for end in range(len(ids), len(part) - 1, -1):
        if list(ids[end - len(part) : end]) == list(part):
            return end
    return len(ids)


def _without_end(text: str, pad: str) -> str:
    """The text without the padding at its end, in one pass however much there is."""
    end = len(text)
    while text.endswith(pad, 0, end):
        end -= len(pad)
    return text[:end]
