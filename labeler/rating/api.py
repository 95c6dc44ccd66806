"""The routes behind the label page: a few JSON calls, each complete in itself.

The page sends what was pressed with the token of the task it painted; a call that got no answer
is sent again as it was. 503 means: not stored, send it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError, TimeoutError

from data.schema import FLAGS, LONGEST_COMMENT, Annotator, Answer, JsonObject
from data.settings import disk_message
from data.store import Store
from labeler.access.auth import AccessRefused, admit
from labeler.access.pools import RATING_THREADS, Pool
from labeler.rating import actions
from labeler.rating.actions import RatingState, ShownAnswer, ShownTask
from labeler.rating.page import question_line, task_html
from labeler.rendering import render_macro

BADGE = "coach-person"
"""Header: whose page it is. Another person's answers are never taken for this one's."""
RowNumber = Annotated[int, Field(ge=0, lt=2**31)]
Token = Annotated[str, Field(max_length=64)]
Comment = Annotated[str, Field(max_length=LONGEST_COMMENT)]
Flags = Annotated[list[str], Field(max_length=len(FLAGS))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerBody(_Body):
    """What was pressed, in the page's terms: "a" is the side shown first."""

    assignment: RowNumber
    token: Token
    value: Annotated[str, Field(max_length=8)]
    strength: int | None = None
    both_bad: bool | None = None
    comment: Comment | None = None
    flags: Flags = []
    seconds: float | None = None
    guidelines: RowNumber | None = None
    """The version that the page shows."""
    edit: bool = False
    """Change an answer that stands, instead of giving a first one."""


class SkipBody(_Body):
    """A task given back for good."""

    assignment: RowNumber
    comment: Comment | None = None
    flags: Flags = []


class UndoBody(_Body):
    """The assignment whose answer is taken back: the same token again takes nothing back."""

    assignment: RowNumber
    token: Token


def add_rate_routes(app: FastAPI, store: Store) -> None:
    """Hang the routes under /rate."""
    pool = Pool(RATING_THREADS)

    async def served(request: Request, action: Callable[[Annotator], object]) -> Response:
        return await pool.run(lambda: answered(request, action))

    def answered(request: Request, action: Callable[[Annotator], object]) -> Response:
        try:
            person = admit(store, request, "annotator")
            badge = request.headers.get(BADGE)
            if badge and badge != person.badge:
                raise AccessRefused("Somebody else signed in here. Reload the page.")
            return JSONResponse(action(person))
        except AccessRefused as refused:
            return JSONResponse({"notice": str(refused)}, 401)
        except (OperationalError, TimeoutError) as error:
            return JSONResponse({"notice": f"{disk_message(error)}: send it again"}, 503)

    @app.post("/rate/tasks")
    async def tasks(request: Request) -> Response:
        return await served(request, lambda person: state_json(actions.look(store, person)))

    @app.post("/rate/answer")
    async def answer(request: Request, body: AnswerBody) -> Response:
        said = body.value, body.strength, body.both_bad, body.comment or None, body.seconds
        given = Answer(*said, tuple(dict.fromkeys(body.flags)))
        how = body.assignment, given, body.token, body.guidelines, body.edit
        return await served(request, lambda person: state_json(actions.submit(store, person, *how)))

    @app.post("/rate/skip")
    async def skip(request: Request, body: SkipBody) -> Response:
        what = body.assignment, tuple(dict.fromkeys(body.flags)), body.comment or None
        return await served(request, lambda person: state_json(actions.skip(store, person, *what)))

    @app.post("/rate/undo")
    async def undo(request: Request, body: UndoBody) -> Response:
        what = body.assignment, body.token
        return await served(request, lambda person: state_json(actions.undo(store, person, *what)))

    @app.get("/rate/guidelines")
    async def guidelines(request: Request) -> Response:
        def newest(_: Annotator) -> JsonObject:
            found = store.people.guidelines()
            html = render_macro("rating", "guidelines", found)
            return {"version": found.version if found else None, "html": html}

        return await served(request, newest)

    @app.get("/rate/past")
    async def past(request: Request) -> Response:
        return await served(
            request, lambda person: [spell_past(s) for s in actions.past(store, person)]
        )

    app.add_exception_handler(RequestValidationError, _refuse_malformed)


def state_json(state: RatingState) -> JsonObject:
    """A state as the page reads it."""
    progress = state.progress
    counted = {"done": progress.done, "today": progress.done_today, "streak": progress.streak}
    return {
        "state": state.state,
        "kept": state.kept,
        "notice": state.notice,
        "tasks": [_spell_task(task) for task in state.tasks],
        "progress": counted | {"pace": progress.pace, "left": state.left},
        "last": progress.last,
        "sampled": list(state.sampled),
        "guidelines": state.guidelines,
    }


def _spell_task(task: ShownTask) -> JsonObject:
    """One task: ready to paint, and as plain texts. Nothing says which model wrote what."""
    return {
        "assignment": task.assignment_id,
        "token": task.token,
        "kind": task.kind,
        "html": task_html(task),
        "messages": [message.as_dict() for message in task.messages],
        "answers": [{"text": a.text, "finished": a.finished} for a in task.answers],
    }


def spell_past(past: ShownAnswer) -> JsonObject:
    """An answer of the person who asks, with its task."""
    answer = asdict(past.answer) | {"flags": list(past.answer.flags)}
    return _spell_task(past.task) | {"said": answer, "about": question_line(past.task.messages)}


def _refuse_malformed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return JSONResponse({"notice": f"Not understood: {where}: {first['msg']}."}, 422)
