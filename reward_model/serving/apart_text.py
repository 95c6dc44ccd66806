"""Texts and token ids for reward models that were trained before the chat template wrote all.

As `chat_text`, but prompt and completion are tokenised apart and end with the tokenizer's end of
sequence, as such a model was trained; see `render_apart`. The prompt ends with the last generation
prompt, e.g. "<|im_start|>assistant".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from data.schema import Prompt, make_prompt
from reward_model.language_model.render import Rendered, cut_to_fit, render, render_apart


class ApartText:
    """Reads texts in one tokenizer's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        asked, answered = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
        before, whole = (
            str(tokenizer.apply_chat_template(turns, tokenize=False))
            for turns in ([asked], [asked, answered])
        )
        opened = str(
            tokenizer.apply_chat_template([asked], add_generation_prompt=True, tokenize=False)
        )
        self.opening = opened.removeprefix(before) if opened.startswith(before) else ""
        """What begins the model's turn; empty where the template does not say."""
        _, end, closing = whole.rpartition(str(tokenizer.eos_token))
        self.closing = closing if end else ""
        """What the template writes behind an end-of-turn, e.g. a line break. It is not read."""

    def read_chat(self, messages: Sequence[object], finished: bool) -> Rendered:
        """A conversation whose last turn, the assistant's, is the completion.

        Raises ValueError where it ends otherwise.
        """
        prompt, completion = split_chat(messages)
        return render(self.tokenizer, prompt, completion, finished, self.max_tokens, apart=True)

    def read_text(self, text: str, prompt: str = "") -> Rendered:
        """A prompt and its completion as one text, end-of-turn included where it ended.

        prompt: the text's first part, in the chat template; or bare, then it is put into it.
        Without, the prompt ends with the last opening of a turn. Raises ValueError where the
        template has one and the text has none.
        """
        if not (prompt and text.startswith(prompt)):
            text = re.sub(rf"\A(?:{re.escape(str(self.tokenizer.pad_token))})+", "", text)
        if not (prompt and text.startswith(prompt)):
            if not self.opening:
                return self.read_ids(self._tokenize(text))
            before, opening, _ = text.rpartition(self.opening)
            if not opening:
                raise ValueError(
                    f"the text {text[:40]!r} is not in this model's chat template: put the prompt"
                    " into it, with its generation prompt, and the completion behind it; or send"
                    " messages"
                )
            prompt = before + opening
        bare = self.opening not in prompt
        start = self._tokenize(prompt)
        if bare:
            start = render_apart(self.tokenizer, make_prompt(prompt), "", finished=False)[0]
        return self._cut_at_seam([*start, *self._tokenize(text.removeprefix(prompt))], len(start))

    def read_ids(self, ids: Sequence[int]) -> Rendered:
        """Token ids as they stand, without padding around them; ValueError for unknown ones."""
        size, pad = len(self.tokenizer), self.tokenizer.pad_token_id
        wrong = [i for i in ids if not 0 <= i < size]
        if wrong:
            raise ValueError(f"token id {wrong[0]} unknown: use 0 to {size - 1}")
        first = next((place for place, i in enumerate(ids) if i != pad), None)
        if first is None:
            raise ValueError("no token but padding: send a prompt and its completion")
        kept, opening = list(ids[first:]), self._tokenize(self.opening)
        places = range(len(kept), len(opening) - 1, -1)
        ends = (end for end in places if kept[end - len(opening) : end] == opening)
        return self._cut_at_seam(kept, next(ends, len(kept)))

    def _cut_at_seam(self, ids: list[int], seam: int) -> Rendered:
        """Prompt and completion, which meet at `seam`, without anything behind end-of-turn."""
        pad, end, closing = self.tokenizer.pad_token_id, len(ids), self._tokenize(self.closing)
        while end and ids[end - 1] == pad:
            end -= 1
        if ids[end - len(closing) - 1 : end] == [self.tokenizer.eos_token_id, *closing]:
            end -= len(closing)
        return cut_to_fit(ids[: min(seam, end)], ids[seam:end], pad, self.max_tokens)

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def split_chat(messages: Sequence[object]) -> tuple[Prompt, str]:
    """(the prompt, the completion) of a conversation; ValueError where no answer ends it."""
    match messages[-1] if messages else None:
        case {"role": "assistant", "content": str(completion)}:
            return make_prompt(list(messages[:-1])), completion
        case other:
            raise ValueError(
                f"messages end with {str(other)[:60]}: end with the assistant's turn, a text, which"
                " is what is scored"
            )
