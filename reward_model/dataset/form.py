"""How long a text is and how it is laid out: what people may like of it beside what it says.

A reward that learned such a taste is easily pleased: a policy writes longer, or in lists. As
covariates of the fit, length and layout explain what they can of the judgements, and are then left
out of the reward (length-controlled win rates: Y. Dubois et al. 2024, arXiv:2404.04475; style
control: T. Li et al. 2024, "Does style matter?", LMSYS).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from data.stats.intervals import Floats

FORM = ("words", "lists", "headings", "bold")
"""What `form_of` counts: words, items of lists, headings, spans in bold."""
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_COUNTED = (
    re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE),
    re.compile(r"^ {0,3}#{1,6}[ \t]+\S", re.MULTILINE),
    re.compile(r"\*\*[^\s*][^*\n]*\*\*"),
)


def form_of(texts: Sequence[str]) -> Floats:
    """log(1 + count) of each of FORM in texts, (N, 4). Code is no layout: of it words count."""
    counts = [[len(text.split()), *_layout(text)] for text in texts]
    return np.asarray(np.log1p(np.array(counts, float).reshape(-1, len(FORM))))


def _layout(text: str) -> list[int]:
    prose = _CODE.sub("", text)
    return [len(pattern.findall(prose)) for pattern in _COUNTED]
