"""Gradio, imported in half the time.

At each import Gradio goes through its own sources, to write beside them the .pyi files that its
package has brought along already; a server may not even be allowed to write there.
"""

from __future__ import annotations

import inspect
from typing import Any

_file_of = inspect.getfile


def _file_of_no_class(thing: Any) -> str:
    """As inspect's own, but no class has a file: Gradio has nothing to write a .pyi beside."""
    if isinstance(thing, type):
        raise OSError("not looked for")
    return _file_of(thing)


inspect.getfile = _file_of_no_class  # type: ignore[assignment]
try:
    import gradio as gr
finally:
    inspect.getfile = _file_of

__all__ = ["gr"]
