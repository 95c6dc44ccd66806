"""How much of a text is laid out at once: folded where it is dear, whole where it is not."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import Message
from labeler.rating.page import in_portions
from labeler.safe_html.hidden_text import LONGEST_LINE, raw, short_lines
from labeler.safe_html.markdown import markdown, prose
from labeler.safe_html.slices import MOST_MARKS, SLICE_COST, cost, cut, thinned
from tests.support.hostile import FREEZING, long_text

FOLD = '<details class="more"'


def unfolded(made: str) -> str:
    """As if each slice had been opened."""
    return re.sub(r'data-html="([^"]*)"', lambda m: ">" + html.unescape(m[1]), made)


ORDINARY = {
    "words": "An answer of some words, as a model writes them. " * 400,
    "a list": "- a step that says what to do\n" * 60,
    "code": "```python\n" + "value = table_of[key] * 2  # as before\n" * 100 + "```",
    "Chinese": "这是一个普通的回答没有空格" * 300,
    "Greek": "Μια συνηθισμένη απάντηση με λέξεις. " * 200,
    "Arabic": "هذه إجابة عادية من بضع كلمات. " * 100,
    "Hindi": "यह कुछ शब्दों का एक साधारण उत्तर है। " * 100,
    "Thai": "นี่คือคำตอบธรรมดา " * 150,
    "emoji": "Well done 👩‍👩‍👧 🎉 " * 100,
}


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut where does not hang on how fast this machine is."""
    monkeypatch.setattr("labeler.safe_html.markdown.SECONDS", 60.0)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_answer_is_whole(name: str) -> None:
    assert FOLD not in prose(ORDINARY[name]) and FOLD not in raw(ORDINARY[name])


@pytest.mark.parametrize("name", FREEZING)
def test_a_text_that_would_freeze_the_page_is_folded(name: str) -> None:
    """Or thinned to what is quickly drawn; no slice is dearer than one may be."""
    text = thinned(long_text(name, 100_000))
    slices = [text[begin:end] for begin, end in cut(text)]
    assert "".join(slices) == text and all(slices)
    assert max(cost(one, 10 * SLICE_COST) for one in slices) <= SLICE_COST + 100


def test_marks_beyond_what_a_letter_carries_are_counted_and_spelled() -> None:
    text = "a" + "\u0301" * 60_000 + "b"
    assert thinned(text) == "a" + "\u0301" * MOST_MARKS + "b"
    assert "59,992 hidden characters: Raw shows where." in prose(text)
    assert raw(text).count("\u0301") == MOST_MARKS
    assert "U+0301 ×" in raw(text)


@pytest.mark.parametrize("text", ["Việt Nam", "שָׁלוֹם", "नमस्ते", "กี่ปี้", "བསྒྲུབས", "❤️ 1️⃣", "ǭ́"])
def test_marks_that_a_language_needs_stay(text: str) -> None:
    assert thinned(text) == text and "<mark" not in raw(text)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from([*"ab \n`*-|#1\u0301\u05d0\u0e01\u0e34\u4e2d\u200b", "x" * 300, "```\n"]),
        max_size=40,
    ),
    st.floats(10, 3_000),
)
def test_slices_are_the_text_whatever_it_is(parts: list[str], budget: float) -> None:
    text = "".join(parts)
    spans = list(cut(text, budget))
    assert [begin for begin, _ in spans] == ([0] + [end for _, end in spans[:-1]] if text else [])
    assert not text or spans[-1][1] == len(text)
    made = unfolded(raw(text, budget / SLICE_COST))
    boxes = re.findall(r"(?s)<pre[^>]*>\n(.*?)</pre>", made)
    shown = re.sub(
        r'<mark title="[^"]*">U\+([0-9A-F]+)(?: ×([\d,]+))?</mark>',
        lambda m: chr(int(m[1], 16)) * int((m[2] or "1").replace(",", "")),
        "".join(boxes),
    )
    assert html.unescape(shown) == text


def test_code_goes_on_as_code_in_the_next_slice() -> None:
    code = "```python\n" + "x = 1  # *not* emphasis\n" * 1_500 + "```\n\nDone."
    slices = unfolded(prose(code)).split(FOLD)
    assert len(slices) > 2 and all("<pre><code>" in one for one in slices)
    assert not any("<em>" in one for one in slices) and "<p>Done.</p>" in slices[-1]


def test_all_that_is_folded_says_how_much_is_left() -> None:
    made = markdown("x" * 20_000)
    left = [int(n.replace(",", "")) for n in re.findall(r"more of ([\d,]+) characters", made)]
    assert left == sorted(left, reverse=True) and len(left) > 3
    assert made.count("<button") == 1 and made.endswith("Show all</button>")


def test_many_turns_are_shown_from_the_last_one_back() -> None:
    turns = [Message("user", f"turn {n} " + "word " * 200) for n in range(400)]
    portions = in_portions(turns)
    assert [turn for portion in portions for turn in portion] == turns
    assert len(portions) > 3 and 1 <= len(portions[-1]) < 100
    assert in_portions(turns[:5]) == [turns[:5]]
    huge = [Message("user", "x" * 10**6)] * 2
    assert in_portions(huge) == [[huge[0]], [huge[1]]]


def test_a_log_of_endless_lines_is_cut() -> None:
    assert short_lines("a\nb") == "a\nb"
    assert short_lines("x" * (LONGEST_LINE + 7)).endswith("x… (7 more characters)")
    assert len(short_lines("a" + "\u0301" * 9_000)) == 1 + MOST_MARKS
