r"""LaTeX between `$..$`, `$$..$$`, `\(..\)` and `\[..\]` as MathML; dollars that are money stay so.

The converter's result is not printed but walked: only the tags and attributes below come out, and
every text in it is escaped. What cannot be converted, or is too large, is shown as its source.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import MutableMapping, Sequence
from time import thread_time
from typing import Any
from xml.etree.ElementTree import Element

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

Tokens = Sequence[Token]
Env = MutableMapping[str, Any]
"""What the rules of one text share: "until", the processor time at which they give up."""
LONGEST = 3_000
"""Characters of one formula that is converted."""
REACH = 20_000
"""Characters that are searched for a formula's end."""
MOST_NODES = 4_000
DEEPEST = 60

TAGS = set(
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover"
    " mtable mtr mtd mstyle mpadded mphantom mmultiscripts mprescripts none menclose".split()
)
_FLAG = r"true|false"
_LENGTH = r"[+-]?(?:[01](?:\.\d{1,4})?|2(?:\.0{1,4})?|\.\d{1,4}|0)(?:em|ex)|0(?:px)?"
_VALUES = {
    ("math", "display"): "block|inline",
    **{("mo", name): _FLAG for name in ("stretchy", "fence", "separator", "largeop")},
    **{("mo", name): _FLAG for name in ("movablelimits", "accent")},
    **{("mo", name): r"[0-3](?:\.\d{1,4})?em" for name in ("minsize", "maxsize")},
    ("mo", "form"): "prefix|infix|postfix",
    ("mi", "mathvariant"): "normal",
    ("mfrac", "linethickness"): "0",
    ("mspace", "width"): _LENGTH,
    ("mpadded", "width"): "0(?:px)?",
    ("mstyle", "displaystyle"): _FLAG,
    ("mstyle", "scriptlevel"): "[0-2]",
    ("mover", "accent"): _FLAG,
    ("munder", "accentunder"): _FLAG,
    ("mtd", "columnalign"): "left|right|center",
}
ATTRIBUTES = {tag: {name for t, name in _VALUES if t == tag} for tag, _ in _VALUES}
_PARTS = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
_CLOSERS = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_SINGLE = re.compile(
    r"""(?<![\w$])\$(?=[^\s$])                # no word before, no space after
    (?![^$\n]*\*\*)                          # no bold text begins or ends in it
    (?: (?=[a-zA-Z]'?\$) | (?=[^$\n`]{0,600}[\\^_=<>()+*/|]) )  # it looks like a formula
    (?P<latex>[^$\n`]{1,600}+)
    (?<![\s\\(\[{])\$(?![\w$({])             # no space or bracket before, no word after""",
    re.VERBOSE,
)


_STARRED = re.compile(r"\\(begin|end)\{(align|gather)ed\}")  # the converter knows these by a star
_FUNCTIONS = frozenset(
    "arccos arcsin arctan cos cosh cot det exp gcd inf lim ln log max min sin sinh sup tan".split()
)
_APPLIED = ("mi", "mn", "msup", "msub", "mfrac", "msqrt")
_THIN = '<mspace width="0.167em"></mspace>'


class _NoMacros(dict[str, tuple[list[str], int]]):
    """A formula that defines macros is not expanded: a few lines can stand for a billion."""

    def __setitem__(self, name: str, _body: object) -> None:
        raise ValueError(f"{name} is not expanded")


def add_formulas(parser: MarkdownIt) -> None:
    """Teach a Markdown parser the pairs of delimiters."""
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("fence", "formula", _block_rule, {"alt": interrupts})
    parser.inline.ruler.before("escape", "formula", _inline_rule)
    parser.add_render_rule("formula", _render_formula)
    parser.add_render_rule("formula_block", _render_block)


def mathml(latex: str, display: str, until: float = math.inf) -> str | None:
    """A formula as MathML; None if it cannot be converted, is too large, or comes too late.

    `until` is this thread's processor time up to which there is time for it.
    """
    from latex2mathml.converter import Converter

    if thread_time() > until or len(latex) > LONGEST or _nesting_depth(latex) > DEEPEST:
        return None
    converter = Converter(display=display)
    converter.macros = _NoMacros()
    try:
        return _Walk().walk(converter.convert_to_element(_STARRED.sub(r"\\\1{\2*}", latex)))
    except Exception:  # the converter raises all sorts on malformed input, RecursionError included
        return None


class _Walk:
    """From the converter's tree to a string, counting nodes."""

    def __init__(self) -> None:
        self.nodes = 0

    def walk(self, element: Element) -> str:
        self.nodes += 1
        if self.nodes > MOST_NODES or element.tag not in TAGS:
            raise ValueError(f"{element.tag} is not shown")
        text = html.unescape(element.text or "")
        if re.match(r"\\\w", text) or text == "&":
            raise ValueError(f"{text} is not known")
        if len(element) != _PARTS.get(element.tag, len(element)):
            raise ValueError(f"{element.tag} lacks a part")
        inside = "".join(map(self._walk_with_space, element, [*element[1:], None]))
        kept = ""
        for name, value in element.items():
            allowed = _VALUES.get((element.tag, name))
            if allowed and re.fullmatch(allowed, value):
                kept += f' {name}="{value}"'
            elif (element.tag, name) == ("mspace", "width") or name == "mathbackground":
                raise ValueError(f"{name}={value} is not drawn")
        return f"<{element.tag}{kept}>{html.escape(text)}{inside}</{element.tag}>"

    def _walk_with_space(self, element: Element, after: Element | None) -> str:
        """A function's name keeps its distance from what it is applied to."""
        name = element.tag == "mi" and element.text in _FUNCTIONS
        apart = name and after is not None and after.tag in _APPLIED
        return self.walk(element) + (_THIN if apart else "")


def _nesting_depth(latex: str) -> int:
    r"""How deep braces, \left and \begin nest."""
    depth = deepest = 0
    for found in re.finditer(r"(\{|\\left\b|\\begin\b)|(\}|\\right\b|\\end\b)", latex):
        depth += 1 if found[1] else -1
        deepest = max(deepest, depth)
    return deepest


def _inline_rule(state: StateInline, silent: bool) -> bool:
    opener = state.src[state.pos : state.pos + 2]
    if opener in ("$$", r"\(", r"\["):
        start = state.pos + 2
        end = state.src.find(_CLOSERS[opener], start, min(state.posMax, start + REACH))
        content, after = state.src[start : max(end, start)], end + 2
    elif found := _SINGLE.match(state.src, state.pos, state.posMax):
        opener, content, after = "$", found["latex"], found.end()
    else:
        return False
    if not content.strip():
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content, token.markup = content, opener
    state.pos = after
    return True


def _block_rule(state: StateBlock, first: int, end_line: int, silent: bool) -> bool:
    r"""A formula that begins a line with `$$` or `\[` and ends one, some lines on."""
    if state.is_code_block(first):
        return False
    start = state.bMarks[first] + state.tShift[first]
    opener = state.src[start : start + 2]
    if opener not in ("$$", r"\["):
        return False
    end = state.src.find(_CLOSERS[opener], start + 2, start + 2 + REACH)
    if end < 0:
        return False
    last = first
    while last < end_line and state.eMarks[last] < end:
        last += 1
        if last == end_line or state.sCount[last] < state.blkIndent or state.isEmpty(last):
            return False
    if state.src[end + 2 : state.eMarks[last]].strip():
        return False
    lines = state.getLines(first, last + 1, state.tShift[first], False).strip()
    latex = lines[2:-2].strip()
    if not latex:
        return False
    if not silent:
        state.line = last + 1
        token = state.push("formula_block", "", 0)
        token.content, token.markup, token.map = latex, opener, [first, state.line]
    return True


def _render_formula(
    _renderer: object, tokens: Tokens, index: int, _options: object, env: Env
) -> str:
    token = tokens[index]
    display = "inline" if token.markup in ("$", r"\(") else "block"
    source = token.markup + token.content + _CLOSERS[token.markup]
    converted = mathml(token.content.strip(), display, env["until"])
    if converted or token.markup != "$":
        return converted or f"<code>{html.escape(source)}</code>"
    return html.escape(source)


def _render_block(_renderer: object, tokens: Tokens, index: int, _options: object, env: Env) -> str:
    token = tokens[index]
    converted = mathml(token.content, "block", env["until"])
    if converted:
        return f"<p>{converted}</p>\n"
    source = f"{token.markup}\n{token.content}\n{_CLOSERS[token.markup]}"
    return f"<pre><code>{html.escape(source)}</code></pre>\n"
