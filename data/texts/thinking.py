"""What a reasoning model writes to itself before it answers, told apart from the answer.

A completion is kept as it was written, its thinking in front:

    <think>
    They want a greeting.
    </think>

    Hello.

The answer, "Hello.", is what people judge and what a reward model reads. Only a text that begins
with such a tag holds thinking, or one in which a line of its own closes what a chat template had
opened; a tag that is mentioned later on is part of the answer.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Literal, NamedTuple

Thinking = Literal["answer", "whole"]
"""What of a completion is read: the answer alone, or its thinking too."""
OPENING = "<think>\n"
"""What thinking begins with where it came without its tag."""
LOOKS = 20
"""Tags that are looked at before a text counts as one about tags."""
_NAME = r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|thought_process|reasoning|scratchpad)"
_BLANK = r"[\s\ufeff\u200b]*"
_OPENED = re.compile(
    rf"{_BLANK}(?:<({_NAME})(?: [^<>\n]{{0,80}}(?<!/))?>|(\[THINK\])|(◁think▷)"
    r"|(<\|begin_of_thought\|>)|(<\|START_THINKING\|>)|(<unused94>)"
    r"|(<\|channel\|>analysis<\|message\|>))",
    re.IGNORECASE,
)
_CLOSINGS = (
    *(None, None, "[/THINK]", "◁/think▷", "<|end_of_thought|>"),
    *("<|END_THINKING|>", "<unused95>", "<|channel|>final<|message|>"),
)
"""What ends each of these groups; the first names its tag itself."""
_CLOSED_LINE = re.compile(rf"</({_NAME})>[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CLOSED = re.compile(rf"(?<![`\"'])</({_NAME})>|</({_NAME})>(?![`\"'])", re.IGNORECASE)
_LEFT_OPEN = re.compile(
    rf"(?:<{_NAME}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>)(?=\s*\Z)", re.IGNORECASE
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


class Parts(NamedTuple):
    """A text, taken apart."""

    thinking: str
    """Empty where there is none."""
    answer: str
    """The text itself where it holds no thinking."""
    open: bool = False
    """Whether the thinking never ends: there is no answer then."""


def part(text: str) -> Parts:
    """The thinking and the answer of what a model wrote. An answer, parted again, is itself."""
    thoughts: list[str] = []
    place = 0
    while True:
        if opened := _OPENED.match(text, place):
            closing = _CLOSINGS[opened.lastindex or 1] or f"</{opened[1]}>"
            start, closed = opened.end(), _find_closing(text, closing, opened.end())
            if closed is None and opened[1]:  # opened by one name and closed by another
                closed = _CLOSED.search(text, start)
            elif closed and (again := _OPENED.match(text, start)) and again[0] == opened[0]:
                closed = _find_closing(text, closing, closed.end()) or closed
        else:
            start, closed = place, _find_unopened(text, _CLOSED_LINE, place)
            if closed is None:
                break
        thoughts.append(text[start : closed.start() if closed else None].strip())
        if closed is None:
            return Parts("\n\n".join(filter(None, thoughts)), "", True)
        place = closed.end()
    answer = text[place:].lstrip() if place else text
    return Parts("\n\n".join(filter(None, thoughts)), answer)


def opening_of(template: str) -> str:
    """The tag with which a chat template's generation prompt opens the thinking; empty where it
    opens none."""
    found = _LEFT_OPEN.search(template)
    return found[0] if found else ""


def opened_again(text: str) -> str:
    """A sampled text whose chat template may have opened the thinking: with its tag in front."""
    return text if _find_unopened(text, _CLOSED) is None else OPENING + text


def put_before(thinking: str, answer: str) -> str:
    """One text of what an endpoint gave in two: `part` takes it apart again."""
    names = ("think", "thinking", "reasoning")
    name = next((name for name in names if f"</{name}>" not in thinking.lower()), "")
    if not name:
        name, thinking = "think", thinking.replace("</", "< /")
    return f"<{name}>\n{thinking.strip()}\n</{name}>\n\n{answer}"


def _find_closing(text: str, tag: str, start: int) -> re.Match[str] | None:
    """Where thinking ends: the first such tag from `start` that is not merely quoted."""
    spelled = re.escape(tag)
    plain = re.compile(rf"(?<![`\"']){spelled}|{spelled}(?![`\"'])", re.IGNORECASE)
    return plain.search(text, start) or re.compile(spelled, re.IGNORECASE).search(text, start)


def _find_unopened(text: str, closing: re.Pattern[str], start: int = 0) -> re.Match[str] | None:
    """The first tag from `start` that closes thinking, if nothing before it opens any; not one in
    code. Of a tag that ends a line only one that has the line to itself."""
    for found in islice(closing.finditer(text, start), LOOKS):
        before = text[start : found.start()]
        alone = closing is not _CLOSED_LINE or not before.rpartition("\n")[2].strip()
        if f"<{found[found.lastindex or 1]}>".lower() in before.lower():
            return None
        if alone and len(_FENCE.findall(before)) % 2 == 0 and before.count("`") % 2 == 0:
            return found
    return None
