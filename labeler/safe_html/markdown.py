"""Untrusted text (prompts, completions, logs) to HTML that can do nothing but be read.

Model output is Markdown as often as not, and can carry anything. Raw HTML in it is shown as the
text it is; what Markdown itself makes goes through an allowlist without style, id, forms, buttons
or images, so nothing can leave its card, imitate a control or fetch from outside. Formulas and
colours of code are made here, before that gate, of tags and classes it lets through by name. What
would take too long is shown as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from html import escape
from time import thread_time
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.utils import OptionsDict

from labeler.safe_html import highlighting, latex
from labeler.safe_html.hidden_text import NO_TEXT, box, count_hidden, rest_note, whole
from labeler.safe_html.kept import kept
from labeler.safe_html.latex import Env, Tokens
from labeler.safe_html.slices import LONG_WORD, SLICE_COST, Span, cut, more, thinned

LONGEST = 60_000
"""Characters of one text that are rendered; the rest is counted in a note."""
SECONDS = 0.4
"""Processor time for one text; past that it is shown plain."""
LONGEST_HTML = 2_000_000
"""Characters of HTML that one text may turn into."""
MOST_TAGS = 2_000
"""Tags of one slice, closing ones included: more of them take a browser too long to lay out."""
DEAR = "*_`~$\\"
"""Characters that may make a tag or a formula."""
BLOCKS = "-+#>|0123456789"
"""Characters that may make a block, at a line's begin."""
MARK_COST, LINE_COST = 100.0, 300.0
"""Microseconds (see `slices`)."""
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)

TAGS = latex.TAGS | {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre"),
    *("blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "span"),
}
ATTRIBUTES = latex.ATTRIBUTES | {"*": set(), "a": {"href"}, "ol": {"start"}}
SIDES = {"left", "right", "center"}
CLASSES = {"span": highlighting.CLASSES | {"image-note"}}
SCHEMES = {"http", "https", "mailto"}
LINK = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
HTML_DOCUMENT = re.compile(r"\s*(?:<!doctype html|<html[\s>])", re.IGNORECASE)


def markdown(text: str) -> str:
    """Untrusted Markdown as safe HTML. Images become a note; links open elsewhere."""
    return more(_render_slices(text, SLICE_COST)) + rest_note(len(text) - LONGEST)


def prose(text: str, share: float = 1.0) -> str:
    """A completion's text inside the box that holds it in place, and what there is to say of it.

    In slices; `share` is how much of a usual slice one may cost.
    """
    return _make_box(text, share * SLICE_COST)


@kept
def _make_box(text: str, budget: float) -> str:
    if not text.strip():
        return f'<div class="text" dir="auto">{NO_TEXT}</div>'
    hidden = count_hidden(text)
    words = "1 hidden character" if hidden == 1 else f"{hidden:,} hidden characters"
    note = f'<p class="hidden-note">{words}: Raw shows where.</p>' if hidden else ""
    slices = _render_slices(text, budget)
    boxes = more([(f'<div class="text" dir="auto">{html}</div>', n) for html, n in slices])
    return boxes + rest_note(len(text) - LONGEST) + note


def _render_slices(text: str, budget: float) -> list[tuple[str, int]]:
    """Safe HTML of one slice after the other, and how many characters each shows.

    A block that goes on in the next slice (a list, a table) begins anew there; code stays code.
    """
    shown = thinned(whole(text[:LONGEST]))
    env: Env = {"until": thread_time() + SECONDS}
    page = "html" if HTML_DOCUMENT.match(shown) else None
    made, fence = [], ""
    for begin, end in _spans(shown, budget):
        part = shown[begin:end]
        made.append((_render_safely(fence + part, env, page), end - begin))
        fence = _open_fence(fence + part)
    return made


def _spans(text: str, budget: float) -> Iterable[Span]:
    """Where slices begin and end. Most texts are one, which a quick look tells."""
    most = len(text) + MARK_COST * sum(map(text.count, DEAR)) + LINE_COST * text.count("\n")
    longest = len(max(text.split(), key=len, default=""))
    if text.isascii() and most < budget and longest <= LONG_WORD:
        return [(0, len(text))]

    def extra(at: int) -> float:
        letter, before = text[at], text[at - 1] if at else "\n"
        if letter in DEAR:
            in_word = letter == "_" and before.isalnum() and text[at + 1 : at + 2].isalnum()
            return 0.0 if in_word or letter == before else MARK_COST
        return LINE_COST if before == "\n" and letter in BLOCKS else 0.0

    return cut(text, budget, extra)


def _open_fence(text: str) -> str:
    """The line that opens a block of code, where the text ends within one; else nothing."""
    open_line, closer = "", ""
    for line in FENCE.finditer(text):
        ticks, info = line[1], line[2].strip()
        if not closer:
            open_line, closer = line[0] + "\n", ticks
        elif ticks.startswith(closer) and not info:
            open_line, closer = "", ""
    return open_line


def _render_safely(text: str, env: Env, page: str | None) -> str:
    """Safe HTML; plain text if rendering fails or would take too long."""
    try:
        made = _render_code(text, page, env) if page else _markdown_parser().render(text, env)
        if len(made) > LONGEST_HTML or made.count("<") > MOST_TAGS:
            return _plain_text(text)
        return nh3.clean(  # what all HTML of ours passes, whatever made it
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
    except Exception:  # whatever a parser stumbles over, the text is shown
        return _plain_text(text)


def _plain_text(text: str) -> str:
    why = "(shown as plain text: rendering it would take too long)"
    return f'<p class="mute">{why}</p>{box(escape(text))}'


@cache
def _markdown_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"])
    latex.add_formulas(parser)
    everywhere = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", "budget", _within_budget, {"alt": everywhere})
    parser.inline.ruler.before("text", "budget", _within_budget)
    # An address says all of where it leads; others would lead into this app. It is not made
    # prettier: look-alike letters stay spelled out.
    parser.validateLink = lambda url: bool(LINK.fullmatch(url))  # type: ignore[method-assign]
    parser.normalizeLinkText = lambda link: link  # type: ignore[method-assign]
    for name in ("td_open", "th_open"):
        parser.add_render_rule(name, _render_cell)
    for name in ("link_open", "link_close"):
        parser.add_render_rule(name, _render_link)
    parser.add_render_rule("image", _render_image_note)
    parser.add_render_rule("fence", _render_fence)
    # Its rules are gathered before threads share it.
    parser.render("a\n\n- b", {"until": float("inf")})
    return parser


def _within_budget(state: StateBlock | StateInline, *_: object) -> bool:
    """A rule that fits nothing: it stops a text that keeps the others busy."""
    if thread_time() > state.env["until"]:
        raise TimeoutError
    return False


def _render_fence(_renderer: object, tokens: Tokens, index: int, _options: object, env: Env) -> str:
    token = tokens[index]
    return _render_code(token.content, (token.info.split() or [""])[0], env)


def _render_code(code: str, language: str, env: Env) -> str:
    return f"<pre><code>{highlighting.coloured(code, language, env['until'])}</code></pre>\n"


def _render_cell(
    renderer: RendererHTML, tokens: Tokens, index: int, options: OptionsDict, env: Env
) -> str:
    """A table's cell; its side as an attribute, for styles do not pass."""
    token = tokens[index]
    side = str(token.attrs.pop("style", "")).removeprefix("text-align:")
    if side in SIDES:
        token.attrs["align"] = side
    return str(renderer.renderToken(tokens, index, options, env))


def _render_link(
    renderer: RendererHTML, tokens: Tokens, index: int, options: OptionsDict, env: Env
) -> str:
    env["in_link"] = tokens[index].nesting == 1
    return str(renderer.renderToken(tokens, index, options, env))


def _render_image_note(
    renderer: RendererHTML, tokens: Tokens, index: int, options: OptionsDict, env: Env
) -> str:
    """What the image is said to show, and where it would come from: that opens on a click."""
    token = tokens[index]
    about = renderer.renderInlineAsText(token.children, options, env).strip()
    address = str(token.attrGet("src") or "")
    where = escape(urlsplit(address).netloc or "no address")
    if address and not env.get("in_link"):
        where = f'<a href="{escape(address)}">{where}</a>'
    said = f": {escape(about)}" if about else ""
    return f'<span class="image-note">image not shown{said} (from {where})</span>'
