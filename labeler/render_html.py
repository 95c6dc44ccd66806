"""Untrusted text (prompts, completions, logs) to HTML that can do nothing but be read.

Model output is Markdown as often as not, and can carry anything. Raw HTML in it is shown as the
text it is; what Markdown itself makes goes through an allowlist without style, class, id, forms,
buttons or images, so nothing can leave its card, imitate a control or fetch from outside.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from typing import Any

import nh3
from markdown_it import MarkdownIt

LONGEST = 60_000
"""Characters of one text that are rendered; the rest is counted in a note."""

TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre"),
    *("blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a"),
}
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}


def escape(text: object) -> str:
    """Text as HTML text, safe inside an element or a quoted attribute."""
    return html.escape(str(text), quote=True)


def markdown(text: str) -> str:
    """Untrusted Markdown as safe HTML. Images become a text note; links open elsewhere."""
    shown = text[:LONGEST]
    clean = nh3.clean(
        _parser().render(shown),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return clean + _rest_note(len(text) - len(shown))


def prose(text: str) -> str:
    """A completion's text inside the box that holds it in place."""
    inner = markdown(text) if text.strip() else '<p class="mute">(empty)</p>'
    return f'<div class="text" dir="auto">{inner}</div>'


def turns(messages: Sequence[Any]) -> str:
    """All turns of a prompt with their roles."""
    names = {"user": "Person", "assistant": "Model, earlier", "system": "Instruction"}
    return "".join(
        f'<div class="turn"><div class="role">{escape(names.get(m.role, m.role))}</div>'
        f"{prose(m.content)}</div>"
        for m in messages
    )


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image_note)
    return parser


def _image_note(_renderer: Any, tokens: Sequence[Any], index: int, _o: Any, _e: Any) -> str:
    token = tokens[index]
    about = token.content or "no description"
    return f"[image not shown: {escape(about)}, {escape(token.attrGet('src') or '')}]"


def _rest_note(left_out: int) -> str:
    if left_out <= 0:
        return ""
    return f'<p class="mute">({left_out:,} more characters not shown)</p>'
