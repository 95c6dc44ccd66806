"""Judgements that cannot carry an objective are refused in one line that says what to do."""

from __future__ import annotations

import pytest

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from reward_model.dataset.examples import collect
from reward_model.dataset.sufficiency import require_enough

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(60)]


def pairs(n, value="a"):
    made = []
    for i in range(n):
        task = Task("pairwise", Completion(PROMPTS[i], "one"), Completion(PROMPTS[i], "two"))
        made.append(Judgement(i, task, "ann", Answer(value), "a", ""))
    return made


def absolute(n, kind, values):
    return [
        Judgement(
            i,
            Task(kind, Completion(PROMPTS[i], "x")),
            "ann",
            Answer(values[i % len(values)]),
            None,
            "",
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "judgements", "words"),
    [
        ("joint", [], "no judgements for objective joint"),
        ("bradley_terry", [], "no comparisons"),
        ("bradley_terry", absolute(30, "scalar", ["3", "8"]), "or use --objective joint"),
        ("bradley_terry", pairs(19), "19 comparisons .* collect 1 more"),
        ("bradley_terry", pairs(40, "tie"), r"all 40 comparisons say the same \(ties\)"),
        ("joint", pairs(40, "tie"), "all 40 judgements say the same"),
        ("regression", pairs(40), "no 1-10 ratings"),
        ("regression", absolute(5, "scalar", ["3", "4"]), "5 1-10 ratings .* collect 15 more"),
        ("regression", absolute(40, "scalar", ["3"]), r"say the same \(3 of 10\)"),
        ("binary", absolute(40, "scalar", ["3", "9"]), "no good-or-bad judgements"),
        ("binary", absolute(40, "binary", ["bad"]), r"say the same \(bad\)"),
        ("joint", absolute(12, "binary", ["bad", "good"]), "collect 8 more"),
    ],
)
def test_too_little_to_learn_from_is_refused(objective, judgements, words):
    with pytest.raises(ValueError, match=words) as refusal:
        require_enough(objective, collect(judgements))
    assert "\n" not in str(refusal.value)


def test_joint_counts_all_kinds_together():
    judgements = (
        pairs(8) + absolute(7, "scalar", ["3", "8"]) + absolute(7, "binary", ["good", "bad"])
    )
    require_enough("joint", collect(judgements))
    with pytest.raises(ValueError, match="8 comparisons"):
        require_enough("bradley_terry", collect(judgements))


def test_it_says_where():
    with pytest.raises(ValueError, match="3 comparisons of training prompts"):
        require_enough("bradley_terry", collect(pairs(3)), " of training prompts")
