"""Untrusted text is shown and can do nothing else."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from time import thread_time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.rating.page import SPEAKERS
from labeler.rendering import render_macro
from labeler.safe_html import highlighting, latex
from labeler.safe_html.hidden_text import box, count_hidden, raw
from labeler.safe_html.latex import mathml
from labeler.safe_html.markdown import (
    ATTRIBUTES,
    CLASSES,
    LONGEST,
    TAGS,
    markdown,
    prose,
)
from tests.support.hostile import BOMBS, LATEX, TEXTS

MOST_SECONDS = 10.0  # of processor time: a bomb would take minutes
EMPTY = {"br", "hr", "meta", "input", "wbr", "col"}
FOLDS: list[tuple[str, dict[str, str | None]]] = [
    ("details", {"class": "more"}),
    ("summary", {}),
    ("button", {"type": "button", "class": "quiet", "data-show-all": None}),
]
NOTES = {("p", "mute"), ("p", "hidden-note"), ("pre", "as-is"), ("div", "text")}


class Reader(HTMLParser):
    """The tags and attributes that a browser would see, and whether each is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        for tag, attributes in list(self.seen):
            if (tag, attributes.get("class")) == ("details", "more"):  # what static/slices.js adds
                folded = Reader(str(attributes.pop("data-html")))
                assert folded.open == []
                self.seen += folded.seen
                self.text += folded.text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(source: str) -> None:
    """Only what the gate lets through, and our own notes."""
    reader = Reader(source)
    assert reader.open == []
    for tag, attributes in reader.seen:
        if (tag, attributes) in FOLDS:
            continue
        if (tag, attributes.get("class")) in NOTES:
            assert set(attributes) <= {"class", "dir"}
        else:
            assert_let_through(tag, attributes)


def assert_let_through(tag: str, attributes: dict[str, str | None]) -> None:
    assert tag in TAGS
    allowed = ATTRIBUTES.get(tag, set()) | {"a": {"rel", "target"}}.get(tag, set())
    allowed = allowed | ({"align"} if tag in ("td", "th") else set())
    allowed = allowed | ({"class"} if tag in CLASSES else set())
    assert set(attributes) <= allowed, (tag, attributes)
    assert set((attributes.get("class") or "").split()) <= CLASSES.get(tag, set())
    if tag == "a":
        assert attributes["target"] == "_blank"
        assert attributes["rel"] == "noopener noreferrer nofollow"
        assert re.match(r"(?i)(https?://|mailto:|$)", attributes.get("href") or "")


def test_there_are_many_hostile_texts() -> None:
    assert len(TEXTS) >= 150
    assert len(set(TEXTS.values())) == len(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_is_harmless_and_quick(name: str) -> None:
    text = TEXTS[name]
    before = thread_time()
    box, same = prose(text), raw(text)
    assert thread_time() - before < MOST_SECONDS
    assert_harmless(box)
    assert_harmless(markdown(text))
    seen = [one for one in Reader(same).seen if one not in FOLDS]
    assert {tag for tag, _ in seen} <= {"pre", "mark", "p"}
    (box + same).encode()  # nothing in it that cannot be sent


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(
            [
                *"<>[]()!`*_|#&;\"'=/: \n\\{}$^~-ax1\u202e\x00",
                *("\\(", "\\)", "$$", "```html\n", "\n```\n", "\\text{", "\\frac", "http://"),
                *("<style>", "<svg>", "<math>", "</p>", "<!--", "-->"),
            ]
        ),
        max_size=60,
    )
)
def test_any_text_is_harmless(parts: list[str]) -> None:
    text = "".join(parts)
    assert_harmless(prose(text))
    assert_harmless(prose("```html\n" + text))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_raw_text_is_the_text(text: str) -> None:
    unmarked = re.sub(
        r'<mark title="[^"]*">U\+([0-9A-F]{4,6})(?: ×([\d,]+))?</mark>',
        lambda m: f"\0{m[1]}\0" * int((m[2] or "1").replace(",", "")),
        raw(text) if text else box(""),
    )
    inside = html.unescape(re.fullmatch(r"(?s)<pre[^>]*>\n(.*)</pre>", unmarked)[1])  # type: ignore[index]
    again = re.sub(r"\0([0-9A-F]+)\0", lambda m: chr(int(m[1], 16)), inside)
    assert again == text.replace("\r\n", "\n")


def test_raw_html_is_shown_as_the_text_it_is() -> None:
    assert "&lt;b&gt;bold&lt;/b&gt;" in markdown("<b>bold</b>")


def test_markdown_is_rendered() -> None:
    made = markdown("**bold**\n\n- one\n- two\n\n| a |\n|--:|\n| 1 |\n\n```\nx<1\n```")
    for part in ("<strong>bold</strong>", "<li>one</li>", '<td align="right">1</td>', "x&lt;1"):
        assert part in made


def test_code_is_coloured_where_the_language_is_known() -> None:
    made = markdown('```python\ndef f(x):  # why\n    return "a<b"\n```')
    assert '<span class="hl-k">def</span>' in made
    assert '<span class="hl-c"># why</span>' in made
    assert "a&lt;b" in made
    assert "<span" not in markdown("```brainfuck\n+++\n```")


def test_every_language_that_is_named_is_known() -> None:
    until = thread_time() + 60
    for name in highlighting.LANGUAGES:
        assert "x" in highlighting.coloured("x = 1\n", name, until)


def test_formulas_become_mathml() -> None:
    made = markdown(r"so \(a < b\), and" + "\n\n$$\n\\frac{1}{2}\n= x\n$$\n\nit costs $5 or $6")
    assert '<math display="inline"><mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow></math>' in made
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in made
    assert "it costs $5 or $6" in made
    assert made.count("<math") == 2


@pytest.mark.parametrize(
    "source", ["in $O(n)$ time", "$x$, then", "($a^2 + b^2 = c^2$)", r"$\pi$-day"]
)
def test_single_dollars_around_a_formula(source: str) -> None:
    made = markdown(source)
    assert made.count("<math") == 1 and 'display="block"' not in made and "$" not in made


@pytest.mark.parametrize(
    "source",
    [
        "$5 and $10",
        "$5-$10",
        "US$5/US$6",
        "$HOME/$USER",
        "$(pwd)/$(ls)",
        "a $ b = c $ d",
        "5$ (6$)",
        "$(document).ready(function($) {",
        "$(cmd) or `$`",
        "**$5** (**US$**)",
    ],
)
def test_dollars_that_are_money_or_shell_stay(source: str) -> None:
    assert "<math" not in markdown(source)


@pytest.mark.parametrize("source", [r"\[x\]", r"$$x$$", "\\[\nx\n\\]", "text $$x$$ text"])
def test_display_formulas(source: str) -> None:
    assert '<math display="block"><mrow><mi>x</mi></mrow></math>' in markdown(source)


@pytest.mark.parametrize(
    "source",
    [r"\(\nosuchcommand{x}\)", r"\(\frac{1}\)", r"\(\def\a{x}\a\)", r"\(\rule{9em}{999em}\)"],
)
def test_a_formula_that_fails_is_shown_as_its_source(source: str) -> None:
    assert f"<code>{source}</code>" in markdown(source)
    assert "<math" not in markdown(source)


def test_formulas_keep_out_of_code_and_of_markdown() -> None:
    assert markdown(r"`\(x\)`") == "<p><code>\\(x\\)</code></p>\n"
    assert "<em>" not in markdown(r"\(a_1 * b * c_2\)")
    assert "<h1>" not in markdown("\\[\na\n=\nb\n\\]")
    assert "<blockquote>" in markdown("> \\[\n> x\n> \\]")
    assert "<math" in markdown("- one\n\n  $$\n  x\n  $$")


@pytest.mark.parametrize("name", LATEX)
def test_no_formula_is_larger_than_its_card(name: str) -> None:
    for width in re.findall(r'(?:width|height|size)="([^"]*)"', prose(LATEX[name])):
        assert re.fullmatch(latex._LENGTH, width) or re.fullmatch(r"[0-3](\.\d+)?em", width)


def test_an_image_becomes_a_note_that_says_from_where() -> None:
    made = markdown("![a **cat**](https://evil.example/cat.png)")
    assert "<img" not in made
    assert "image not shown: a cat (from <a href=" in made
    assert '"https://evil.example/cat.png"' in made and ">evil.example</a>" in made
    linked = markdown("[![a cat](https://a.example/cat.png)](https://b.example)")
    assert linked.count("<a ") == 1


def test_only_whole_addresses_are_links() -> None:
    for address in (
        "/sign-out",
        "//evil.example",
        "x",
        "#task",
        "javascript:1",
        "ftp://x",
        "data:x",
    ):
        assert "<a" not in markdown(f"[x]({address})")
    assert '<a href="https://a.example"' in markdown("[x](https://a.example)")


def test_a_whole_page_of_html_is_shown_as_code() -> None:
    made = markdown("<!DOCTYPE html><p>Hi</p>")
    assert made.startswith("<pre><code>") and "<p>" not in made and "Hi" in made


def test_hidden_characters_are_counted_and_spelled() -> None:
    assert "2 hidden characters: Raw shows where." in prose("a\u202eb\u200bc")
    assert '<mark title="right-to-left override">U+202E</mark>' in raw("a\u202eb")
    assert "hidden" not in prose("plain \u05e9\u05dc\u05d5\u05dd")


@pytest.mark.parametrize("text", ["👨‍👩‍👧 ❤️ 1️⃣ 🏳️‍🌈", "می‌خواهم", "क्‍ष", "a\r\nb\tc"])
def test_characters_that_do_their_work_are_not_hidden(text: str) -> None:
    assert count_hidden(text) == 0


def test_a_very_long_text_is_cut_and_says_so() -> None:
    assert "(7 more characters not shown)" in markdown("x " * (LONGEST // 2) + "the end")
    assert "more characters not shown" in raw(BOMBS["one-line-of-a-megabyte"])


def test_what_takes_too_long_is_shown_plain() -> None:
    box = prose(BOMBS["brackets-deep"] * 6)
    assert "shown as plain text" in box and "[[[[" in box


def test_an_empty_answer_says_so() -> None:
    assert all("(no text)" in shown for shown in (prose("  "), prose(""), raw("")))


def test_turns_name_who_speaks_and_hold_both_views() -> None:
    turns = [SimpleNamespace(role="system", content="Be kind.")]
    turns.append(SimpleNamespace(role='"<x', content="a"))
    made = render_macro("rating", "turns", turns, SPEAKERS)
    assert "Instruction" in made and 'class="rendered"' in made and 'class="raw"' in made
    assert "&#34;&lt;x" in made and "<x" not in made


def test_no_text_closes_an_attribute_of_a_template() -> None:
    shown = render_macro("sign_in", "sign_in", "", '"><script>')
    assert 'value="&#34;&gt;&lt;script&gt;"' in shown


def test_lines_that_are_aligned_are_a_table() -> None:
    shown = mathml(r"\begin{aligned} a &= b + c \\ d &= e \end{aligned}", "block")
    assert shown is not None and shown.count("<mtr>") == 2 and "&" not in shown
    assert mathml(r"a & b", "inline") is None


def test_a_functions_name_keeps_its_distance() -> None:
    assert 'log</mi><mspace width="0.167em"></mspace><mi>n' in str(mathml(r"\log n", "inline"))
    assert "mspace" not in str(mathml(r"\log(n)", "inline"))
