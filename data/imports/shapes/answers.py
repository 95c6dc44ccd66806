"""What annotators said of a prompt's completions, in lines of the exchange format.

One completion: yes or no is good/bad, a number is a rating. Two: the name of one, or a ranking, is
a comparison. A rating or a yes/no beside two completions names the one it is for. Answers of other
kinds are counted, never guessed at; what a question asks is read from its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from data.exchange.validation import refuse, show, spell_pair
from data.imports.shapes.fields import (
    BAD,
    BOTH_BAD,
    COMPLETIONS,
    GOOD,
    NO,
    NUMBER,
    TIES,
    YES,
    Fields,
    letters_of,
    list_names,
    word_of,
)
from data.imports.shapes.lines import Unsaid
from data.imports.shapes.questions import asks_for_comment, compares, ranks, tone_of
from data.schema import JsonObject

PLAIN = ("good", "acceptable", "bad", "unacceptable")
"""Of these, what is said of an answer itself, whatever the question."""
_SIGNED = re.compile(r"[+\u2212\u2013-]\s*\d.*|\d+\.\d+")
_NUMBER_IN_WORDS = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(?:%|/\s*\d+|stars?|points?|out of \d+|[-\u2013.:=(].{0,40})?"
)
"""A label that begins with a number: "4/5", "80%", "3 - Okay"."""


def judge(
    fields: Fields,
    question: str,
    value: object,
    hints: tuple[str, ...],
    said: JsonObject,
    left_out: Counter[str],
) -> list[JsonObject]:
    """What an answer says, in lines; an answer of another kind is counted.

    `hints` name the completion that it is about; `said` is what its lines have in common,
    `external_id` the name of the record.
    """
    mark = said.pop("external_id", None)
    said = {"type": "judgement", "prompt": fields.prompt, **said}
    named = {} if mark is None else {"external_id": f"{mark}:{question}"}
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict):
        value = value[0]
    if value is None or value == "" or value == []:
        left_out[f"answer to {show(question)} without a value"] += 1
        return []
    if not fields.texts:
        left_out[f"answer to {show(question)}, where there is no completion"] += 1
        return []
    if isinstance(value, list):
        ranked = _ranking_lines(fields, question, value, named, left_out)
        return [said | line for line in ranked]
    word = word_of(value)
    of_one = any(letters_of(question).endswith(letters_of(name)) for name in fields.texts)
    if len(fields.texts) == 2 and not of_one:
        _check_unsigned(question, value)
        if word in TIES + BOTH_BAD or fields.is_name(value):
            compared = _compare(fields, question, value, left_out)
            return [said | named | compared] if compared else []
    if fields.about_prompt(*hints):
        left_out[f"answer to {show(question)}, which is about the prompt"] += 1
        return []
    judged = _judge_one(question, value, word, left_out)
    if judged is None:
        return []
    about = fields.one(*hints)
    if len(fields.texts) > 1 and named:
        named = {"external_id": f"{mark}:{question}:{about}"}
    return [said | named | judged | {"completion": fields.texts[about]}]


def _check_unsigned(question: str, value: object) -> None:
    """Refuse a step of a signed scale between two completions: it names neither."""
    if isinstance(value, str) and _SIGNED.fullmatch(value.strip()):
        raise Unsaid(
            f"answer {show(value)} to {show(question)} may be a step of a scale from one completion"
            " to the other: write a completion's field or tie instead, or leave the question out"
            f" with --columns {spell_pair(question)}"
        )


def _compare(
    fields: Fields, question: str, value: object, left_out: Counter[str]
) -> JsonObject | None:
    """The comparison that a tie, or the name of one of two completions, says; None, counted, where
    it may say something else."""
    word = word_of(value)
    first, second = fields.texts
    if word in TIES + BOTH_BAD:
        if tone_of(question) == "neither":
            _tell_comparison(question, left_out)
        both_bad = {"both_bad": True} if word in BOTH_BAD else {}
        return compare_two(fields, first, second, None) | both_bad
    if fields.is_place(value) and not compares(question) and tone_of(question) != "fault":
        left_out[
            f"answer to {show(question)} that may name a completion by its place (say --columns"
            f" {spell_pair(question, 'preference')} if it does)"
        ] += 1
        return None
    if not names_the_better(question, left_out):
        return None
    return compare_two(fields, first, second, fields.named(value))


def _judge_one(
    question: str, value: object, word: str, left_out: Counter[str]
) -> JsonObject | None:
    """Good or bad, or a rating whose scale is the question's; None, counted, for the rest."""
    if word in PLAIN:
        return {"kind": "binary", "value": word in GOOD}
    if word in YES + NO + GOOD + BAD:
        tone, plain = tone_of(question), word in YES + NO
        if tone == "fault":
            left_out[f"yes or no to {show(question)}, where yes may mean bad: left out"] += 1
            return None
        said = "yes or no" if plain else show(value)
        read = "yes read as good, no as bad" if plain else f"read as {_good_or_bad(word)}"
        left_out[f"{said} to {show(question)}: {read}"] += tone == "neither"
        return {"kind": "binary", "value": word in YES + GOOD}
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float):
        return {"kind": "scalar", "value": value, "question": question}
    reason = (
        f"answer to {show(question)} of another kind than yes, no, a number, a completion or tie"
    )
    number = _NUMBER_IN_WORDS.fullmatch(value.strip()) if isinstance(value, str) else None
    if number:
        digits = spell_pair(value, number[1].replace(",", "."))
        reason += f" (if {show(value)} is a number, say --columns {digits})"
    left_out[reason] += 1
    return None


def _good_or_bad(word: str) -> str:
    return "good" if word in GOOD else "bad"


def _ranking_lines(
    fields: Fields, question: str, value: list[object], named: JsonObject, left_out: Counter[str]
) -> list[JsonObject]:
    """All comparisons within a ranking, best first; equal ranks are ties."""
    places = _places_in_ranking(fields, question, value)
    if not places:
        left_out[f"answer to {show(question)} with several values"] += 1
        return []
    if not names_the_better(question, left_out):
        return []
    several = named and len(places) > 2
    lines = []
    for a, b in combinations([n for n in fields.texts if n in places], 2):
        better = None if places[a] == places[b] else min(a, b, key=lambda n: places[n])
        apart = {"external_id": f"{named['external_id']}:{a}:{b}"} if several else {}
        lines.append(named | apart | compare_two(fields, a, b, better))
    if not lines:
        left_out[f"answer to {show(question)} that ranks one completion alone"] += 1
    return lines


def _places_in_ranking(fields: Fields, question: str, value: list[object]) -> dict[str, float]:
    """The place of each completion; nothing where the list is no ranking of them."""
    ranked = all(isinstance(entry, dict) and "rank" in entry for entry in value)
    if not ranked:
        named = all(fields.is_name(entry) for entry in value)
        if named and not ranks(question) and compares(question):
            raise Unsaid(
                f"answer {show(value)} to {show(question)} may be a ranking or a choice of several:"
                f" say --columns {spell_pair(question, 'ranking')} if the best comes first, or"
                f" --columns {spell_pair(question)} to leave it out"
            )
        if not (ranks(question) and all(isinstance(entry, str) for entry in value)):
            return {}
    places: dict[str, float] = {}
    for place, entry in enumerate(value, 1):
        entry = entry if isinstance(entry, dict) else {"value": entry, "rank": place}
        found = fields.named(entry.get("value"))
        rank = entry.get("rank")
        if found is None and not places:
            continue
        if found is None or found in places:
            raise ValueError(
                f"{show(entry.get('value'))} in the ranking {show(question)} is no completion, or "
                f"stands there twice: use {list_names(fields.texts)}"
            )
        if isinstance(rank, bool) or not isinstance(rank, int | float):
            refuse(f"rank in {show(question)}", rank, "a number, 1 for the best")
        places[found] = rank
    if places and len(places) < len(value):
        odd = next(entry for entry in value if fields.named(_entry_value(entry)) is None)
        raise ValueError(
            f"{show(_entry_value(odd))} in the ranking {show(question)} is no completion: use "
            f"{list_names(fields.texts)}"
        )
    return places


def _entry_value(entry: object) -> object:
    return entry.get("value") if isinstance(entry, dict) else entry


def names_the_better(question: str, left_out: Counter[str]) -> bool:
    """Whether what a question's answer names is the better one, by the question's name.

    Counted where it may be the worse, and told where the name does not say.
    """
    tone = tone_of(question)
    if tone == "neither":
        _tell_comparison(question, left_out)
    left_out[
        f"answer to {show(question)}, where the one named may be the worse: left out (say --columns"
        f" {spell_pair(question, 'preference')} if it is the better)"
    ] += tone == "fault"
    return tone != "fault"


def _tell_comparison(question: str, left_out: Counter[str]) -> None:
    left_out[
        f"answer to {show(question)}: the one named read as the better (--columns"
        f" {spell_pair(question)} leaves it out)"
    ] += 1


def compare_two(fields: Fields, a: str, b: str, better: str | None) -> JsonObject:
    """The comparison of two completions, by the names of their fields; None for a tie."""
    return {
        "kind": "pairwise",
        "completion_a": fields.texts[a],
        "completion_b": fields.texts[b],
        "value": "tie" if better is None else "a" if better == a else "b",
    }


def count_replaced(lines: Iterable[JsonObject], left_out: Counter[str]) -> None:
    """Count answers of one person that take the place of an earlier one on the same question."""
    seen = set()
    for line in lines:
        texts = frozenset(text for c in COMPLETIONS if (text := line.get(c)) is not None)
        about = line["kind"], texts
        left_out[
            f"{line['kind']} answer that replaces one by the same person on the same text (leave "
            "a question out with --columns QUESTION=)"
        ] += about in seen
        seen.add(about)


def is_comment(fields: Fields, question: str, value: object) -> bool:
    """Whether an answer is a comment: a text that judges nothing, under a name that says so."""
    text = isinstance(value, str) and not fields.is_judgement(value)
    return text and asks_for_comment(question)
