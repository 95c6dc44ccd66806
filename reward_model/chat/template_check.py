"""What a chat template does with each turn, found by rendering marks in place of texts.

Whoever trains, samples or scores learns of a template that loses text before anything is spent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Turns = Sequence[dict[str, str]]
"""Messages with "role" and "content"."""
Write = Callable[[Turns, bool], str]
"""(turns, whether the generation prompt follows) -> what the template writes."""
SYSTEM = {"role": "system", "content": "Sq0xz"}
ASKED = {"role": "user", "content": "Uq1xz"}
ANSWERED = {"role": "assistant", "content": "Aq2xz"}
ASKED_AGAIN = {"role": "user", "content": "Uq3xz"}
ANSWERED_AGAIN = {"role": "assistant", "content": "Aq4xz"}
MARKS = (SYSTEM, ASKED, ANSWERED, ASKED_AGAIN, ANSWERED_AGAIN)
INSTEAD = "use another model, or mend chat_template in its tokenizer's files"


class TemplateRefused(ValueError):
    """The template takes no such turns; the message is its own."""


class TextLost(ValueError):
    """The template does not write each turn's text once and in order."""


@dataclass(frozen=True)
class TemplateFacts:
    """What a template writes around the texts."""

    opening: str
    """What begins the assistant's turn, e.g. "<|im_start|>assistant"."""
    prefilled: str
    """What the generation prompt opens besides, that no finished turn has, e.g. "<think>"."""
    closing: str
    """Behind the assistant's text where it is the last, e.g. "<|im_end|>" and a line break."""
    next_turn: str
    """Between the assistant's text and the next one."""


def examine(write: Write, controls: re.Pattern[str]) -> TemplateFacts:
    """What the template writes around the texts.

    Raises TextLost for one that loses or repeats a text, Refused for one that takes no
    conversations, and ValueError for one without a generation prompt, or with another than what
    begins a finished turn.
    """
    opened = write([ASKED], True)
    try:
        asked = write([ASKED], False)
    except TemplateRefused:  # what nobody asks for: a prompt alone, with nothing behind it
        asked = opened
    whole = write([ASKED, ANSWERED], False)
    turns = [ASKED, ANSWERED, ASKED_AGAIN, ANSWERED_AGAIN]
    longer = write(turns, False)
    for text, some in ((opened, turns[:1]), (whole, turns[:2]), (longer, turns)):
        _require_once(text, some)
    try:
        told = write([SYSTEM, ASKED], True)
    except TemplateRefused:
        pass  # a prompt with such a turn is then refused
    else:
        _require_once(told, [SYSTEM, ASKED])
    before, _, closing = whole.partition(ANSWERED["content"])
    behind, begun = (t.partition(ASKED["content"])[2] for t in (opened, before))
    ended = asked.partition(ASKED["content"])[2]
    _require_generation_prompt(behind, begun, ended, controls)
    shared = behind[: shared_start(behind, begun)]
    return TemplateFacts(
        opening=(shared.removeprefix(ended) if shared.startswith(ended) else "") or shared,
        prefilled=behind[len(shared) :].strip(),
        closing=closing,
        next_turn=longer.partition(ANSWERED["content"])[2].partition(ASKED_AGAIN["content"])[0],
    )


def require_texts(text: str, turns: Turns) -> None:
    """Raise TextLost where a turn's text is not found behind that of the one before it.

    A system's turn may stand elsewhere: Mistral's template puts it into the last user's turn.
    """
    place = 0
    for number, turn in enumerate(turns, 1):
        content = turn["content"].strip()
        found = text.find(content, 0 if turn["role"] == "system" else place)
        if found < 0:
            why = "moves" if content in text else "leaves out"
            where = f"turn {number}, the {turn['role']}'s"
            shown = "" if turn in MARKS else f" ({content[:40]!r})"
            raise TextLost(f"the model's chat template {why} the text of {where}{shown}: {INSTEAD}")
        if turn["role"] != "system":
            place = found + len(content)


def shared_start(one: Sequence[object], other: Sequence[object]) -> int:
    """How long two texts, or two lists of ids, are alike from their beginning on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _require_once(text: str, turns: Turns) -> None:
    """Raise TextLost where one of MARKS is missing, out of order or repeated."""
    require_texts(text, turns)
    repeated = [turn["role"] for turn in turns if text.count(turn["content"]) > 1]
    if repeated:
        raise TextLost(
            f"the model's chat template writes the text of the {repeated[0]}'s turn more than once:"
            f" {INSTEAD}"
        )


def _require_generation_prompt(
    behind: str, begun: str, ended: str, controls: re.Pattern[str]
) -> None:
    """Raise ValueError where sampling would not start as a finished turn does.

    behind: what follows the user's text in a prompt; begun: in a conversation, up to the
    assistant's text; ended: where nothing follows.
    """
    if behind == ended and begun.startswith(behind) and controls.search(begun[len(behind) :]):
        raise ValueError(
            "the model's chat template writes no generation prompt:"
            f" {begun[len(behind) :]!r}, which begins the assistant's turn, must stand at the end"
            f" where add_generation_prompt is set: {INSTEAD}"
        )
    shared = shared_start(behind, begun)
    rest, other = behind[shared:], begun[shared:]
    if rest and other and "think" not in f"{behind} {begun}".lower():
        raise ValueError(
            f"the model's chat template ends a prompt with {behind!r}, yet begins the assistant's"
            f" turn of a whole conversation with {begun!r}: {INSTEAD}"
        )
