"""HTML that was made once is kept for whoever is shown the same text next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import Concatenate, ParamSpec

MOST_KEPT = 64_000_000
"""Characters of HTML that are kept for one function; what was asked for longest ago goes first."""
P = ParamSpec("P")


def kept(
    make: Callable[Concatenate[str, P], str], most: int = MOST_KEPT
) -> Callable[Concatenate[str, P], str]:
    """The same function, which makes each text once. Texts are known by their hash, so that a
    long one is not kept beside its HTML."""
    there: OrderedDict[object, str] = OrderedDict()
    lock = threading.Lock()
    total = 0

    @wraps(make)
    def found(text: str, /, *args: P.args, **kwargs: P.kwargs) -> str:
        nonlocal total
        raw = text.encode("utf-8", "surrogatepass")
        key = blake2b(raw, digest_size=16).digest(), args, *sorted(kwargs.items())
        with lock:
            if key in there:
                there.move_to_end(key)
                return there[key]
        html = make(text, *args, **kwargs)
        with lock:
            if key not in there:
                there[key] = html
                total += len(html)
            while total > most:
                total -= len(there.popitem(last=False)[1])
        return html

    return found
