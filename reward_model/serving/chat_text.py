"""Texts and token ids in a model's chat template, as clients of other servers send them.

They are scored from their own ids; nothing is parsed back into messages, so a control token that
they spell out is one. A text is what the template writes, tokenised whole, as in training. Where
it stops at the end of a turn, as sampled tokens do, what the template writes behind is added. A
reasoning model's thinking in front of an answer is left out of texts, unless the model was trained
on it; ids are read whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from data.schema import Prompt, make_prompt
from data.texts.thinking import Parts, Thinking, opened_again, opening_of, part
from reward_model.chat.chat_format import chat_format
from reward_model.chat.template_check import shared_start
from reward_model.language_model.render import Rendered, cut_to_fit, render
from reward_model.scoring.scorer import Scorer
from reward_model.serving.apart_text import ApartText, split_chat


def chat_text(scorer: Scorer) -> ChatText | ApartText:
    """What reads texts and ids for this scorer, as it was trained."""
    if scorer.apart:
        return ApartText(scorer.tokenizer, scorer.max_tokens)
    return ChatText(scorer.tokenizer, scorer.max_tokens, scorer.thinking)


class ChatText:
    """Reads texts in one tokenizer's chat template."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int | None,
        thinking: Thinking = "answer",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.thinking = thinking
        self.format = chat_format(tokenizer)
        self.opening = self.format.facts.opening
        """What begins the model's turn."""

    def read_chat(self, messages: Sequence[object], finished: bool) -> Rendered:
        """A conversation whose last turn, the assistant's, is the completion.

        Raises ValueError where it ends otherwise.
        """
        prompt, completion = split_chat(messages)
        return self._render(prompt, completion, finished)

    def read_text(self, text: str, prompt: str = "") -> Rendered:
        """A prompt and its completion as one text, end-of-turn included where it ended.

        prompt: the text's first part, in the chat template; or bare, then it is put into it.
        Without, the prompt ends with the last opening of a turn. Raises ValueError where the text
        has none.
        """
        pad = str(self.tokenizer.pad_token)
        while not (prompt and text.startswith(prompt)) and text.startswith(pad):
            text = text.removeprefix(pad)
        given = bool(prompt) and text.startswith(prompt)
        if given and self.opening not in prompt:
            bare = text.removeprefix(prompt)
            while bare.endswith(pad):
                bare = bare.removesuffix(pad)
            said = bare.removesuffix(self.format.facts.closing).removesuffix(self.format.end_text)
            return self._render(make_prompt(prompt), said, finished=said != bare)
        if not given:
            before, opening, _ = text.rpartition(self.opening)
            if self.opening and not opening:
                raise ValueError(
                    f"the text {text[:40]!r} is not in this model's chat template: put the prompt"
                    " into it, with its generation prompt, and the completion behind it; or send"
                    " messages"
                )
            prompt = before + opening
        completion, tag = text.removeprefix(prompt), opening_of(prompt)
        if found := self._thinking_of(opened_again(completion) if tag else completion):
            prompt = prompt.rpartition(tag)[0] if tag else prompt
            text = prompt + found.answer
        ids = self._tokenize(self.format.with_blank_before_end(text))
        return self._fit(ids, shared_start(self._tokenize(prompt), ids))

    def _render(self, prompt: Prompt, completion: str, finished: bool) -> Rendered:
        if found := self._thinking_of(completion):
            completion, finished = found.answer, finished and not found.open
        return render(self.tokenizer, prompt, completion, finished, self.max_tokens)

    def _thinking_of(self, completion: str) -> Parts | None:
        """A completion taken apart, where it holds thinking that is not to be read."""
        found = part(completion) if self.thinking == "answer" else None
        return found if found and found.answer != completion else None

    def read_ids(self, ids: Sequence[int]) -> Rendered:
        """Token ids as they stand, without padding around them; ValueError for unknown ones."""
        size = len(self.tokenizer)
        wrong = [i for i in ids if not 0 <= i < size]
        if wrong:
            raise ValueError(f"token id {wrong[0]} unknown: use 0 to {size - 1}")
        first = next((place for place, i in enumerate(ids) if i != self._pad), None)
        if first is None:
            raise ValueError("no token but padding: send a prompt and its completion")
        kept = list(ids[first:])
        return self._fit(kept, _end_of_last(self._tokenize(self.opening), kept))

    def _fit(self, ids: list[int], seam: int) -> Rendered:
        """Prompt and completion, which meet at `seam`, the end of a turn whole, cut to fit."""
        while ids and ids[-1] == self._pad:
            ids = ids[:-1]
        if len(ids) != self.max_tokens:  # else it may have been cut to fit, in its end
            ids = self.format.with_whole_end(ids)
        return cut_to_fit(ids[:seam], ids[seam:], self._pad, self.max_tokens)

    @property
    def _pad(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _end_of_last(opening: list[int], ids: list[int]) -> int:
    """Where the model's turn begins: behind the last place of its opening's ids.

    The last of them may have grown together with the completion's first: then those before count.
    """
    for size in range(len(opening), 0, -1):
        for end in range(len(ids), size - 1, -1):
            if ids[end - size : end] == opening[:size]:
                return end
    return len(ids)
