"""Tasks of Label Studio (its JSON export) as lines of the exchange format.

{"id", "data": {...}, "annotations": [{"result": [{"type", "from_name", "to_name", "value"}],
"completed_by", ...}], "drafts": [...], "predictions": [...], "project", ...}

External ids are unique within the project. Which side of a Pairwise tag won is read from `to_name`,
which names the two: the order of the keys of `data` says nothing, since Label Studio sorts them.
"""

from __future__ import annotations

from collections import Counter

from data.exchange.validation import show
from data.imports.shapes.answers import compare_two, count_replaced, judge, names_the_better
from data.imports.shapes.fields import (
    Fields,
    count_unknown,
    letters_of,
    list_names,
    list_of_objects,
)
from data.imports.shapes.questions import asks_for_comment
from data.schema import JsonObject

RESULTS = {"pairwise": "selected", "choices": "choices", "rating": "rating", "textarea": "text"}
"""Types of results, and where each keeps what was said."""
_ANNOTATIONS = ("annotations", "completions")
"""Where a task keeps them, in newer and in older exports."""
_TASK = (
    *("id", "data", "annotations", "completions", "predictions", "drafts", "project", "inner_id"),
    *("created_at", "updated_at", "updated_by", "file_upload", "total_annotations", "is_labeled"),
    *("cancelled_annotations", "total_predictions", "comment_authors", "comment_count"),
    *("unresolved_comment_count", "last_comment_updated_at", "allow_skip", "overlap", "agreement"),
)
_ANNOTATION = (
    *("id", "result", "completed_by", "was_cancelled", "skipped", "created_at", "updated_at"),
    *("draft_created_at", "lead_time", "prediction", "parent_prediction", "parent_annotation"),
    *("result_count", "unique_id", "import_id", "last_action", "bulk_created", "task", "project"),
    *("updated_by", "last_created_by"),
)
_RESULT = ("id", "type", "from_name", "to_name", "value", "origin", "readonly", "hidden")
_PARTS = ("item_index", "start", "end", "x", "y", "startOffset", "endOffset", "globalOffsets")
"""Of a result that is about a part of what is shown."""


def label_studio(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """The results of a task's annotations, one line each."""
    fields = Fields(row.get("data"), left_out)
    count_unknown("a task", row, _TASK, left_out)
    left_out["prediction of a model"] += _count_listed("predictions", row.get("predictions"))
    left_out["draft of an annotation"] += _count_listed("drafts", row.get("drafts"))
    comments = row.get("comment_count")
    left_out["comment on a task, which the export only counts"] += (
        comments if isinstance(comments, int) and comments > 0 else 0
    )
    source = None if row.get("project") is None else f"project-{row['project']}"
    about: JsonObject = {"external_id": row.get("id"), "source": source}
    lines: list[JsonObject] = []
    annotations = [a for part in _ANNOTATIONS for a in list_of_objects(part, row.get(part))]
    counted = row.get("total_annotations")
    left_out["annotation that the export only counts"] += (
        max(0, counted - len(annotations)) if isinstance(counted, int) else 0
    )
    people: Counter[str] = Counter()
    for annotation in annotations:
        found = _annotation_lines(fields, annotation, about, left_out)
        person = _person(annotation.get("completed_by"))
        people[person or ""] += bool(found and person)
        lines += found
    left_out["annotation that replaces one by the same person on the task"] += sum(
        n - 1 for n in people.values() if n > 1
    )
    return [*lines, *fields.unjudged(lines)]


def _annotation_lines(
    fields: Fields, annotation: JsonObject, about: JsonObject, left_out: Counter[str]
) -> list[JsonObject]:
    """What one person said of a task; every part that is not taken over is counted."""
    if annotation.get("was_cancelled") or annotation.get("skipped"):
        left_out["task skipped by its annotator"] += 1
        return []
    known = _ANNOTATION if annotation.get("ground_truth") else (*_ANNOTATION, "ground_truth")
    count_unknown("an annotation", annotation, known, left_out)
    results = list_of_objects("result", annotation.get("result"))
    left_out["annotation without a result"] += not results
    read = [found for r in results if (found := _read_result(r, left_out)) is not None]
    comments = [
        str(value) for kind, name, value, _ in read if kind == "textarea" and asks_for_comment(name)
    ]
    common: JsonObject = {
        **about,
        "annotator": _person(annotation.get("completed_by")),
        "created_at": annotation.get("updated_at") or annotation.get("created_at"),
        "seconds": annotation.get("lead_time"),
        "comment": "\n".join(filter(None, comments)) or None,
    }
    lines: list[JsonObject] = []
    for kind, name, value, to_name in read:
        if kind == "textarea":
            left_out[f"text under {show(name)}"] += not asks_for_comment(name)
        elif kind == "pairwise" and value in ("left", "right"):
            if names_the_better(name, left_out):
                lines.append(_side_chosen(fields, name, str(value), to_name, common))
        elif isinstance(value, list) and len(value) > 1:  # boxes that were ticked, in no order
            left_out[f"answer to {show(name)} with several values"] += 1
        else:
            lines += judge(fields, name, value, (name, to_name), dict(common), left_out)
    count_replaced(lines, left_out)
    left_out["comment of nobody who judged: left out"] += bool(common["comment"] and not lines)
    return lines


def _person(found: object) -> str | None:
    """Who made an annotation: a number, or an object with an address."""
    if isinstance(found, dict):
        found = found.get("email") or found.get("username") or found.get("id")
    return None if found is None else str(found)


def _read_result(result: JsonObject, left_out: Counter[str]) -> tuple[str, str, object, str] | None:
    """(kind, question, what was said, what it is about) of a result; None, counted, for others."""
    kind, value = str(result.get("type")), result.get("value")
    name = str(result.get("from_name") or kind)
    if kind not in RESULTS:
        left_out[f"result of type {show(kind)}"] += 1
        return None
    if not isinstance(value, dict):
        raise ValueError(f"value {show(value)} of a result is not an object: export it as JSON")
    if any(part in value for part in _PARTS):
        left_out[f"result {show(name)} about a part of a text"] += 1
        return None
    count_unknown("a result", result, _RESULT, left_out)
    count_unknown("a value", value, (RESULTS[kind],), left_out)
    said = value.get(RESULTS[kind])
    if kind == "textarea" and isinstance(said, list):
        said = "\n".join(map(str, said))
    return kind, name, said, str(result.get("to_name") or "")


def _side_chosen(
    fields: Fields, name: str, side: str, to_name: str, common: JsonObject
) -> JsonObject:
    """The comparison that a Pairwise tag made. Raises ValueError where its sides are not known."""
    sides = [_field_of(fields, part) for part in to_name.split(",")]
    left, right = sides if len(sides) == 2 else (None, None)
    if left is None or right is None or left == right:
        raise ValueError(
            f"which of the fields {list_names(fields.texts)} stood on the {side} of {show(name)} "
            f"is not clear from to_name {show(to_name)}: say --columns left=FIELD right=FIELD"
        )
    chosen = left if side == "left" else right
    mark = common["external_id"]
    said = {"type": "judgement", "prompt": fields.prompt, **common}
    said["external_id"] = None if mark is None else f"{mark}:{name}"
    return said | compare_two(fields, left, right, chosen)


def _field_of(fields: Fields, tag: str) -> str | None:
    """The completion whose field a tag has the name of, or ends with."""
    letters = letters_of(tag)
    for found in (
        [name for name in fields.texts if letters_of(name) == letters],
        [name for name in fields.texts if letters.endswith(letters_of(name))],
    ):
        if len(found) == 1:
            return found[0]
    return None


def _count_listed(what: str, found: object) -> int:
    if not isinstance(found, list | None):
        raise ValueError(f"{what} {show(found)} is no list: export it as JSON")
    return len(found or ())
