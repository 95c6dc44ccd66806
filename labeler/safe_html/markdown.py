"""Untrusted text (prompts, completions, logs) to HTML that can do nothing but be read.

Model output is Markdown as often as not, and can carry anything. Raw HTML in it is shown as the
text it is; what Markdown itself makes goes through an allowlist without style, id, forms, buttons
or images, so nothing can leave its card, imitate a control or fetch from outside. Formulas and
colours of code are made here, before that gate, of tags and classes it lets through by name. What
would take too long is shown as plain text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from time import thread_time
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt

from labeler.safe_html import highlighting, html_preview, latex
from labeler.safe_html.hidden_text import box, count_hidden, raw, rest_note, whole

__all__ = ["escape", "markdown", "prose", "raw", "turns"]

LONGEST = 60_000
"""Characters of one text that are rendered; the rest is counted in a note."""
SECONDS = 0.4
"""Processor time for one text; past that it is shown plain."""
LONGEST_HTML = 2_000_000
"""Characters of HTML that one text may turn into."""
MOST_TAGS = 12_000
"""Tags, closing ones included: more of them take a browser seconds to lay out."""
LONGEST_KEPT = 8_000
"""Characters of a text whose HTML is kept for the next person who gets it."""

TAGS = latex.TAGS | {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre"),
    *("blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "span"),
}
ATTRIBUTES = latex.ATTRIBUTES | {"*": set(), "a": {"href"}, "ol": {"start"}}
SIDES = {"left", "right", "center"}
CLASSES = {"span": highlighting.CLASSES | {"image-note"}}
SCHEMES = {"http", "https", "mailto"}
LINK = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
NAMES = {"user": "Person", "assistant": "Model, earlier", "system": "Instruction"}


def escape(text: object) -> str:
    """Text as HTML text, safe inside an element or a quoted attribute."""
    return html.escape(str(text), quote=True)


def markdown(text: str) -> str:
    """Untrusted Markdown as safe HTML. Images become a note; links open elsewhere."""
    return _rendered(whole(text[:LONGEST]))[0] + rest_note(len(text) - LONGEST)


def prose(text: str) -> str:
    """A completion's text inside the box that holds it in place, and what there is to say of it."""
    return _kept_box(text) if len(text) <= LONGEST_KEPT else _box(text)


def _box(text: str) -> str:
    if not text.strip():
        return '<div class="text" dir="auto"><p class="mute">(empty)</p></div>'
    inner, pages = _rendered(whole(text[:LONGEST]))
    rest = rest_note(len(text) - LONGEST)
    return (
        f'<div class="text" dir="auto">{inner}{rest}</div>'
        f"{_hidden_note(text)}{html_preview.frames(pages)}"
    )


_kept_box = lru_cache(maxsize=512)(_box)


def turns(messages: Sequence[Any]) -> str:
    """All turns of a prompt with their roles, rendered and as they are."""
    return "".join(
        f'<div class="turn"><div class="role">{escape(NAMES.get(m.role, m.role))}</div>'
        f'<div class="rendered">{prose(m.content)}</div>'
        f'<div class="raw">{raw(m.content)}</div></div>'
        for m in messages
    )


def _rendered(text: str) -> tuple[str, list[str]]:
    """Safe HTML, and the HTML pages that the text holds; plain text if rendering fails."""
    env: dict[str, Any] = {"until": thread_time() + SECONDS, "pages": []}
    try:
        if html_preview.is_document(text):
            made = _code(text, "html", env)
        else:
            made = _parser().render(text, env)
        if len(made) > LONGEST_HTML or made.count("<") > MOST_TAGS:
            return _plain(text), []
        return _gate(made), env["pages"]
    except Exception:  # whatever a parser stumbles over, the text is shown
        return _plain(text), []


def _gate(made: str) -> str:
    """What all HTML of ours passes, whatever made it."""
    return nh3.clean(
        made,
        tags=TAGS,
        attributes=ATTRIBUTES,
        tag_attribute_values={"td": {"align": SIDES}, "th": {"align": SIDES}},
        allowed_classes=CLASSES,
        url_schemes=SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _plain(text: str) -> str:
    return '<p class="mute">(shown as plain text: rendering it would take too long)</p>' + box(
        escape(text)
    )


def _hidden_note(text: str) -> str:
    hidden = count_hidden(text)
    if not hidden:
        return ""
    words = "1 hidden character" if hidden == 1 else f"{hidden:,} hidden characters"
    return f'<p class="hidden-note">{words}: Raw shows where.</p>'


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    latex.add_formulas(parser)
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", "budget", _within_budget, {"alt": everywhere})
    parser.inline.ruler.before("text", "budget", _within_budget)
    parser.validateLink = _is_whole  # type: ignore[method-assign]
    parser.normalizeLinkText = _as_it_is  # type: ignore[method-assign]
    for name in ("td_open", "th_open"):
        parser.add_render_rule(name, _cell)
    for name in ("link_open", "link_close"):
        parser.add_render_rule(name, _link)
    parser.add_render_rule("image", _image_note)
    parser.add_render_rule("fence", _fence)
    parser.render(
        "a\n\n- b", {"until": float("inf")}
    )  # its rules are gathered before threads share it
    return parser


def _is_whole(url: str) -> bool:
    """Whether an address says all of where it leads; others would lead into this app."""
    return bool(LINK.fullmatch(url))


def _as_it_is(link: str) -> str:
    """An address as text, not made prettier: look-alike letters stay spelled out."""
    return link


def _within_budget(state: Any, *_: Any) -> bool:
    """A rule that fits nothing: it stops a text that keeps the others busy."""
    if thread_time() > state.env["until"]:
        raise TimeoutError
    return False


def _fence(_renderer: Any, tokens: Sequence[Any], index: int, _options: Any, env: Any) -> str:
    token = tokens[index]
    return _code(token.content, (token.info.split() or [""])[0], env)


def _code(code: str, language: str, env: Any) -> str:
    if language.lower() in ("html", "xhtml", "svg"):
        env["pages"].append(code)
    return f"<pre><code>{highlighting.coloured(code, language, env['until'])}</code></pre>\n"


def _cell(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    """A table's cell; its side as an attribute, for styles do not pass."""
    token = tokens[index]
    side = str(token.attrs.pop("style", "")).removeprefix("text-align:")
    if side in SIDES:
        token.attrs["align"] = side
    return str(renderer.renderToken(tokens, index, options, env))


def _link(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    env["in_link"] = tokens[index].nesting == 1
    return str(renderer.renderToken(tokens, index, options, env))


def _image_note(renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
    """What the image is said to show, and where it would come from: that opens on a click."""
    token = tokens[index]
    about = renderer.renderInlineAsText(token.children, options, env).strip()
    address = str(token.attrGet("src") or "")
    where = escape(urlsplit(address).netloc or "no address")
    if address and not env.get("in_link"):
        where = f'<a href="{escape(address)}">{where}</a>'
    said = f": {escape(about)}" if about else ""
    return f'<span class="image-note">image not shown{said} (from {where})</span>'
