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
    r"<[|\uff5c](?:im_start|im_end|start_header_id|eot_id|user|assistant|system|end|end_of_turn"
    r"|start_of_turn_token|end_of_turn_token)[|\uff5c]>|</?start_of_turn>|<end_of_turn>|\[/?INST\]",
    re.IGNORECASE,
)
"""How chat templates of models mark turns."""
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
        lines = list(_ANY_LINE.finditer(text))
        both = [_role(mark) for mark in lines]
        marks = lines if "user" in both and "assistant" in both[both.index("user") :] else []
    found = next((m for m in marks if _role(m) == "user"), None) or _NEXT_TURN.search(text)
    if found:
        raise ValueError(
            f"{column} holds turns of both sides ({show(found.group().strip())} ...): it must "
            "be one turn of the assistant; where it is one answer, write the exchange format"
        )


def check_no_turns(chosen: str, rejected: str) -> None:
    """Refuse conversations in a chat template or in an unknown spelling: where the prompt ends is
    not said there."""
    for text in (chosen, rejected):
        spoken = {mark[mark.lastindex or 1].lower() in _ASKS for mark in _SPEAKER.finditer(text)}
        found = _CONTROL.search(text) or (len(spoken) == 2 and _SPEAKER.search(text))
        if found:
            raise ValueError(
                "chosen and rejected look like conversations in a spelling that is not read"
                f" ({show(found.group().strip())}): write them as lists of {{role, content}}, or"
                " name what was asked in a prompt"
            )


def _marks(text: str) -> list[re.Match[str]]:
    """Where turns begin."""
    marks = list(_BLANK_LINE.finditer(text))
    if marks or not _ANY_LINE.match(text.lstrip()):
        return marks
    return list(_ANY_LINE.finditer(text))


def _role(mark: re.Match[str]) -> str:
    return "user" if mark[1].lower() in _ASKING else "assistant"
