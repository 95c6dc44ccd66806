"""What these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase


@pytest.fixture
def tiny_tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    """A tokenizer to change."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_model)
    return tokenizer
