"""What a question asks is read from the words of its name: merit, fault, or neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.imports.shapes.questions import Tone, tone_of
from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import (
    choice,
    load,
    record,
    studio,
    values,
    winner,
)
from tests.data.imports.shapes.test_odd_answers import PAIR, pairwise

TONES: dict[Tone, str] = {
    "fault": """dispreferred_response less_preferred not_preferred non_preferred unchosen
        not_chosen inferior lesser disliked unacceptable_response lower_quality second_best
        second_choice runner_up losing discard which_would_you_drop contradicts more_vague
        is_incomplete invalid incoherent dishonest dislike disapprove unnatural unfriendly impolite
        untrue noncompliant unsatisfying not_helpful is_not_correct not_safe non_factual low_quality
        not_following_instructions no_answer does_not_answer doesn't_answer cannot_answer
        missing_facts lacks_facts unsupported_facts fabricated_facts answer_contains_pii
        answer_is_vague answer_cut_off truncated_answer answer_evasive toxicity harmfulness
        error_severity verbosity which_is_worse loser lessPreferred isIncomplete NOT_PREFERRED
        notpreferred whichisworse useless helpless too_long thumbs_down illegal needs_correction
        helpful_or_toxic unreliable insufficient disagreeable misspelled has_typos second_place
        last_choice unsatisfactory insensitive""",
    "merit": """harmless harmlessness helpful preference better_response overall quality correctness
        factuality error_free errorfree unbiased no_errors not_toxic less_harmful free_of_errors
        flawless instruction_following which_is_better betterResponse chosen winner stars ranking
        not_incomplete answer_relevance response_quality is_correct ok reliable
        usability recommended hallucination_free""",
    "neither": """longer ai_generated label choices keep answer facts magenta debugging_help
        chat_experience pharmacy_accuracy whatever window harmony school likert helpful_length
        second_response has_address is_sensitive sentiment_positive how_sure human_like""",
}


@pytest.mark.parametrize("tone", TONES)
def test_the_words_of_a_name_say_it(tone: Tone) -> None:
    names = TONES[tone].split()
    assert {name: tone_of(name) for name in names} == dict.fromkeys(names, tone)


@pytest.mark.parametrize("name", ["", "!?", "\U0001f600", "es" * 60, "harm" + "ed" * 17 + "q"])
def test_any_name_is_read(name: str) -> None:
    assert tone_of(name) == "neither"


@pytest.mark.parametrize("name", ["dispreferred", "notChosen", "second-best", "more vague"])
@pytest.mark.parametrize("value", ["response_b", "B", ["response_b", "response_a"]])
def test_who_is_named_as_the_worse_did_not_win(
    sqlite_store: Store, tmp_path: Path, name: str, value: Any
) -> None:
    if isinstance(value, list):
        name += " ranking"
    report = load(sqlite_store, tmp_path, record({name: value}, PAIR))
    assert values(sqlite_store) == []
    (reason,) = report.left_out
    assert "=preference" in reason and "may be the worse" in reason


def test_the_remedy_for_a_name_that_is_misread(sqlite_store: Store, tmp_path: Path) -> None:
    row = record({"failsafe_errors": "response_b"}, PAIR)
    load(sqlite_store, tmp_path, row, columns={"failsafe_errors": "preference"})
    assert winner(sqlite_store) == "Navy."


@pytest.mark.parametrize(
    "row",
    [
        record({"longer": "response_b"}, PAIR),
        studio(choice("longer", "response_b"), data=PAIR),
        studio(pairwise("longer", "right"), data=PAIR),
        record({"rank_by_length": ["response_b", "response_a"]}, PAIR),
    ],
)
def test_a_comparison_of_something_else_is_told(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any]
) -> None:
    report = load(sqlite_store, tmp_path, row)
    assert winner(sqlite_store) == "Navy."
    (reason,) = report.left_out
    assert "--columns longer=" in reason or "--columns rank_by_length=" in reason


@pytest.mark.parametrize("name", ["is_incomplete", "not_helpful", "no_answer", "lacks_facts"])
def test_yes_to_a_merit_that_is_missing_is_counted(
    sqlite_store: Store, tmp_path: Path, name: str
) -> None:
    report = load(sqlite_store, tmp_path, record({name: "yes"}))
    assert values(sqlite_store) == []
    assert any("yes may mean bad" in reason for reason in report.left_out)


def test_words_that_take_their_sense_from_the_question(sqlite_store: Store, tmp_path: Path) -> None:
    report = load(sqlite_store, tmp_path, record({"toxicity": "positive"}))
    assert values(sqlite_store) == [] and len(report.left_out) == 1
    report = load(sqlite_store, tmp_path, record({"sentiment": "negative"}))
    assert values(sqlite_store) == ["bad"] and len(report.left_out) == 1
    assert load(sqlite_store, tmp_path, record({"toxicity": "good"})).left_out == {}


@pytest.mark.parametrize("name", ["toxicity", "harmfulness", "error_severity", "verbosity"])
def test_the_scale_for_all_does_not_cover_a_fault(
    sqlite_store: Store, tmp_path: Path, name: str
) -> None:
    row = record({name: 5})
    with pytest.raises(ValueError, match=f"--scale {name}=WORST..BEST"):
        load(sqlite_store, tmp_path, row, scale=["1..5"])
    load(sqlite_store, tmp_path, row, scale=["1..5", f"{name}=5..1"])
    assert values(sqlite_store) == ["1"]


def test_a_rating_of_something_unknown_is_told(sqlite_store: Store, tmp_path: Path) -> None:
    report = load(sqlite_store, tmp_path, record({"magenta": 5}), scale=["1..5"])
    assert values(sqlite_store) == ["10"]
    assert any("magenta=WORST..BEST" in reason for reason in report.left_out)
    assert load(sqlite_store, tmp_path, record({"stars": 5}), scale=["1..5"]).left_out == {}


def test_a_rating_without_end_is_refused(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not allowed: use a number"):
        load(sqlite_store, tmp_path, record({"quality": "9" * 400}), scale=["1..5"])


# -- comments ------------------------------------------------------------------------


def comments(store: Store) -> list[str | None]:
    return [judgement.answer.comment for judgement in store.ledger.judgements()]


@pytest.mark.parametrize("name", ["better_reasoning", "explanation_preference", "feedback_label"])
def test_a_judgement_is_no_comment(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    row = record({"preference": "response_a", name: "response_b"}, PAIR)
    report = load(sqlite_store, tmp_path, row)
    assert comments(sqlite_store) == [None]
    assert any("replaces one by the same person" in reason for reason in report.left_out)
    other = record({"overall": "bad", "reasoning_quality": "good"}) | {"id": "r2"}
    load(sqlite_store, tmp_path, other)
    assert comments(sqlite_store) == [None, None]


def test_a_comment_is_one(sqlite_store: Store, tmp_path: Path) -> None:
    load(sqlite_store, tmp_path, record({"overall": "bad", "reason": "Too short."}))
    assert comments(sqlite_store) == ["Too short."]


def test_a_tag_for_sides_makes_no_comment(sqlite_store: Store, tmp_path: Path) -> None:
    load(sqlite_store, tmp_path, studio(pairwise("better_reasoning", "left"), data=PAIR))
    assert comments(sqlite_store) == [None]
    assert winner(sqlite_store) == "Red."
