"""A text exactly as it is, with what the eye would miss made visible.

Hidden characters are those that draw nothing of their own: bidirectional controls (they reorder
what stands around them), zero-width ones, control codes, and letters that look like a space. So are
the marks on a letter that has too many of them to be drawn.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection
from itertools import groupby

from labeler.safe_html.slices import SLICE_COST, Span, crowded, cut, more, thinned

LONGEST = 200_000
"""Characters of one text that are shown; the rest is counted in a note."""
LONGEST_LINE = 500
"""Characters of a log's line."""
MOST_BOXES = 500
"""Hidden characters that get a box of their own; further ones are spelled in brackets."""
BOX_COST, BRACKETS_COST = 40.0, 8.0
"""Microseconds (see `slices`)."""
NO_TEXT = '<p class="mute">(no text)</p>'

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
    """How many hidden characters are in what `raw` shows, marks that are not drawn included."""
    return len(_hidden_places(text[:LONGEST].replace("\r\n", "\n")))


def raw(text: str, share: float = 1.0) -> str:
    """The text as it is in a box of its own, hidden characters spelled out by their number.

    In slices; `share` is how much of a usual slice one may cost.
    """
    if not text:
        return NO_TEXT
    shown = text[:LONGEST].replace("\r\n", "\n")
    hidden = _hidden_places(shown)
    boxes = set(hidden[:MOST_BOXES])
    spelled = {at: BOX_COST if at in boxes else BRACKETS_COST for at in hidden}
    spans = cut(shown, share * SLICE_COST, lambda at: spelled.get(at, 0.0) if spelled else 0.0)
    parts = [(box(_spelled(shown, span, spelled, boxes), ' dir="auto"'), span) for span in spans]
    return more([(html, end - begin) for html, (begin, end) in parts]) + rest_note(
        len(text) - LONGEST
    )


def _spelled(text: str, span: Span, hidden: Collection[int], boxes: Collection[int]) -> str:
    """A slice as HTML: neighbours that are one and the same hidden character share a box."""
    begin, end = span
    if not hidden:
        return html.escape(text[begin:end])
    made = []
    for (is_hidden, boxed, letter), group in groupby(
        range(begin, end),
        lambda at: (at in hidden, at in boxes, text[at] if at in hidden else ""),
    ):
        places = list(group)
        if is_hidden:
            made.append(_spell_out(letter, len(places), boxed))
        else:
            made.append(html.escape(text[places[0] : places[-1] + 1]))
    return "".join(made)


def box(inside: str, attributes: str = "") -> str:
    """Escaped text that keeps its lines; the first line end is the tag's own."""
    return f'<pre class="as-is"{attributes}>\n{inside}</pre>'


def rest_note(left_out: int) -> str:
    """One line about what is not shown, if anything."""
    if left_out <= 0:
        return ""
    return f'<p class="mute">({left_out:,} more characters not shown)</p>'


def short_lines(text: str) -> str:
    """Lines of a log, each cut where it is too long to be laid out at once."""
    made = []
    for line in thinned(text).split("\n"):
        left = len(line) - LONGEST_LINE
        made.append(line[:LONGEST_LINE] + (f"… ({left:,} more characters)" if left > 0 else ""))
    return "\n".join(made)


def whole(text: str) -> str:
    """The text without half characters (lone surrogates), which cannot be sent anywhere."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _hidden_places(text: str) -> list[int]:
    found = {m.start() for m in _HIDDEN.finditer(text) if not _does_its_work(text, m.start())}
    for begin, end in crowded(text):
        found.update(range(begin, end))
    return sorted(found)


def _does_its_work(text: str, at: int) -> bool:
    """Whether a joiner or variation selector does its proper work here."""
    if text[at] not in _AT_WORK:
        return False
    before, after = text[max(at - 1, 0) : at], text[at + 1 : at + 2]
    if text[at] in _JOINERS:
        return all(c and unicodedata.category(c) in _JOINED for c in (before, after))
    # What has an emoji form that a variation selector chooses: signs, digits, "#" and "*".
    return bool(before) and unicodedata.category(before) in {"So", "Sm", "Po", "Pd", "Nd"}


def _spell_out(character: str, times: int, boxed: bool) -> str:
    spelled = f"U+{ord(character):04X}" + (f" ×{times:,}" if times > 1 else "")
    if not boxed:
        return f"[{spelled}]"
    name = unicodedata.name(character, "control character").lower()
    return f'<mark title="{html.escape(name)}">{spelled}</mark>'
