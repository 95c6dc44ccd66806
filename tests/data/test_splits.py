"""Train, validation, test: by the prompt alone, for good."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from data.schema import make_prompt
from data.splits import SPLITS, split_of


@given(st.text(min_size=1).filter(str.strip), st.lists(st.text(), max_size=3))
def test_tags_and_ids_do_not_move_a_prompt(text: str, tags: list[str]) -> None:
    assert split_of(make_prompt(text)) == split_of(make_prompt(text, tags, "ext"))


def test_shares_are_as_stated() -> None:
    n = 20_000
    counts = Counter(split_of(make_prompt(f"question {i}")) for i in range(n))
    for split, share in zip(SPLITS, (0.65, 0.15, 0.2), strict=True):
        assert abs(counts[split] / n - share) < 0.015  # four standard errors


def test_a_prompt_stays_where_it_was() -> None:
    """Moving one would let a model be tested on what an earlier one was trained on."""
    where = [split_of(make_prompt(f"question {i}")) for i in range(6)]
    assert where == ["train", "train", "train", "test", "train", "test"]
