"""Colours for a fenced block of code: spans of a few classes of ours around escaped text.

Only languages whose tokeniser stays quick on hostile input are coloured; the rest, and what is too
long, stays plain. tests/labeler/safe_html/test_safe_html.py measures that.
"""

from __future__ import annotations

import html
from functools import cache
from itertools import groupby
from time import thread_time

LONGEST = 8_000
"""Characters of one block that are coloured."""
_NAMES = {
    "python": "py python3",
    "javascript": "js jsx node",
    "typescript": "ts tsx",
    "bash": "sh shell zsh console",
    "cpp": "c++ cxx cc",
    "csharp": "c# cs",
    "html": "xhtml htm",
    "xml": "svg",
    "yaml": "yml",
    "rust": "rs",
    "ruby": "rb",
    "kotlin": "kt",
    "docker": "dockerfile",
    "make": "makefile",
    "latex": "tex",
    **dict.fromkeys("c java go php sql css json toml diff swift scala lua r haskell".split(), ""),
}
LANGUAGES = {name: known for known, more in _NAMES.items() for name in (known, *more.split())}
"""Name behind a fence -> tokeniser."""

# Class -> the token types that have it, their subtypes included.
_TYPES = {
    "hl-c": "Comment Generic.Heading Generic.Subheading",
    "hl-k": "Keyword Operator.Word Name.Tag",
    "hl-s": "Literal.String",
    "hl-n": "Literal.Number",
    "hl-f": "Name.Function Name.Class Name.Attribute",
    "hl-b": "Name.Builtin Name.Decorator",
    "hl-i": "Generic.Inserted",
    "hl-d": "Generic.Deleted",
}
_CLASSES = {f"Token.{kind}": klass for klass, kinds in _TYPES.items() for kind in kinds.split()}
CLASSES = set(_TYPES)


def coloured(code: str, language: str, until: float) -> str:
    """Code as HTML: escaped text, in spans where the language is known.

    `until` is this thread's processor time at which it stays plain instead.
    """
    name = LANGUAGES.get(language.strip().lower())
    if name is None or len(code) > LONGEST:
        return html.escape(code)
    return "".join(
        f'<span class="{klass}">{html.escape(text)}</span>' if klass else html.escape(text)
        for klass, text in _token_runs(code, name, until)
    )


@cache
def _class_of(kind: str) -> str:
    return next((klass for start, klass in _CLASSES.items() if kind.startswith(start)), "")


def _token_runs(code: str, name: str, until: float) -> list[tuple[str, str]]:
    """Neighbouring tokens of one class together; one plain piece if it takes too long."""
    from pygments.lexers import get_lexer_by_name

    options = {"startinline": True} if name == "php" else {}
    lexer = get_lexer_by_name(name, stripnl=False, ensurenl=False, **options)
    tokens = []
    for _, kind, text in lexer.get_tokens_unprocessed(code):
        tokens.append((_class_of(str(kind)), text))
        if thread_time() > until:
            return [("", code)]
    return [(k, "".join(text for _, text in run)) for k, run in groupby(tokens, lambda t: t[0])]
