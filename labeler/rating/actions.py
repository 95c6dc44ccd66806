"""Rating without a page: what an annotator sees now, and what a press does to the store.

A and B are what is seen on the page: A is the side shown first. Which of the task's completions
that is stays here; the page is never told. Nothing is kept between two calls, so any server of a
store can take the next one.
"""

from __future__ import annotations

import math
import random
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from data.schema import Annotator, Answer, Completion, Message, check_answer
from data.store import Store
from data.store.ledger import Assignment, Past, Progress

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")
LONGEST_SECONDS = 86_400.0
AHEAD = 2
"""Tasks held at a time: the one that is looked at, and the one that comes next."""
PAST = 20
"""Answers that can be looked up and changed."""


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
class Said:
    """An answer that stands, in the page's terms."""

    task: Painted
    answer: Answer


@dataclass(frozen=True)
class View:
    """All that the label page shows."""

    state: Literal["task", "done", "sampling"]
    progress: Progress
    tasks: tuple[Painted, ...] = ()
    """The one to look at now, then what comes next."""
    left: int | None = None
    """Tasks that are left; None after a press: the page counts down by itself."""
    sampled: tuple[int, int] = (0, 0)
    """Completions sampled so far and wanted, while that goes on."""
    guidelines: int | None = None
    """The newest version, if there is one."""
    kept: bool | None = None
    """Whether what was pressed is stored; None where nothing was pressed."""
    notice: str = ""
    """What went wrong, in one line."""

    @property
    def task(self) -> Painted | None:
        return self.tasks[0] if self.tasks else None


def look(store: Store, annotator: Annotator) -> View:
    """The tasks this annotator holds or gets now; the same ones after a reload."""
    return replace(_view(store, annotator), left=store.ledger.left(annotator))


def submit(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    answer: Answer,
    token: str,
    guidelines: int | None = None,
) -> View:
    """Record what was pressed, then show what comes next.

    `answer.value` is in the page's terms: "a" is the side shown first. `guidelines` is the version
    that the page shows. An answer that cannot be taken becomes the next view's notice.
    """
    keep = store.ledger.submit
    return _record(store, annotator, assignment_id, answer, token, guidelines, keep)


def edit(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    answer: Answer,
    token: str,
    guidelines: int | None = None,
) -> View:
    """Change an answer that stands; else as `submit`."""
    keep = store.ledger.edit
    return _record(store, annotator, assignment_id, answer, token, guidelines, keep)


def skip(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    flags: tuple[str, ...] = (),
    comment: str | None = None,
) -> View:
    """Give the task back for good, then show what comes next."""
    try:
        store.ledger.skip(annotator, assignment_id, flags, comment)
    except ValueError as error:
        return replace(_view(store, annotator), kept=False, notice=_not_kept(error))
    return replace(_view(store, annotator), kept=True)


def undo(store: Store, annotator: Annotator, assignment_id: int, token: str) -> View:
    """Take an answer back and show its task again. The same token again takes nothing back."""
    try:
        _check_token(token)
        taken_back = store.ledger.undo(annotator, assignment_id, token)
    except ValueError as error:
        return replace(_view(store, annotator), kept=False, notice=_not_kept(error))
    if taken_back:
        view = replace(look(store, annotator), kept=True)
        return replace(view, notice="Your answer was taken back.")
    return replace(_view(store, annotator), kept=False, notice="There is nothing to take back.")


def past(store: Store, annotator: Annotator) -> list[Said]:
    """The last answers, newest first, with sides as they were shown."""
    return [_said(found) for found in store.ledger.past(annotator, PAST)]


def _record(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    answer: Answer,
    token: str,
    guidelines: int | None,
    keep: Callable[..., int],
) -> View:
    try:
        kind, shown_first = _own(store, annotator, assignment_id)
        value = _turned(kind, answer.value, shown_first)
        given = replace(answer, value=value, seconds=_sane(answer.seconds))
        check_answer(kind, given)
        _check_token(token)
        if guidelines is not None:
            _check_guidelines(store, guidelines)
        keep(annotator, assignment_id, given, token, guidelines)
    except ValueError as error:
        return replace(_view(store, annotator), kept=False, notice=_not_kept(error))
    return replace(_view(store, annotator), kept=True)


def _check_token(token: str) -> None:
    if not TOKEN.fullmatch(token):
        raise ValueError("the page sent no token with this: reload the page")


def _check_guidelines(store: Store, version: int) -> None:
    newest = store.people.guidelines()
    if newest is None or version > newest.version:
        raise ValueError(f"there is no version {version} of the guidelines: reload the page")


def _own(store: Store, annotator: Annotator, assignment_id: int) -> tuple[str, str | None]:
    shown = store.ledger.shown(annotator, assignment_id)
    if shown is None:
        raise ValueError("this task is not yours to answer: reload the page")
    return shown


def _turned(kind: str, value: str, shown_first: str | None) -> str:
    """The page's A or B as the task's a or b, or the other way round."""
    if kind == "pairwise" and shown_first == "b":
        return {"a": "b", "b": "a"}.get(value, value)
    return value


def _view(store: Store, annotator: Annotator) -> View:
    held = store.ledger.claim_ahead(annotator, random.SystemRandom(), AHEAD)
    progress = store.ledger.progress(annotator)
    newest = store.people.guidelines()
    version = newest.version if newest else None
    if held:
        return View("task", progress, tuple(map(_painted, held)), guidelines=version)
    sampling = [run for run in store.runs.list("sample") if run.live]
    if sampling:
        done = (sampling[0].done, sampling[0].total)
        return View("sampling", progress, sampled=done, guidelines=version)
    return View("done", progress, guidelines=version)


def _painted(held: Assignment) -> Painted:
    task = held.task
    answers = (task.a,) if task.b is None else (task.a, task.b)
    if held.shown_first == "b":
        answers = answers[::-1]
    token = secrets.token_urlsafe(18)
    return Painted(held.id, token, task.kind, task.a.prompt.messages, answers)


def _said(found: Past) -> Said:
    held = found.assignment
    value = _turned(held.task.kind, found.answer.value, held.shown_first)
    return Said(_painted(held), replace(found.answer, value=value))


def _sane(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_SECONDS:
        return None
    return round(seconds, 2)


def _not_kept(error: ValueError) -> str:
    reason = str(error).removesuffix(": reload the page")
    return f"That was not kept: {reason}."
