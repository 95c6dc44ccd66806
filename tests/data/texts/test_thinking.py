"""What a reasoning model writes to itself, told apart from its answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import Completion, make_prompt
from data.texts.intake import LONGEST_SAMPLE, TOO_LONG, UNSTORABLE, taken, unstorable, why_left_out
from data.texts.thinking import Parts, part, put_before

PARTED = {
    "<think>A greeting.</think>Hello": ("A greeting.", "Hello"),
    "<think>\nA greeting.\n</think>\n\nHello": ("A greeting.", "Hello"),
    "\n \ufeff<Think>\nSo.\n</THINK>\nHello": ("So.", "Hello"),
    "<thinking>So.</thinking>Hello": ("So.", "Hello"),
    "<reasoning>So.</reasoning>Hello": ("So.", "Hello"),
    "<seed:think>So.</seed:think>Hello": ("So.", "Hello"),
    "[THINK]So.[/THINK]Hello": ("So.", "Hello"),
    "◁think▷So.◁/think▷Hello": ("So.", "Hello"),
    "<|begin_of_thought|>So.<|end_of_thought|>Hello": ("So.", "Hello"),
    "<think>\n\n</think>\n\nHello": ("", "Hello"),
    "<think>One.</think>\n<think>Two.</think>Hello": ("One.\n\nTwo.", "Hello"),
    "<think>So.</think>": ("So.", ""),
    "<think>So.</think>Close it with </think>.": ("So.", "Close it with </think>."),
    "<think>The tag `</think>` is meant.</think>Hello": ("The tag `</think>` is meant.", "Hello"),
    '<think>"Hi", I say.</think>"Hello"': ('"Hi", I say.', '"Hello"'),
    "<think><thinking>a</thinking></think>Hello": ("<thinking>a</thinking>", "Hello"),
    "A greeting.\n</think>\n\nHello": ("A greeting.", "Hello"),
    "<think time=3>So.</think>Hello": ("So.", "Hello"),
    "<scratchpad>So.</scratchpad>Hello": ("So.", "Hello"),
    "<thought_process>So.</thought_process>Hello": ("So.", "Hello"),
    "<|START_THINKING|>So.<|END_THINKING|>Hello": ("So.", "Hello"),
    "<unused94>So.<unused95>Hello": ("So.", "Hello"),
    "<|channel|>analysis<|message|>So.<|channel|>final<|message|>Hello": ("So.", "Hello"),
    "<thinking>So.</think>Hello": ("So.", "Hello"),
    "<think><think>a</think>b</think>Hello": ("<think>a</think>b", "Hello"),
    "</think>\nHello": ("", "Hello"),
    "<think>So.</think>Yes\n</think>\nHello": ("So.\n\nYes", "Hello"),
}
WHOLE = [
    "",
    " \n",
    "Hello",
    "Use the <think> tag and close it with </think> when you finish.",
    "So a<think>b</think>",
    "Close it with </think> at the end.",
    "Write it so:\n```\n</think>\n```\nand be done.",
    "Open with <think>, then\n</think>\n",
    "<thinker>Rodin</thinker>",
    "< think >no</ think >",
    "<think />A",
    '<think lang="en" />A',
    "<b>bold</b>",
    "think> and </think",
]


@pytest.mark.parametrize("text", PARTED)
def test_thinking_is_parted_from_the_answer(text: str) -> None:
    assert part(text) == Parts(*PARTED[text])
    completion = Completion(make_prompt("Hi"), text)
    assert (completion.thinking, completion.text) == PARTED[text]
    assert completion.written == text


@pytest.mark.parametrize("text", WHOLE)
def test_a_text_without_thinking_is_its_own_answer(text: str) -> None:
    assert part(text) == Parts("", text)


@pytest.mark.parametrize("text", ["<think>", "<think>\nWell", " <think>a</think><think>b"])
def test_thinking_that_never_ends_has_no_answer(text: str) -> None:
    assert part(text).open and part(text).answer == ""
    assert taken(text, True)[1] is False


def test_an_answer_is_its_own_completion_whatever_came_before_it() -> None:
    one, two = (Completion(make_prompt("Hi"), f"<think>{t}</think>Hello") for t in "ab")
    assert one.text == two.text and one.id != two.id


@settings(derandomize=True, max_examples=60, deadline=None)
@given(thinking=st.text(min_size=1), answer=st.text(min_size=1))
def test_what_came_in_two_parts_is_parted_again(thinking: str, answer: str) -> None:
    found = part(put_before(thinking, answer))
    assert (found.thinking, found.open) == (thinking.strip(), False)
    if not part(answer).thinking and part(answer).answer == answer:
        assert found.answer == answer.lstrip()


def test_thinking_with_tags_in_it_is_parted_again() -> None:
    for inside in ("a </think> b", "a </think> </thinking> b"):
        assert part(put_before(inside, "Hello")) == Parts(inside, "Hello")
    assert part(put_before("</think></thinking></reasoning>", "Hello")).answer == "Hello"


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "\n", "`", "a", "[THINK]", "[/THINK]", "```", " "])
    ).map("".join)
)
def test_any_text_is_parted_the_same_twice(text: str) -> None:
    """The answer of an answer is itself."""
    found = part(text)
    assert text.endswith(found.answer)
    assert part(found.answer) == Parts("", found.answer)
    written, finished = taken(text, True)
    assert finished is not part(written).open


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think></think>" * 60_000, ""),
        ("```\n" + "</think>\n" * 100_000, None),
        ("`</think>`" * 100_000, None),
        (" " * 900_000 + "</think", None),
        ("<think>" * 130_000, ""),
    ],
)
def test_long_texts_of_tags_take_no_longer_than_they_are(text: str, answer: str | None) -> None:
    """A step that reads the text anew for each tag would take hours here."""
    assert part(text).answer == (text if answer is None else answer)


def test_what_is_known_of_a_sampled_text_counts() -> None:
    assert taken("I greet</think>Hello", True) == ("<think>\nI greet</think>Hello", True)
    assert taken("I greet", True, opened="<think>") == ("<think>\nI greet", False)
    assert taken("I greet</think>Hello", True, opened="<think>")[0].startswith("<think>\n")
    assert taken("a `</think>` tag", True) == ("a `</think>` tag", True)
    assert taken("ends with </think>", True, opened="") == ("ends with </think>", True)
    both, finished = taken("Hello", True, thinking="I greet")
    assert part(both) == Parts("I greet", "Hello") and finished
    cut, finished = taken("", False, thinking="I greet")
    assert part(cut) == Parts("I greet", "", True) and not finished
    none, finished = taken("", True, thinking="I greet")
    assert part(none) == Parts("I greet", "") and finished
    assert taken("", True) == ("", True)


def test_what_no_database_keeps_is_left_out() -> None:
    assert why_left_out("a\x00b") == why_left_out("a\ud800") == UNSTORABLE
    assert why_left_out("a" * (LONGEST_SAMPLE + 1)) == TOO_LONG
    assert (
        why_left_out("")
        == why_left_out("\ufffe\U0001f642\x01")
        == why_left_out("a" * LONGEST_SAMPLE)
        == ""
    )
    assert unstorable("\x00") and "ud800" in unstorable("\ud800") and not unstorable("é")
