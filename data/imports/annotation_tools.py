"""Records of Argilla and tasks of Label Studio as lines of the exchange format.

Argilla 2 (`dataset.records.to_json`): {"id", "fields": {...}, "responses": {question: [{"value",
"user_id"}]}, ...}. Label Studio (JSON export): {"id", "data": {...}, "annotations": [{"result":
[{"type", "from_name", "to_name", "value"}], "completed_by", ...}], ...}.

Neither says which field is the prompt and which are completions: their names do (PROMPTS, ANSWERS).
One completion: yes or no is good/bad, a number is a rating. Two: the name of one, or a ranking, is
a comparison. A rating or a yes/no beside two completions names the one it is for. What a model
suggested is nobody's judgement: it is left out and counted, like what annotators skipped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

from data.exchange.validation import JsonObject, either, show

PROMPTS = ("prompt", "instruction", "question", "query", "input", "context")
ANSWERS = (
    *("response", "completion", "answer", "output", "generation", "reply", "text", "summary"),
    *("chosen", "rejected", "result", "model", "option"),
)
COMMENTS = ("comment", "comments", "reason", "rationale", "explanation", "feedback", "note")
GOOD = ("good", "yes", "true", "acceptable", "accept", "accepted", "correct", "positive")
BAD = ("bad", "no", "false", "unacceptable", "reject", "rejected", "incorrect", "negative")
TIES = ("tie", "equal", "same", "draw", "bothequal")
RESULTS = {"pairwise": "selected", "choices": "choices", "rating": "rating", "textarea": "text"}
"""Label Studio's types of results, and where each keeps what was said."""
Said = tuple[str, object]
"""The name of a question, and what was answered."""


class _Fields:
    """One prompt and its completions, by the names of their fields."""

    def __init__(self, fields: object) -> None:
        if not isinstance(fields, dict) or not fields:
            raise ValueError(f"{show(fields)} holds no fields: it needs a prompt and completions")
        names = {_letters_of(name): name for name in fields if fields[name] is not None}
        asked = next((names[p] for p in PROMPTS if p in names), None)
        if asked is None:
            raise ValueError(
                f"no prompt among the fields {_list_names(fields)}: call it {PROMPTS[0]}, or "
                "convert the rows in Python (see data/imports)"
            )
        self.prompt: object = fields[asked]
        self.texts: JsonObject = {name: fields[name] for name in names.values() if name != asked}
        for name in self.texts:
            if not _letters_of(name).startswith(ANSWERS):
                raise ValueError(
                    f"field {show(name)} is neither a prompt nor a completion by its name: leave "
                    "it out, or convert the rows in Python (see data/imports)"
                )

    def one(self, *hints: str) -> str:
        """The completion that an answer is about: the only one, or the one that a hint names."""
        found = list(self.texts)
        if len(found) > 1:
            found = [
                n for n in found if any(_letters_of(h).endswith(_letters_of(n)) for h in hints)
            ]
        if len(found) != 1:
            raise ValueError(
                f"which of the fields {_list_names(self.texts)} {show(hints[0])} is about is not "
                "clear: end its name with the field's"
            )
        return found[0]

    def named(self, value: object) -> str | None:
        """The completion that a word stands for: its name, its place or its side."""
        if not isinstance(value, str):  # a number is a rating
            return None
        word, names = _letters_of(value), list(self.texts)
        places = (("a", "1", "left", "first"), ("b", "2", "right", "second"))
        for place, name in enumerate(names):
            if word == _letters_of(name) or (len(names) == 2 and word in places[place]):
                return name
        return None

    def unjudged(self) -> list[JsonObject]:
        """The prompt and the completions themselves, where nobody judged them."""
        asked = {"prompt": self.prompt}
        texts = [{"type": "completion", **asked, "completion": t} for t in self.texts.values()]
        return texts or [{"type": "prompt", **asked}]


def argilla(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """The answers to a record's questions, one line each or more for a ranking."""
    fields = _Fields(row.get("fields"))
    responses = row.get("responses") or {}
    if not isinstance(responses, dict):
        raise ValueError(f"responses {show(responses)} not allowed: export them nested, not flat")
    left_out["suggestion of a model"] += len(row.get("suggestions") or {})
    by_person: dict[str, list[Said]] = {}
    for question, answers in responses.items():
        for answer in _list_of_objects(question, answers):
            if answer.get("status") in ("draft", "discarded"):
                left_out[f"answer that is {answer['status']}"] += 1
            else:
                said = by_person.setdefault(str(answer.get("user_id") or ""), [])
                said.append((question, answer.get("value")))
    lines: list[JsonObject] = []
    for person, said in by_person.items():
        common = {"annotator": person or None, "comment": _join_comments(said)}
        for question, value in said:
            if _letters_of(question) not in COMMENTS:
                lines += _answer_lines(fields, question, value, (question,), row.get("id"), common)
    return lines or fields.unjudged()


def label_studio(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """The results of a task's annotations, one line each."""
    fields = _Fields(row.get("data"))
    left_out["prediction of a model"] += len(row.get("predictions") or ())
    lines: list[JsonObject] = []
    for annotation in _list_of_objects("annotations", row.get("annotations")):
        if annotation.get("was_cancelled"):
            left_out["task skipped by its annotator"] += 1
            continue
        results = [_read_result(r) for r in _list_of_objects("result", annotation.get("result"))]
        person = annotation.get("completed_by")  # a number, or an object with an address
        if isinstance(person, dict):
            person = person.get("email") or person.get("username") or person.get("id")
        common = {
            "annotator": None if person is None else str(person),
            "created_at": annotation.get("updated_at") or annotation.get("created_at"),
            "seconds": annotation.get("lead_time"),
            "comment": _join_comments(
                [(COMMENTS[0], v) for kind, v, _ in results if kind == "textarea"]
            ),
        }
        for kind, value, hints in results:
            if kind != "textarea":
                lines += _answer_lines(fields, hints[0], value, hints, row.get("id"), common)
    return lines or fields.unjudged()


def _read_result(result: JsonObject) -> tuple[str, object, tuple[str, ...]]:
    """(kind, value, what it may be about) of one result."""
    kind, value = str(result.get("type")), result.get("value")
    if not isinstance(value, dict):
        raise ValueError(f"value {show(value)} of a result is not an object: export it as JSON")
    names = str(result.get("from_name") or kind), str(result.get("to_name") or "")
    if kind not in RESULTS:
        raise ValueError(f"result of type {show(kind)} unknown: use {either([*RESULTS])}")
    said = value.get(RESULTS[kind])
    if kind in ("choices", "textarea") and isinstance(said, list) and len(said) == 1:
        said = said[0]
    return kind, said, names


def _answer_lines(
    fields: _Fields,
    name: str,
    value: object,
    hints: tuple[str, ...],
    source: object,
    common: JsonObject,
) -> Iterator[JsonObject]:
    """What an answer says, in lines. `name` is the question's."""
    said = {"type": "judgement", "prompt": fields.prompt, **common}
    names = list(fields.texts)
    mark = {} if source is None else {"external_id": f"{source}:{name}"}
    if isinstance(value, list):
        yield from (said | line for line in _ranking_lines(fields, name, value, mark))
    elif len(names) == 2 and (_letters_of(value) in TIES or fields.named(value)):
        yield said | mark | _compare_two(fields, names[0], names[1], fields.named(value))
    else:
        about = fields.one(*hints)
        if len(fields.texts) > 1 and mark:
            mark = {"external_id": f"{source}:{name}:{about}"}
        judged: JsonObject
        if _letters_of(value) in GOOD + BAD:
            judged = {"kind": "binary", "value": _letters_of(value) in GOOD}
        elif isinstance(value, int | float):
            whole = int(value) if isinstance(value, float) and value.is_integer() else value
            judged = {"kind": "scalar", "value": whole}
        else:
            raise ValueError(
                f"answer {show(value)} to {show(name)} is no judgement that is known: use yes, no, "
                "a number, the name of a completion or tie"
            )
        yield said | mark | judged | {"completion": fields.texts[about]}


def _ranking_lines(
    fields: _Fields, name: str, value: list[object], mark: JsonObject
) -> Iterator[JsonObject]:
    """All comparisons within a ranking, best first; equal ranks are ties."""
    places: dict[str, int] = {}
    for place, entry in enumerate(value, 1):
        entry = entry if isinstance(entry, dict) else {"value": entry, "rank": place}
        found = fields.named(entry.get("value"))
        if found is None:
            raise ValueError(
                f"{show(entry.get('value'))} in the ranking {show(name)} is no completion: use "
                f"{_list_names(fields.texts)}"
            )
        rank = entry.get("rank")
        places[found] = rank if isinstance(rank, int) else place
    for a, b in combinations([n for n in fields.texts if n in places], 2):
        better = None if places[a] == places[b] else min(a, b, key=lambda n: places[n])
        apart = (
            {"external_id": f"{mark['external_id']}:{a}:{b}"} if mark and len(places) > 2 else {}
        )
        yield mark | apart | _compare_two(fields, a, b, better)


def _compare_two(fields: _Fields, a: str, b: str, better: str | None) -> JsonObject:
    return {
        "kind": "pairwise",
        "completion_a": fields.texts[a],
        "completion_b": fields.texts[b],
        "value": "tie" if better is None else "a" if better == a else "b",
    }


def _join_comments(said: list[Said]) -> str | None:
    texts = [str(value) for question, value in said if _letters_of(question) in COMMENTS and value]
    return "\n".join(texts) or None


def _letters_of(word: object) -> str:
    """A name without case, spaces and signs: "Response-1" is "response1"."""
    return re.sub(r"[\W_]+", "", str(word)).lower()


def _list_of_objects(what: str, value: object) -> list[JsonObject]:
    """A list of objects, or none at all."""
    found = value or []
    if not (isinstance(found, list) and all(isinstance(part, dict) for part in found)):
        raise ValueError(f"{what} {show(value)} is no list of objects: export it as JSON")
    return found


def _list_names(fields: Iterable[str]) -> str:
    return ", ".join(map(show, fields))
