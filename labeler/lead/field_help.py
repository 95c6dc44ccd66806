"""The docstring under a settings field, for the page: the same words as the command's --help."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any


def field_help(settings: type[Any], name: str) -> str:
    """What a settings field does, in one paragraph. Raises KeyError for an unknown field."""
    for cls in settings.__mro__:
        if dataclasses.is_dataclass(cls) and name in _docstrings(cls):
            return _docstrings(cls)[name]
    raise KeyError(f"{settings.__name__}.{name} has no docstring")


@cache
def _docstrings(cls: type[Any]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found
