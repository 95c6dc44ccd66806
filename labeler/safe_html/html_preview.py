"""HTML that a model wrote, shown as the page it describes: a picture in a frame.

Four locks, each enough for most of it: the markup goes through an allowlist without scripts, links,
refreshes or addresses; the frame is sandboxed with no permission; its own content policy forbids
every fetch; and it takes no pointer and no keys. It loads when somebody opens it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import nh3

MOST = 3
"""Pages of one text that can be shown."""
LONGEST = 40_000
"""Characters of one page that can be shown."""
MOST_TAGS = 5_000

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
TAGS = set(
    "a abbr address article aside b bdi bdo big blockquote br button caption center cite code col"
    " colgroup dd del details dfn div dl dt em fieldset figcaption figure font footer form h1 h2 h3"
    " h4 h5 h6 header hgroup hr i input ins kbd label legend li main mark meter nav ol optgroup"
    " option output p pre progress q s samp search section select small span strike strong style"
    " sub summary sup table tbody td textarea tfoot th thead time tr tt u ul var wbr"
    " svg g path circle ellipse line polyline polygon rect text tspan defs linearGradient"
    " radialGradient stop desc".split()
)
DROPPED = {"script", "noscript", "template", "title", "noembed", "noframes"}
ATTRIBUTES = {
    "*": set(
        "class id style dir lang align valign width height colspan rowspan bgcolor color border"
        " cellpadding cellspacing start value placeholder checked disabled open size rows cols"
        " min max hidden role viewBox fill stroke stroke-width stroke-linecap stroke-linejoin"
        " opacity d cx cy r rx ry x y x1 y1 x2 y2 points transform offset stop-color text-anchor"
        " font-size font-family font-weight gradientUnits preserveAspectRatio".split()
    )
}
INPUTS = {"text", "checkbox", "radio", "range", "number", "search", "email", "button", "submit"}
_DOCUMENT = re.compile(r"\s*(?:<!doctype html|<html[\s>])", re.IGNORECASE)


def is_document(text: str) -> bool:
    """Whether a whole text is an HTML document."""
    return bool(_DOCUMENT.match(text))


def frames(pages: Sequence[str]) -> str:
    """One closed fold for each page of a text."""
    shown = [page for page in pages if _showable(page)][:MOST]
    return "".join(
        f'<details class="as-page"><summary>Show as a page{f" ({n})" if len(shown) > 1 else ""}'
        f"</summary>{_frame(page)}</details>"
        for n, page in enumerate(shown, 1)
    )


def inert(page: str) -> str:
    """The page's markup with nothing in it that acts or fetches."""
    return nh3.clean(
        page,
        tags=TAGS,
        clean_content_tags=DROPPED,
        attributes=ATTRIBUTES,
        tag_attribute_values={"input": {"type": INPUTS}},
        link_rel=None,
        url_schemes=set(),
    )


def _showable(page: str) -> bool:
    return "<" in page and len(page) <= LONGEST and page.count("<") <= MOST_TAGS


def _frame(page: str) -> str:
    document = (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta http-equiv="x-dns-prefetch-control" content="off">'
        f"<body>{inert(page)}</body>"
    )
    return (
        '<div class="page-window"><iframe sandbox="" loading="lazy" referrerpolicy="no-referrer"'
        f' tabindex="-1" title="the answer as a page" srcdoc="{html.escape(document)}"></iframe>'
        "</div>"
    )
