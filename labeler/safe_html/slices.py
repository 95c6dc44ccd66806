"""How much of a text a browser is given to lay out at once.

Laying out is what freezes a page: a browser shapes a whole run of text in one go, for some letters
and for some ways of mixing them a thousand times slower than for a plain word. So a text is cut
into slices of about equal cost, the first is shown, and each further one when it is asked for.
Until then it is a closed `<details>` that keeps its HTML in an attribute (static/slices.js).

The costs are microseconds, measured in Chromium on two cores (tests/benchmarks/labeler.py, part
"texts"), rounded up.
"""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache

SLICE_COST = 60_000.0
"""Of one text. A page shows three at most: a prompt and two answers."""
MOST_MARKS = 8
"""Marks on one letter that are drawn: no script needs more; the time grows with their square."""
LONG_WORD = 1_000
"""Characters without a blank; what follows them is dearer, for a line is then sought among them."""
_LONG_WORD_COST = 25.0
_LINE_COST = 10.0
_CHANGE_COST = 30.0
"""Of going from one script or direction to another: each starts a run of its own."""

_OTHERS = 150.0
# Where a range of letters begins, and what one costs; between letters of two ranges is a change.
_RANGES: Sequence[tuple[int, float]] = (
    (0x0000, 1.0),  # Latin
    (0x0250, 6.0),
    (0x0370, 1.0),  # Greek
    (0x0400, 1.0),  # Cyrillic
    (0x0530, 6.0),
    (0x0590, 6.0),  # Hebrew
    (0x0600, 6.0),  # Arabic
    (0x0700, 20.0),
    (0x0900, 8.0),  # of India, Thailand, Tibet
    (0x1000, 20.0),
    (0x1100, 2.0),  # Hangul in parts
    (0x1200, 20.0),
    (0x1E00, 1.0),  # Latin with accents
    (0x1F00, 1.0),  # Greek with accents
    (0x2000, 2.0),  # punctuation and signs
    (0x2C00, 20.0),
    (0x2E80, 2.0),  # Chinese, Japanese
    (0xA000, 20.0),
    (0xAC00, 2.0),  # Hangul
    (0xD7B0, 20.0),
    (0xF900, 4.0),
    (0xFB00, 8.0),
    (0xFE00, 6.0),
    (0xFF00, 4.0),
    (0x10000, _OTHERS),
    (0x1F000, 4.0),  # emoji
    (0x1FB00, _OTHERS),
    (0x20000, 10.0),  # rare Chinese
    (0x32000, _OTHERS),
)
_STARTS = [start for start, _ in _RANGES]
_PLAIN = re.compile("[\x00-\u024f\u2010-\u2027\u2030-\u205e]*")
_BREAK_ANYWHERE = (0x2E80, 0xAC00, 0x20000)  # written without blanks: a line ends at any letter
_NEUTRAL = 0x2000  # signs and punctuation take the direction of what stands around them
_BLANK = re.compile(r"\s")
_TIDY = 0.6
"""Share of a slice after which it ends at a paragraph, a line or a blank, if there is one."""
ALL = '<button type="button" class="quiet" data-show-all>Show all</button>'
"""What opens the slices beside it, one after the other (static/slices.js)."""
Span = tuple[int, int]
Cost = Callable[[int], float]
"""What the character at a place of a text costs beyond its letter."""


def cut(text: str, budget: float = SLICE_COST, extra: Cost | None = None) -> Iterator[Span]:
    """Where slices of a text begin and end, each of at most this cost."""
    begin = 0
    while begin < len(text):
        end = _reach(text, begin, budget, extra)
        if end < len(text):
            end = _tidy_end(text, begin, end)
        yield begin, end
        begin = end


def cost(text: str, most: float) -> float:
    """What laying a text out costs; `most` or more where it is that much."""
    total, meter = 0.0, _Meter(text)
    for at in range(len(text)):
        total += meter.cost(at)
        if total >= most:
            break
    return total


def _reach(text: str, begin: int, budget: float, extra: Cost | None) -> int:
    """How far a budget reaches from `begin`: by one character at least."""
    spent, meter = 0.0, _Meter(text)
    for at in range(begin, len(text)):
        spent += meter.cost(at) + (extra(at) if extra else 0.0)
        if spent > budget and at > begin:
            return at
    return len(text)


class _Meter:
    """The cost of one character after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._range = 0
        self._word = 0

    def cost(self, at: int) -> float:
        letter = self._text[at]
        code = ord(letter)
        if code <= 0x20:
            self._word = 0
            return _LINE_COST if letter == "\n" else 1.0
        self._word += 1
        long = _LONG_WORD_COST if self._word > LONG_WORD else 0.0
        if code < 0x80 and not letter.isalpha():
            return 1.0 + long
        here = bisect_right(_STARTS, code) - 1
        start, each = _RANGES[here]
        if start in _BREAK_ANYWHERE:
            self._word, long = 0, 0.0
        change = 0.0
        if start != _NEUTRAL:
            # Among rare letters each block has a font of its own.
            script = code >> 7 if each == _OTHERS else here
            change = _CHANGE_COST if self._range and script != self._range else 0.0
            self._range = script
        return each + change + long


def _tidy_end(text: str, begin: int, end: int) -> int:
    """The end of a slice moved back to one of a paragraph, a line, or a word."""
    least = begin + round(_TIDY * (end - begin))
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, least, end)
        if found >= 0:
            return found + len(mark)
    for at in range(end, max(end - MOST_MARKS, begin), -1):
        if unicodedata.category(text[at])[0] != "M":
            return at
    return end  # far from any letter


@cache
def _crowd() -> re.Pattern[str]:
    """More marks behind one letter than are drawn; joiners among them start no new letter."""
    codes = [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)]
    marks = [code for code in codes if unicodedata.category(chr(code))[0] == "M"]
    ranges, first, last = [], marks[0], marks[0]
    for code in [*marks[1:], sys.maxunicode]:
        if code != last + 1:
            ranges.append(f"{chr(first)}-{chr(last)}")
            first = code
        last = code
    mark = f"[{''.join(ranges)}\u200c\u200d]"
    return re.compile(f"(?<={mark}{{{MOST_MARKS}}}){mark}+")


def crowded(text: str) -> list[Span]:
    """Where a text has more marks on one letter than are drawn: the further ones."""
    if _PLAIN.fullmatch(text):
        return []
    return [match.span() for match in _crowd().finditer(text)]


def thinned(text: str) -> str:
    """The text without the marks that are too many on one letter."""
    return text if _PLAIN.fullmatch(text) else _crowd().sub("", text)


def more(parts: Sequence[tuple[str, int]]) -> str:
    """Slices one behind the other: the first shown, each further one behind a press.

    `parts` are HTML and how many characters it shows.
    """
    rest = sum(count for _, count in parts[1:])
    made = [shown for shown, _ in parts[:1]]
    for folded, count in parts[1:]:
        words = f"Show {count:,} more of {rest:,} characters"
        kept = html.escape(folded)
        made.append(
            f'<details class="more" data-html="{kept}"><summary>{words}</summary></details>'
        )
        rest -= count
    return "".join(made) + (ALL if len(parts) > 2 else "")
