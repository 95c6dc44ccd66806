"""Rating without a page: what an annotator sees now, and what a press does to the store.

A and B are what is seen on the page: A is the side shown first. Which of the task's completions
that is stays here; the page is never told. Nothing is kept between two calls, so any server of a
store can take the next one.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from data.schema import Annotator, Answer, Completion, Message
from data.store import Store
from data.store.ledger import Assignment
from data.store.progress import Progress

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")
LONGEST_SECONDS = 86_400.0
AHEAD = 2
"""Tasks held at a time: the one that is looked at, and the one that comes next."""
PAST = 20
"""Answers that can be looked up and changed."""


StateName = Literal["task", "done", "sampling"]


@dataclass(frozen=True)
class ShownTask:
    """One task as it is put before a person."""

    assignment_id: int
    token: str
    """Good for one answer: the same again stores nothing."""
    kind: str
    messages: tuple[Message, ...]
    answers: tuple[Completion, ...]
    """In the order shown."""


@dataclass(frozen=True)
class ShownAnswer:
    """An answer that stands, in the page's terms."""

    task: ShownTask
    answer: Answer


@dataclass(frozen=True)
class RatingState:
    """All that the label page shows."""

    state: StateName
    progress: Progress
    tasks: tuple[ShownTask, ...] = ()
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


def look(store: Store, annotator: Annotator) -> RatingState:
    """The tasks this annotator holds or gets now; the same ones after a reload."""
    leased = store.ledger.lease_ahead(annotator, random.SystemRandom(), AHEAD)
    return _read_state(store, annotator, leased, count_left=True)


def submit(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    answer: Answer,
    token: str,
    guidelines: int | None = None,
    edit: bool = False,
) -> RatingState:
    """Record what was pressed, or change an answer that stands; then show what comes next.

    `answer.value` is in the page's terms: "a" is the side shown first. `guidelines` is the version
    that the page shows. An answer that cannot be taken becomes the notice of the state returned.
    """
    took = answer.seconds  # kept only if somebody may have taken that long; NaN never compares
    plausible = took is not None and 0 <= took <= LONGEST_SECONDS
    given = replace(answer, seconds=round(took, 2) if took is not None and plausible else None)
    record = store.ledger.edit if edit else store.ledger.submit

    def step() -> None:
        _check_token(token)
        record(annotator, assignment_id, given, token, guidelines, as_shown=True)

    return _press(store, annotator, step)


def skip(
    store: Store,
    annotator: Annotator,
    assignment_id: int,
    flags: tuple[str, ...] = (),
    comment: str | None = None,
) -> RatingState:
    """Give the task back for good, then show what comes next."""
    skipped = (annotator, assignment_id, flags, comment)
    return _press(store, annotator, lambda: store.ledger.skip(*skipped))


def undo(store: Store, annotator: Annotator, assignment_id: int, token: str) -> RatingState:
    """Take an answer back and show its task again. The same token again takes nothing back."""

    def step() -> str:
        _check_token(token)
        taken_back = store.ledger.undo(annotator, assignment_id, token)
        return "" if taken_back else "There is nothing to take back."

    state = _press(store, annotator, step, count_left=True)
    return replace(state, notice="Your answer was taken back.") if state.kept else state


def past(store: Store, annotator: Annotator) -> list[ShownAnswer]:
    """The last answers, newest first, with sides as they were shown."""
    return [
        ShownAnswer(_make_shown(held), answer.turned() if held.shown_first == "b" else answer)
        for held, answer in store.ledger.past(annotator, PAST)
    ]


def _press(
    store: Store, annotator: Annotator, step: Callable[[], str | None], count_left: bool = False
) -> RatingState:
    """Do what was pressed and claim what comes next, in one transaction.

    `step` returns why nothing was done, or raises ValueError before it has written anything: the
    claim is made all the same.
    """
    with store.database.write():
        try:
            notice = step() or ""
        except ValueError as error:
            notice = f"That was not kept: {str(error).removesuffix(': reload the page')}."
        leased = store.ledger.lease_ahead(annotator, random.SystemRandom(), AHEAD)
    state = _read_state(store, annotator, leased, count_left)
    return replace(state, kept=not notice, notice=notice)


def _read_state(
    store: Store, annotator: Annotator, leased: Sequence[int], count_left: bool = False
) -> RatingState:
    """What the page shows. Read when the claim is over: nobody else waits for these queries."""
    beside = store.ledger.overview(annotator, leased, count_left)
    name: StateName = "task" if leased else "sampling" if beside.sampling else "done"
    return RatingState(
        name,
        beside.progress,
        tuple(map(_make_shown, beside.tasks)),
        left=beside.left,
        sampled=(name == "sampling" and beside.sampling) or (0, 0),
        guidelines=beside.guidelines,
    )


def _check_token(token: str) -> None:
    if not TOKEN.fullmatch(token):
        raise ValueError("the page sent no token with this: reload the page")


def _make_shown(held: Assignment) -> ShownTask:
    task = held.task
    answers = (task.a,) if task.b is None else (task.a, task.b)
    if held.shown_first == "b":
        answers = answers[::-1]
    token = secrets.token_urlsafe(18)
    return ShownTask(held.id, token, task.kind, task.a.prompt.messages, answers)
