"""One intake for texts from people, files, models here and endpoints.

What a database cannot keep is refused where a person can mend it, and left out and counted where a
model wrote it: `unstorable` says what is wrong with a text, `why_left_out` why a sampled one is
left out, `taken` what it becomes.
"""

from __future__ import annotations

from data.texts.thinking import OPENING, opened_again, part, put_before

LONGEST_NAME = 800
"""Bytes of a model's name: what an index of every database can hold."""
LONGEST_SAMPLE = 1_000_000
"""Characters of a sampled text."""
UNSTORABLE = "with characters that cannot be stored"
TOO_LONG = f"longer than {LONGEST_SAMPLE:,} characters"


def unstorable(text: str) -> str:
    """What keeps a database from storing a text, to be said behind "holds"; empty where nothing
    does. PostgreSQL refuses NUL, and UTF-8 surrogates."""
    if "\x00" in text:
        return "a NUL character (\\u0000)"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a character ({text[error.start]!a})"
    return ""


def why_left_out(text: str) -> str:
    """Why a sampled text is left out, to be said behind a count; empty where it is kept.

    An empty text is kept: a model that ended at once has answered.
    """
    if unstorable(text):
        return UNSTORABLE
    return TOO_LONG if len(text) > LONGEST_SAMPLE else ""


def taken(
    text: str, ended: bool, *, thinking: str = "", opened: str | None = None
) -> tuple[str, bool]:
    """(a sampled text as it is kept, whether it ended by itself).

    `thinking` came beside the text; `opened` is the tag with which the chat template opened the
    thinking, empty where it did not, None where nobody knows. Thinking that never ends is
    unfinished, whatever the model said.
    """
    if thinking.strip() and text.strip():
        text = put_before(thinking, text)
    elif thinking.strip():
        text = put_before(thinking, "") if ended else f"{OPENING}{thinking.strip()}"
    elif opened:
        text = f"{opened}\n{text}"
    elif opened is None:
        text = opened_again(text)
    return text, ended and not part(text).open
