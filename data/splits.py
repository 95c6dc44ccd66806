"""Train, validation and test by hash of the prompt: a prompt is never on two sides.

The split depends on the prompt alone, so it is the same in every run, on every machine, and for
every new completion or judgement of that prompt. Test prompts are seen by nothing but the final
evaluation of a policy.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from data.schema import Document, Prompt

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.2
DOCUMENT_VALIDATION_SHARE = 0.1


def split_of(prompt: Prompt) -> Split:
    """Which side a prompt is on: 65% train, 15% validation, 20% test."""
    u = _place_of(prompt.id)
    if u < TEST_SHARE:
        return "test"
    return "validation" if u < TEST_SHARE + VALIDATION_SHARE else "train"


def side_of(document: Document) -> Literal["train", "validation"]:
    """Which side a document is on: 90% train, 10% validation. No test reads documents."""
    return "validation" if _place_of(document.id) < DOCUMENT_VALIDATION_SHARE else "train"


def _place_of(content_id: str) -> float:
    """A number from 0 to 1 that only the content decides."""
    digest = hashlib.sha256(b"split:" + content_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
