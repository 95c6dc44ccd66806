"""A text exactly as it is, with what the eye would miss made visible.

Hidden characters are those that draw nothing of their own: bidirectional controls (they reorder
what stands around them), zero-width ones, control codes, and letters that look like a space.
"""

from __future__ import annotations

import html
import re
import unicodedata

LONGEST = 200_000
"""Characters of one text that are shown; the rest is counted in a note."""
MOST_MARKS = 2_000
"""Hidden characters that get a box of their own; further ones are spelled in brackets."""

_JOINERS = "\u200c\u200d"
_AT_WORK = _JOINERS + "\ufe0e\ufe0f"
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
    "\ufe00-\ufe0f]"
)
_JOINED = {"So", "Sk", "Sm", "Mn", "Mc", "Lo"}
"""Categories that joiners rightly stand between: emoji and the letters of joining scripts."""


def count_hidden(text: str) -> int:
    """How many hidden characters are in what `raw` shows."""
    return len(_hidden_places(_shown_part(text)))


def raw(text: str) -> str:
    """The text as it is in a box of its own, hidden characters spelled out by their number."""
    shown = _shown_part(text)
    parts, done = [], 0
    for n, at in enumerate(_hidden_places(shown)):
        parts += [html.escape(shown[done:at]), _spell_out(shown[at], boxed=n < MOST_MARKS)]
        done = at + 1
    parts.append(html.escape(shown[done:]))
    return box("".join(parts), ' dir="auto"') + rest_note(len(text) - LONGEST)


def box(inside: str, attributes: str = "") -> str:
    """Escaped text that keeps its lines; the first line end is the tag's own."""
    return f'<pre class="as-is"{attributes}>\n{inside}</pre>'


def rest_note(left_out: int) -> str:
    """One line about what is not shown, if anything."""
    if left_out <= 0:
        return ""
    return f'<p class="mute">({left_out:,} more characters not shown)</p>'


def whole(text: str) -> str:
    """The text without half characters (lone surrogates), which cannot be sent anywhere."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _shown_part(text: str) -> str:
    return text[:LONGEST].replace("\r\n", "\n")


def _hidden_places(text: str) -> list[int]:
    return [m.start() for m in _HIDDEN.finditer(text) if not _does_its_work(text, m.start())]


def _does_its_work(text: str, at: int) -> bool:
    """Whether a joiner or variation selector does its proper work here."""
    if text[at] not in _AT_WORK:
        return False
    before, after = text[max(at - 1, 0) : at], text[at + 1 : at + 2]
    if text[at] in _JOINERS:
        return all(c and unicodedata.category(c) in _JOINED for c in (before, after))
    return bool(before) and unicodedata.category(before) in {"So", "Sm", "Po", "Pd", "Nd"}


def _spell_out(character: str, boxed: bool) -> str:
    spelled = f"U+{ord(character):04X}"
    if not boxed:
        return f"[{spelled}]"
    name = unicodedata.name(character, "control character").lower()
    return f'<mark title="{html.escape(name)}">{spelled}</mark>'
