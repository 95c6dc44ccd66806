"""Conversations spelled as one text: "\\n\\nHuman: ...\\n\\nAssistant: ..." and the like.

Anthropic's HH data (Bai et al. 2022, arXiv:2204.05862) begins each turn with a blank line; there,
names at the beginning of a mere line are text. Others begin turns on a line of their own.
"""

from __future__ import annotations

import re

from data.exchange.validation import JsonObject, show

_BLANK_LINE = re.compile(r"\n\n(Human|Assistant):")
_ANY_LINE = re.compile(
    r"(?:\A|\n)[ \t]*(?:#+ ?|\*\*)?(Human|User|Instruction|Assistant|AI|Bot|Response)[ \t]*:"
    r"(?:\*\*)?",
    re.IGNORECASE,
)
_ASKING = ("human", "user", "instruction")
_CONTROL = re.compile(
    r"<\|(?:im_start|start_header_id|user|assistant|system|end)\|>|<start_of_turn>|\[INST\]"
)
"""How chat templates of models mark turns."""


def read_transcript(text: str) -> list[JsonObject] | None:
    """The turns of a transcript, blanks around them taken off; None for any other text.

    Both sides must speak. What stands before the first turn is the system's.
    """
    marks = _marks(text)
    if {_role(mark) for mark in marks} != {"user", "assistant"}:
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    turns: list[JsonObject] = [
        {"role": _role(mark), "content": text[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
    before = text[: marks[0].start()].strip()
    return [{"role": "system", "content": before}, *turns] if before else turns


def read_open_transcript(text: str) -> list[JsonObject] | None:
    """The turns of a transcript that ends where the assistant is to speak; None for other texts."""
    turns = read_transcript(text)
    if not turns or turns[-1] != {"role": "assistant", "content": ""}:
        return None
    return turns[:-1]


def check_one_turn(column: str, text: str, in_transcript: bool) -> None:
    """Refuse an answer that holds turns of its own. `in_transcript`: its prompt is a transcript."""
    marks = _marks(text) if in_transcript else list(_BLANK_LINE.finditer(text))
    if any(_role(mark) == "user" for mark in marks):
        raise ValueError(
            f"{column} holds turns of both sides ({show(marks[0].group().strip())} ...): it must "
            "be one turn of the assistant; where it is one answer, write the exchange format"
        )


def check_no_template(chosen: str, rejected: str) -> None:
    """Refuse conversations in a model's chat template: where the prompt ends is not said there."""
    found = _CONTROL.search(chosen) and _CONTROL.search(rejected)
    if found:
        raise ValueError(
            f"chosen and rejected are spelled in a model's chat template ({show(found.group())}): "
            "write them as lists of {role, content}, or name what was asked in a prompt"
        )


def _marks(text: str) -> list[re.Match[str]]:
    """Where turns begin."""
    marks = list(_BLANK_LINE.finditer(text))
    if marks or not _ANY_LINE.match(text.lstrip()):
        return marks
    return list(_ANY_LINE.finditer(text))


def _role(mark: re.Match[str]) -> str:
    return "user" if mark[1].lower() in _ASKING else "assistant"
