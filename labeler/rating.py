"""Rating without a page: what an annotator sees now, and what a key press does to the store.

A and B are what is seen on the page: A is the side shown first. Which of the task's completions
that is stays here; the page is never told.
"""

from __future__ import annotations

import math
import random
import re
import secrets
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy.exc import OperationalError

from data.ledger import Assignment, Progress
from data.schema import Annotator, Answer, Completion, Message, check_answer
from data.settings import disk_message
from data.store import Store

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")
LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True)
class Painted:
    """One task as it is put before a person."""

    assignment_id: int
    token: str
    """Good for one answer: the same again stores nothing."""
    kind: str
    messages: tuple[Message, ...]
    answers: tuple[Completion, ...]
    """In the order shown."""


@dataclass(frozen=True)
class View:
    """All that the label page shows."""

    state: Literal["task", "done", "sampling"]
    progress: Progress
    task: Painted | None = None
    sampled: tuple[int, int] = (0, 0)
    """Completions sampled so far and wanted, while that goes on."""
    notice: str = ""
    """What went wrong, in one line."""


def look(store: Store, annotator: Annotator, notice: str = "") -> View:
    """The task this annotator holds or gets now; the same one after a reload."""
    return _view(store, annotator, store.ledger.claim(annotator, random.SystemRandom()), notice)


def submit(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    value: str,
    token: str,
    seconds: float | None = None,
) -> View:
    """Record what was pressed, then show what comes next.

    `value` is in the page's terms: "a" is the side shown first. An answer that cannot be taken
    becomes the next view's notice.
    """
    try:
        kind, shown_first = _own(store, annotator, assignment_id)
        answer = Answer(_for_task(kind, value, shown_first), seconds=_sane(seconds))
        check_answer(kind, answer)
        if not TOKEN.fullmatch(token):
            raise ValueError("the page sent no token with this answer: reload the page")
        guidelines = store.people.guidelines()
        version = guidelines.version if guidelines else None
        store.ledger.submit(annotator, assignment_id, answer, token, version)
    except ValueError as error:
        return look(store, annotator, _not_kept(error))
    except OperationalError as error:
        raise ValueError(f"that answer was not kept: {disk_message(error)}") from None
    return look(store, annotator)


def skip(store: Store, annotator: Annotator, assignment_id: int) -> View:
    """Give the task back for good, then show what comes next."""
    try:
        store.ledger.skip(annotator, assignment_id)
    except ValueError as error:
        return look(store, annotator, _not_kept(error))
    return look(store, annotator)


def undo(store: Store, annotator: Annotator) -> View:
    """Take the last answer back and show its task again, sides as they were."""
    assignment = store.ledger.undo(annotator)
    if assignment is None:
        return look(store, annotator, "There is nothing to take back.")
    return _view(store, annotator, assignment, "Your last answer was taken back.")


def _own(store: Store, annotator: Annotator, assignment_id: int) -> tuple[str, str | None]:
    shown = store.ledger.shown(annotator, assignment_id)
    if shown is None:
        raise ValueError("this task is not yours to answer: reload the page")
    return shown


def _for_task(kind: str, value: str, shown_first: str | None) -> str:
    """The page's A or B as the task's a or b."""
    if kind == "pairwise" and shown_first == "b":
        return {"a": "b", "b": "a"}.get(value, value)
    return value


def _view(store: Store, annotator: Annotator, held: Assignment | None, notice: str) -> View:
    progress = store.ledger.progress(annotator)
    if held is not None:
        return View("task", progress, _painted(held), notice=notice)
    sampling = [run for run in store.runs.list("sample") if run.live]
    if sampling:
        return View("sampling", progress, sampled=(sampling[0].done, sampling[0].total))
    return replace(View("done", progress), notice=notice)


def _painted(held: Assignment) -> Painted:
    task = held.task
    answers = (task.a,) if task.b is None else (task.a, task.b)
    if held.shown_first == "b":
        answers = answers[::-1]
    token = secrets.token_urlsafe(18)
    return Painted(held.id, token, task.kind, task.a.prompt.messages, answers)


def _sane(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_SECONDS:
        return None
    return round(seconds, 2)


def _not_kept(error: ValueError) -> str:
    reason = str(error).removesuffix(": reload the page")
    return f"That answer was not kept: {reason}. Here is the next task."
