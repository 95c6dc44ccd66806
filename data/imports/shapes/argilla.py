"""Records of Argilla as lines of the exchange format.

Argilla 2   `records.to_json`: {"id", "fields": {...}, "responses": {question: [{"value",
            "user_id", "status"}]}, "suggestions": {...}, ...}
flat        `records.to_datasets`: fields as columns, "QUESTION.responses", "....responses.users",
            "....responses.status", "QUESTION.suggestion"
Argilla 1   {"fields": {...}, "responses": [{"user_id", "values": {question: {"value"}},
            "status"}], "external_id", ...}

What a model suggested is nobody's judgement: it is counted, like what annotators discarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from data.exchange.validation import show
from data.imports.shapes.answers import count_replaced, is_comment, judge
from data.imports.shapes.fields import (
    ANSWERS,
    PROMPTS,
    Fields,
    count_unknown,
    letters_of,
    list_of_objects,
)
from data.schema import JsonObject

_RECORD = (
    *("id", "_server_id", "external_id", "status", "fields", "responses", "suggestions"),
    *("inserted_at", "updated_at", "dataset_id"),
)
_RESPONSE = ("value", "user_id", "status", "id", "inserted_at", "updated_at")
_FLAT = (".responses", ".responses.users", ".responses.status")
_SUGGESTION = (".suggestion", ".suggestion.score", ".suggestion.agent")
_UNDECIDED = "comment of nobody who judged: left out"


def argilla(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """The answers to a record's questions, one line each or more for a ranking."""
    row = _nest(row, left_out)
    fields = Fields(row.get("fields"), left_out)
    left_out["suggestion of a model"] += _count(row.get("suggestions"))
    count_unknown("a record", row, _RECORD, left_out)
    record = row.get("id") if row.get("id") is not None else row.get("external_id")
    lines: list[JsonObject] = []
    for person, answers in _answers_by_person(row.get("responses"), left_out).items():
        comments = [
            str(value) for question, value in answers if is_comment(fields, question, value)
        ]
        common: JsonObject = {"annotator": person or None, "external_id": record}
        common["comment"] = "\n".join(filter(None, comments)) or None
        found: list[JsonObject] = []
        for question, value in answers:
            if not is_comment(fields, question, value):
                found += judge(fields, question, value, (question,), dict(common), left_out)
        count_replaced(found, left_out)
        left_out[_UNDECIDED] += bool(common["comment"] and not found)
        lines += found
    return [*lines, *fields.unjudged(lines)]


def is_flat(columns: Iterable[str]) -> bool:
    """Whether a table's columns are those of `to_datasets`."""
    return any(column.endswith(".responses") for column in columns)


def _answers_by_person(
    responses: object, left_out: Counter[str]
) -> dict[str, list[tuple[str, object]]]:
    """(question, answer) of each person, of answers that were submitted; others are counted."""
    by_person: dict[str, list[tuple[str, object]]] = {}
    for question, answer in _each_answer(responses, left_out):
        status = answer.get("status")
        if status not in (None, "submitted"):
            left_out[f"answer that is {status}"] += 1
            continue
        count_unknown("an answer", answer, _RESPONSE, left_out)
        person = str(answer.get("user_id") or "")
        by_person.setdefault(person, []).append((question, answer.get("value")))
    return by_person


def _each_answer(responses: object, left_out: Counter[str]) -> Iterable[tuple[str, JsonObject]]:
    """Every answer with its question, of either version."""
    if isinstance(responses, dict):
        for question, answers in responses.items():
            yield from ((question, answer) for answer in list_of_objects(question, answers))
        return
    for response in list_of_objects("responses", responses):
        values = response.get("values") or {}
        if not isinstance(values, dict):
            raise ValueError(f"values {show(values)} not allowed: use {{question: {{value}}}}")
        about = {"user_id": response.get("user_id"), "status": response.get("status")}
        count_unknown("a response", response, (*_RESPONSE, "values"), left_out)
        if not values:
            status = response.get("status")
            given = status is None or status == "submitted"
            left_out["answer to no question" if given else f"answer that is {status}"] += 1
        for question, said in values.items():
            said = said if isinstance(said, dict) else {"value": said}
            yield question, said | about


def _nest(row: JsonObject, left_out: Counter[str]) -> JsonObject:
    """A record of the flat table as a nested one; any other as it is."""
    if not is_flat(row):
        return row
    questions = [c.removesuffix(".responses") for c in row if c.endswith(".responses")]
    known = {question + end for question in questions for end in (*_FLAT, *_SUGGESTION)}
    rest = {c: cell for c, cell in row.items() if c not in known and cell is not None}
    named = (*PROMPTS, *ANSWERS)
    nested: JsonObject = {"fields": {}, "responses": {}, "suggestions": {}}
    for column, cell in rest.items():
        if column in _RECORD:
            nested[column] = cell
        elif column.endswith(_SUGGESTION):
            nested["suggestions"][column] = cell
        elif letters_of(column).startswith(named):
            nested["fields"][column] = cell
        else:
            left_out[f"column {show(column)}: not taken over"] += 1
    for question in questions:
        nested["responses"][question] = _zip_answers(question, row)
        if row.get(question + ".suggestion") is not None:
            nested["suggestions"][question] = row[question + ".suggestion"]
    return nested


def _zip_answers(question: str, row: JsonObject) -> list[JsonObject]:
    """The answers to one question, of three columns side by side."""
    values, people, statuses = (row.get(question + end) for end in _FLAT)
    if values is None:
        return []
    answers: list[JsonObject] = []
    for key, found in (("value", values), ("user_id", people), ("status", statuses)):
        listed = [None] * len(values) if found is None and isinstance(values, list) else found
        if not isinstance(listed, list) or (answers and len(listed) != len(answers)):
            raise ValueError(
                f"{question}.responses, .users and .status are no lists of one length: export "
                "nested records with records.to_json"
            )
        answers = answers or [{} for _ in listed]
        for answer, said in zip(answers, listed, strict=True):
            answer[key] = said
    return answers


def _count(suggestions: object) -> int:
    if not isinstance(suggestions, dict | list | None):
        raise ValueError(f"suggestions {show(suggestions)} not allowed: use an object or a list")
    return len(suggestions or ())
