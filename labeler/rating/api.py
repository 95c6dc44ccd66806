"""The routes behind the label page: a few JSON calls, each complete in itself.

The page sends what was pressed with the token of the task it painted; a call that got no answer
is sent again as it was. 503 means: not stored, send it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError, TimeoutError

from data.schema import FLAGS, LONGEST_COMMENT, Annotator, Answer
from data.settings import disk_message
from data.store import Store
from data.store.people import Guidelines
from labeler.access.auth import Refused, admit
from labeler.rating import actions
from labeler.rating.actions import Painted, Said, View
from labeler.rating.page import first_line, guidelines_html, task_html

BADGE = "coach-person"
"""Header: whose page it is. Another person's answers are never taken for this one's."""
Row = Annotated[int, Field(ge=0, lt=2**31)]
Token = Annotated[str, Field(max_length=64)]
Comment = Annotated[str, Field(max_length=LONGEST_COMMENT)]
Flags = Annotated[list[str], Field(max_length=len(FLAGS))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerBody(_Body):
    """What was pressed, in the page's terms: "a" is the side shown first."""

    assignment: Row
    token: Token
    value: Annotated[str, Field(max_length=8)]
    strength: int | None = None
    both_bad: bool | None = None
    comment: Comment | None = None
    flags: Flags = []
    seconds: float | None = None
    guidelines: Row | None = None
    """The version that the page shows."""
    edit: bool = False
    """Change an answer that stands, instead of giving a first one."""


class SkipBody(_Body):
    """A task given back for good."""

    assignment: Row
    comment: Comment | None = None
    flags: Flags = []


class UndoBody(_Body):
    """The assignment whose answer is taken back: the same token again takes nothing back."""

    assignment: Row
    token: Token


def add_rate_routes(app: FastAPI, store: Store) -> None:
    """Hang the routes under /rate."""

    def served(request: Request, action: Callable[[Annotator], Any]) -> Response:
        try:
            person = admit(store, request, "annotator")
            badge = request.headers.get(BADGE)
            if badge and badge != store.people.badge(person):
                raise Refused("Somebody else signed in here. Reload the page.")
            return JSONResponse(action(person))
        except Refused as refused:
            return _refusal(401, str(refused))
        except (OperationalError, TimeoutError) as error:
            return _refusal(503, f"{disk_message(error)}: send it again")

    @app.post("/rate/tasks")
    def tasks(request: Request) -> Response:
        return served(request, lambda person: spell(actions.look(store, person)))

    @app.post("/rate/answer")
    def answer(request: Request, body: AnswerBody) -> Response:
        given = Answer(
            body.value,
            body.strength,
            body.both_bad,
            body.comment or None,
            body.seconds,
            tuple(dict.fromkeys(body.flags)),
        )
        record = actions.edit if body.edit else actions.submit
        return served(
            request,
            lambda person: spell(
                record(store, person, body.assignment, given, body.token, body.guidelines)
            ),
        )

    @app.post("/rate/skip")
    def skip(request: Request, body: SkipBody) -> Response:
        flags = tuple(dict.fromkeys(body.flags))
        return served(
            request,
            lambda person: spell(
                actions.skip(store, person, body.assignment, flags, body.comment or None)
            ),
        )

    @app.post("/rate/undo")
    def undo(request: Request, body: UndoBody) -> Response:
        return served(
            request, lambda person: spell(actions.undo(store, person, body.assignment, body.token))
        )

    @app.get("/rate/guidelines")
    def guidelines(request: Request) -> Response:
        return served(request, lambda _person: _spell_guidelines(store.people.guidelines()))

    @app.get("/rate/past")
    def past(request: Request) -> Response:
        return served(request, lambda person: [spell_past(s) for s in actions.past(store, person)])

    app.add_exception_handler(RequestValidationError, _malformed)


def spell(view: View) -> dict[str, Any]:
    """A view as the page reads it."""
    progress = asdict(view.progress) | {"left": view.left}
    progress["today"] = progress.pop("done_today")
    last = progress.pop("last")
    return {
        "state": view.state,
        "kept": view.kept,
        "notice": view.notice,
        "tasks": [_spell_task(task) for task in view.tasks],
        "progress": progress,
        "last": last,
        "sampled": list(view.sampled),
        "guidelines": view.guidelines,
    }


def _spell_task(task: Painted) -> dict[str, Any]:
    """One task: ready to paint, and as plain texts. Nothing says which model wrote what."""
    return {
        "assignment": task.assignment_id,
        "token": task.token,
        "kind": task.kind,
        "html": task_html(task),
        "messages": [message.as_dict() for message in task.messages],
        "answers": [{"text": a.text, "finished": a.finished} for a in task.answers],
    }


def _spell_guidelines(found: Guidelines | None) -> dict[str, Any]:
    return {"version": found.version if found else None, "html": guidelines_html(found)}


def spell_past(said: Said) -> dict[str, Any]:
    """An answer of the person who asks, with its task."""
    answer = asdict(said.answer) | {"flags": list(said.answer.flags)}
    return _spell_task(said.task) | {"said": answer, "about": first_line(said.task.messages)}


def _malformed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return _refusal(422, f"Not understood: {where}: {first['msg']}.")


def _refusal(status: int, notice: str) -> Response:
    return JSONResponse({"notice": notice}, status)
