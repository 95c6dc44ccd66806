"""Conversations spelled as one text: "\\n\\nHuman: ...\\n\\nAssistant: ..." and the like.

Anthropic's HH data (Bai et al. 2022, arXiv:2204.05862) begins each turn with a blank line; there,
names at the beginning of a mere line are text. Others begin turns on a line of their own.
"""

from __future__ import annotations

import re

from data.exchange.validation import show
from data.schema import JsonObject

_BLANK_LINE = re.compile(r"\n\n(Human|Assistant):")
_ANY_LINE = re.compile(
    r"(?:\A|\n)[ \t]*(?:#+ ?|\*\*)?(Human|User|Instruction|Assistant|AI|Bot|Response)[ \t]*:"
    r"(?:\*\*)?",
    re.IGNORECASE,
)
_ASKING = ("human", "user", "instruction")
_THINKS = r"(?!(?:begin|end)_of_thought|(?:start|end)_thinking|channel)"
_MARK = (
    rf"<[|\uff5c]{_THINKS}[^<>|\uff5c\s]{{1,40}}[|\uff5c]?>|<\w{{1,40}}[|\uff5c]>|</?start_of_turn>"
    r"|<end_of_turn>|\[/?INST\]|<<SYS>>"
)
_CONTROL = re.compile(_MARK, re.IGNORECASE)
"""How chat templates of models mark turns: <|im_start|>, <|turn>, <\uff5cUser\uff5c>."""
_BEGINS = re.compile(rf"\s*(?:(?:<s>|<bos>)\s*)?(?:{_MARK})|<bos>", re.IGNORECASE)
_ENDS = re.compile(rf"(?:{_MARK}|</s>|<eos>)\s*$", re.IGNORECASE)
_LABEL = re.compile(r"^[ \t]*(?:[#*]+ ?)?([^\W\d][\w ]{0,20}?)\*{0,2} ?[:\uff1a]", re.MULTILINE)
"""What may be a speaker's name, in any language."""
_NEXT_TURN = re.compile(
    r"<\|im_end\|>\s*<\|im_start\|>|<\|eot_id\|>\s*<\|start_header_id\|>"
    r"|<end_of_turn>\s*<start_of_turn>|<\|end\|>\s*<\|user\|>|<\|end_of_turn\|>\s*\w"
    r"|<[|\uff5c](?:User|START_OF_TURN_TOKEN)[|\uff5c]>|</s>\s*\[INST\]|\n#+ ?(?:human|user):",
    re.IGNORECASE,
)
"""Where, in a chat template or a transcript, the user speaks again."""
_SPEAKER = re.compile(
    r"(?:\A|\s)(?:\*\*|<)?(human|user|customer|assistant|ai|bot|agent|gpt|model|chatgpt)(?: ?\d+)?"
    r"(?:\*\*)?>?\s?[:\uff1a]|(?:\A|\n)(?:#+ ?(human|user|assistant|bot|ai)\s*\n|(q|a) ?[:\uff1a])",
    re.IGNORECASE,
)
"""Anything that looks as if somebody began to speak."""
_ASKS = ("human", "user", "q", "customer")


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
    if not marks:
        marks = list(_ANY_LINE.finditer(text))
        both = [_role(mark) for mark in marks]
        answered = "user" in both and "assistant" in both[both.index("user") :]
        marks = marks if in_transcript or answered else []
    found = next((m for m in marks if _role(m) == "user"), None) or _NEXT_TURN.search(text)
    if found:
        raise ValueError(
            f"{column} holds turns of both sides ({show(found.group().strip())} ...): it must "
            "be one turn of the assistant; where it is one answer, write the exchange format"
        )


def check_no_template(column: str, text: str) -> None:
    """Refuse a prompt or an answer that a model's chat template has been put around already."""
    found = template_mark(text)
    if found:
        raise ValueError(
            f"{column} is spelled in a model's chat template ({show(found)}): take its marks off,"
            " or write lists of {role, content}; where it is a text, write the exchange format"
        )


def template_mark(text: str) -> str:
    """The mark of a chat template with which a text begins or ends; empty where there is none."""
    found = _BEGINS.match(text) or _ENDS.search(text, max(0, len(text) - 100))
    html = found and found.group().strip() == "</s>" and "<s>" in text
    return found.group().strip() if found and not html else ""


def check_no_turns(chosen: str, rejected: str) -> None:
    """Refuse conversations in a chat template or in an unknown spelling: where the prompt ends is
    not said there."""
    for text in (chosen, rejected):
        spoken = {mark[mark.lastindex or 1].lower() in _ASKS for mark in _SPEAKER.finditer(text)}
        found = _CONTROL.search(text) or (len(spoken) == 2 and _SPEAKER.search(text))
        found = found or _speaker_again(text)
        if found:
            raise ValueError(
                "chosen and rejected look like conversations in a spelling that is not read"
                f" ({show(found.group().strip())}): write them as lists of {{role, content}}, or"
                " name what was asked in a prompt"
            )


def _speaker_again(text: str) -> re.Match[str] | None:
    """The first of two names at the beginning of lines that take turns: one, the other, one."""
    labels = list(_LABEL.finditer(text))
    names = [label[1].casefold() for label in labels]
    for place, name in enumerate(names):
        later = names[place + 1 :]
        if name in later and later.index(name) > 0:
            return labels[place]
    return None


def _marks(text: str) -> list[re.Match[str]]:
    """Where turns begin."""
    marks = list(_BLANK_LINE.finditer(text))
    if marks or not _ANY_LINE.match(text.lstrip()):
        return marks
    return list(_ANY_LINE.finditer(text))


def _role(mark: re.Match[str]) -> str:
    return "user" if mark[1].lower() in _ASKING else "assistant"
