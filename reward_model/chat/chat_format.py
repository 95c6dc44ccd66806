"""Conversations to token ids, exactly as a model's own chat template writes them.

What everybody gets who calls `apply_chat_template` on the whole conversation, but for one thing: a
control token that a turn's text spells out, e.g. "<|im_end|>", stays text. So no text can end a
turn or forge another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from reward_model.chat.template_check import (
    ANSWERED,
    ASKED,
    TemplateFacts,
    TemplateRefused,
    TextLost,
    Turns,
    examine,
    require_texts,
)

MARK = re.compile(r"[<\[{(|｜].*[>\]})|｜]", re.DOTALL)
"""How control tokens look."""
HTML = re.compile(
    r"</?(table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|s|sub|sup|code)>"
)
"""Words of Gemma's vocabulary that look so and are none."""
AT_FAULT = (TemplateError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What a template raises, on purpose or for turns of another shape than it expects."""
KEPT_PROMPTS = 256


def chat_format(tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    """The format of a tokenizer's chat template, examined once.

    Raises ValueError for a template that loses text, has no generation prompt, or takes no
    conversations.
    """
    return _formats(tokenizer, str(tokenizer.chat_template), len(tokenizer))


@lru_cache(maxsize=8)
def _formats(tokenizer: PreTrainedTokenizerBase, template: str, tokens: int) -> ChatFormat:
    return ChatFormat(tokenizer)


class ChatFormat:
    """One tokenizer's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        controls = control_tokens(tokenizer)
        tokenizer.chat_control_tokens = controls  # transformers keeps it beside the template
        longest_first = sorted(controls, key=len, reverse=True)
        self.controls = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.in_parts = False
        """Whether contents are lists of parts, not texts."""
        self.facts = self._examine()
        self.ends_turn = bool(self.controls.search(self.facts.closing))
        """Whether the last turn of a conversation has an end, e.g. not in GLM's template, where
        the next turn's beginning is the end of one."""
        self.end = self._find_end()
        """The token that ends the assistant's turn."""
        ids = self._ids([ASKED, ANSWERED])
        self.behind = ids[len(ids) - self.behind_end(ids) :]
        """What the template writes behind that where a conversation ends, e.g. a line break."""
        self._prompts = lru_cache(maxsize=KEPT_PROMPTS)(self._read_prompt)

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that a turn's text never gives."""
        return frozenset(self._id_of(token) for token in self.tokenizer.chat_control_tokens)

    @property
    def end_text(self) -> str:
        """How the token that ends a turn is written."""
        return str(self.tokenizer.convert_ids_to_tokens(self.end))

    @property
    def note(self) -> str:
        """What a person should know of this template before it is trained on; mostly empty."""
        if not self.facts.prefilled:
            return ""
        return (
            f"the chat template begins every sampled answer with {self.facts.prefilled!r}; finished"
            " turns, demonstrations among them, are written and scored without it"
        )

    def prompt_ids(self, turns: Turns) -> list[int]:
        """Token ids up to where the model's turn begins.

        Raises ValueError in words where the template refuses the turns or loses one's text.
        """
        return list(self._prompts(tuple((t["role"], t["content"]) for t in turns)))

    def conversation_ids(self, turns: Turns, finished: bool) -> list[int]:
        """Token ids of turns that end with the assistant's; unfinished, up to its text's end."""
        if finished:
            return self._ids(turns)
        if not turns[-1]["content"].strip():  # else transformers strips the turn's beginning too
            return self.prompt_ids(turns[:-1])
        try:
            return self._ids(turns, continue_final_message=True)
        except TemplateRefused:
            raise
        except ValueError:  # the template writes another text than the one to be cut behind
            ids = self._ids(turns)
            return ids[: len(ids) - self.behind_end(ids) - 1] if self.ends_turn else ids

    def behind_end(self, ids: Sequence[int]) -> int:
        """How many ids of a conversation follow the end of its last turn, e.g. a line break."""
        if not self.ends_turn or self.end not in ids:
            return 0
        return list(reversed(ids)).index(self.end)

    def with_whole_end(self, ids: list[int]) -> list[int]:
        """Ids that stop at the end of a turn, as sampled ones do, with what follows it."""
        whole = [self.end, *self.behind]
        for size in range(1, len(whole)) if self.ends_turn else ():
            if ids[-size:] == whole[:size]:
                return [*ids, *whole[size:]]
        return ids

    def ends(self, declared: Sequence[int]) -> list[int]:
        """Tokens that end a sampled answer: the template's, and what model and tokenizer declare.

        declared: the model's `generation_config.eos_token_id`.
        """
        eos = self.tokenizer.eos_token_id
        known = [] if eos is None else [int(eos)]
        return list(dict.fromkeys([self.end, *declared, *known]))

    def text(self, turns: Turns, opened: bool = False, unfinished: bool = False) -> str:
        """What the template writes.

        opened: with the generation prompt at the end; unfinished: up to the last text's end.
        """
        how = {"add_generation_prompt": opened, "continue_final_message": unfinished}
        return str(self._apply(turns, tokenize=False, **how))

    def with_blank_before_end(self, text: str) -> str:
        """A text as sampled tokens read, with what the template writes between it and its end.

        Llama 2's writes a blank there.
        """
        blank, end, _ = self.facts.closing.partition(self.end_text)
        if not (blank and end and text.endswith(end)) or text.endswith(blank + end):
            return text
        return text.removesuffix(end) + blank + end

    def up_to_end(self, text: str) -> str:
        """A conversation's text without what the template writes behind the end of its last turn.

        That is what the tokens that a model samples read.
        """
        behind = self.facts.closing.partition(self.end_text)[2] if self.ends_turn else ""
        return text.removesuffix(behind)

    def shaped(self, turns: Turns) -> list[dict[str, Any]]:
        """The turns as the template reads contents: texts, or lists of parts."""
        if not self.in_parts:
            return [dict(turn) for turn in turns]
        return [t | {"content": [{"type": "text", "text": t["content"]}]} for t in turns]

    def _read_prompt(self, turns: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            prompt, whole = self.text(messages, opened=True), self.text([*messages, ANSWERED])
        except TemplateRefused as error:
            raise PromptRefused(messages, error) from None
        # the templates of models that think leave an earlier answer's thinking out
        kept = [m for m in messages if m["role"] != "assistant" or "</think>" not in m["content"]]
        require_texts(prompt, kept)
        require_texts(whole, [*kept, ANSWERED])
        return tuple(self._ids(messages, add_generation_prompt=True))

    def _ids(self, turns: Turns, **options: bool) -> list[int]:
        if not any(self.controls.search(turn["content"]) for turn in turns):
            return list(self._apply(turns, tokenize=True, **options))
        try:
            return list(self._apply(turns, tokenize=True, sanitize_control_tokens=True, **options))
        except TemplateRefused:
            raise
        except ValueError:
            # a tokenizer that makes the token of plain text too: a blank keeps it apart
            apart = [turn | {"content": self._spaced(turn["content"])} for turn in turns]
            return list(self._apply(apart, tokenize=True, **options))

    def _spaced(self, content: str) -> str:
        return self.controls.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)

    def _apply(self, turns: Turns, **options: bool) -> Any:
        """`apply_chat_template`, whose errors are Refused."""
        try:
            return self.tokenizer.apply_chat_template(
                self.shaped(turns), return_dict=False, **options
            )
        except AT_FAULT as error:
            raise TemplateRefused(" ".join(str(error).split()) or type(error).__name__) from None

    def _examine(self) -> TemplateFacts:
        try:
            return examine(self.text, self.controls)
        except (TextLost, TemplateRefused) as error:
            first = error
        self.in_parts = True
        try:
            facts, shown = examine(self.text, self.controls), self.text([ASKED])
        except ValueError:
            facts, shown = None, ""
        if facts is not None and "'text'" not in shown:  # else it prints the list itself
            return facts
        self.in_parts = False
        if isinstance(first, TextLost):
            raise first
        raise ValueError(
            f"the model's chat template refuses a conversation of user and assistant ({first}):"
            " use a model tuned for chat, or mend chat_template in its tokenizer's files"
        )

    def _find_end(self) -> int:
        for written in (self.facts.closing, self.facts.next_turn):
            if found := self.controls.search(written):
                return self._id_of(found[0])
        if self.tokenizer.eos_token_id is None:
            raise ValueError(
                "neither the chat template nor the tokenizer says what ends a turn: name its"
                " eos_token in tokenizer_config.json"
            )
        return int(self.tokenizer.eos_token_id)

    def _id_of(self, token: str) -> int:
        return int(self.tokenizer.added_tokens_encoder[token])


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Added tokens that are no words: flagged special, named by the template, or like "<...>".

    More than transformers takes for them, which leaves out e.g. "<tool_call>" where the template
    does not name it. Blanks and added words are texts like any other.
    """
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    named = set(tokenizer.chat_control_tokens or ())
    return [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special
        or token.content in named
        or (token.content in template and not re.fullmatch(r"[\w\s]+", token.content))
        or (MARK.fullmatch(token.content.strip()) and not HTML.fullmatch(token.content))
    ]


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text by itself, in which no control token is read, flagged special or not."""
    tokenizer.chat_control_tokens = control_tokens(tokenizer)
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        chat_template="{{ messages[0]['content'] }}",
        sanitize_control_tokens=True,
        return_dict=False,
    )
    return ids


class PromptRefused(ValueError):
    """A chat template takes no such turns as a prompt's."""

    def __init__(self, turns: Turns, error: Exception) -> None:
        asked, roles = turns[-1]["content"].strip(), ", ".join(turn["role"] for turn in turns)
        self.why = f"{roles}: {error}"
        super().__init__(
            f"the model's chat template refuses the prompt {asked[:40]!r} with turns {roles}"
            f" ({error}): change the prompt's turns, or use a model whose template takes them"
        )
