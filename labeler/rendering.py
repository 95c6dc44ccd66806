"""HTML of this package: the templates' macros, and the filters for text and numbers in them.

Whatever is filled in is escaped, but for what safe_html has made harmless already.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from data.html_templates import environment
from data.settings import disk_message
from labeler.safe_html.hidden_text import count_hidden, raw
from labeler.safe_html.markdown import markdown, prose


def render_macro(template: str, macro: str, *values: object) -> Markup:
    """A macro of templates/TEMPLATE.html, filled in: HTML that can be put into other HTML."""
    module = _labeler_templates().get_template(f"{template}.html").module
    return Markup(str(getattr(module, macro)(*values)).strip())


@cache
def _labeler_templates() -> Environment:
    made = environment("labeler")
    made.filters |= {"number": plain_number, "short": short}
    made.filters |= {"raw": lambda text, share=1.0: Markup(raw(text, share))}
    made.filters |= {"prose": lambda text, share=1.0: Markup(prose(text, share))}
    made.filters |= {"count_hidden": count_hidden}
    made.filters |= {"markdown": lambda text: Markup(markdown(text))}
    return made


def note(text: str, bad: bool = False) -> Markup:
    """One line about what a press did; nothing for no text."""
    return render_macro("parts", "note", text, bad)


def heading(title: str, about: str = "") -> Markup:
    """What a card begins with: its title, and a line on what it is for."""
    return render_macro("parts", "heading", title, about)


def refusal(error: Exception) -> Markup:
    """A press that did nothing, and why, in one line."""
    return note(as_sentence(disk_message(error) if isinstance(error, OSError) else error), True)


def as_sentence(error: Exception | str) -> str:
    """An error's first line, or its name, with a capital and a full stop."""
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def plain_number(value: object) -> str:
    """A plain number, fractions to two places; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def short(value: object) -> str:
    """A number of any size in three digits; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
