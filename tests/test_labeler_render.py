"""Untrusted text is shown and can do nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.render_html import ATTRIBUTES, LONGEST, TAGS, escape, markdown, prose

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<style>body{display:none}</style>",
    '<div style="position:fixed;inset:0;z-index:9999">gone</div>',
    '<form action="https://evil.example"><input type=password name=p></form>',
    '<button id="press-pairwise-a">A is better</button>',
    '<a id="task" data-token="x" href="https://evil.example">x</a>',
    '<iframe src="https://evil.example"></iframe>',
    "<svg/onload=alert(1)>",
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    "<base href=https://evil.example>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[click](vbscript:msgbox)",
    "![beacon](https://evil.example/pixel.png)",
    '![x](https://evil.example/a.png "t" onerror=alert(1))',
    '<https://evil.example/"onmouseover=alert(1)>',
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "`<script>`",
    "| a |\n|---|\n| <img src=x> |",
    "<details open ontoggle=alert(1)>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[x]: javascript:alert(1)\n[x]",
    "${alert(1)} {{alert(1)}} {@html 1}",
    "> > > > " * 200 + "deep",
    "[" * 3000 + "](" * 3000,
]


class Reader(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    for tag, attributes in reader.seen:
        if tag == "p" and attributes.get("class") == "mute":
            continue  # the note about what was left out is ours
        assert tag in TAGS
        allowed = ATTRIBUTES.get(tag, set()) | ({"rel", "target"} if tag == "a" else set())
        assert set(attributes) <= allowed
        assert re.match(r"(https?:|mailto:|/|#|$)", attributes.get("href") or "") or (
            ":" not in (attributes.get("href") or "").split("/")[0]
        )
        if tag == "a":
            assert attributes.get("target") == "_blank"
            assert "noopener" in (attributes.get("rel") or "")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_harmless(text: str) -> None:
    assert_harmless(markdown(text))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("<>[]()!`*_|#&;\"'=/: \nabjs")), max_size=120))
def test_any_text_is_harmless(text: str) -> None:
    assert_harmless(markdown(text))


def test_raw_html_is_shown_as_the_text_it_is() -> None:
    assert "&lt;b&gt;bold&lt;/b&gt;" in markdown("<b>bold</b>")


def test_markdown_is_rendered() -> None:
    html = markdown("**bold**\n\n- one\n- two\n\n| a |\n|---|\n| 1 |\n\n```py\nx<1\n```")
    for part in ("<strong>bold</strong>", "<li>one</li>", "<td>1</td>", "x&lt;1"):
        assert part in html


def test_an_image_becomes_a_note() -> None:
    html = markdown("![a cat](https://evil.example/cat.png)")
    assert "<img" not in html
    assert "[image not shown: a cat, https://evil.example/cat.png]" in html


def test_a_very_long_text_is_cut_and_says_so() -> None:
    assert "(7 more characters not shown)" in markdown("x" * (LONGEST + 7))


def test_an_empty_answer_says_so() -> None:
    assert "(empty)" in prose("  ")


def test_escape_closes_no_attribute() -> None:
    assert escape('"><script>') == "&quot;&gt;&lt;script&gt;"
