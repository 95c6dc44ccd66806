"""Sign-in, invitations, sign-out, and who may see which page."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Form, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from data.schema import Annotator
from data.store import Store
from data.store.people import SESSION_DAYS
from labeler.access.auth import (
    COOKIE,
    LEADS_ONLY,
    SHORTEST_PASSWORD,
    SIGNED_OUT,
    RateLimit,
    check_password,
    hash_password,
    home_of,
    person_of,
)
from labeler.access.middleware import PAGES, place_of
from labeler.rendering import as_sentence, render

Field = Annotated[str, Form()]
WRONG = "Name and password do not match."
TOO_MANY = "Too many wrong passwords. Wait five minutes, then try again."


def add_sign_in_routes(app: FastAPI, store: Store, limit: RateLimit) -> None:
    """The routes in front of the two mounts."""

    def page(macro: str, *values: object, status: int = 200) -> Response:
        return HTMLResponse(render("sign_in", macro, *values), status)

    @app.get("/sign-in")
    def sign_in_form() -> Response:
        return page("sign_in")

    @app.post("/sign-in")
    def sign_in(request: Request, name: Field = "", password: Field = "") -> Response:
        address = request.client.host if request.client else "unknown"
        keys = (f"name:{name.strip()}", f"from:{address}")
        if not limit.may_try(*keys):
            return page("sign_in", TOO_MANY, name, status=429)
        person = check_password(store, name, password)
        if person is None:
            return page("sign_in", WRONG, name, status=401)
        limit.right(*keys)
        return _start_session(store, person, request)

    @app.get("/welcome")
    def welcome_form(token: str = "") -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page("expired", status=410)
        return page("welcome", token, found.role, found.name, "", SHORTEST_PASSWORD)

    @app.post("/welcome")
    def welcome(
        request: Request, token: Field = "", name: Field = "", password: Field = ""
    ) -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page("expired", status=410)
        try:
            person = store.people.accept(token, name, hash_password(password))
        except ValueError as error:
            shown = (token, found.role, found.name, name, SHORTEST_PASSWORD, as_sentence(error))
            return page("welcome", *shown, status=400)
        return _start_session(store, person, request)

    @app.post("/sign-out")
    def sign_out(request: Request) -> Response:
        person = person_of(store, request)
        if person:
            store.people.end_session(request.cookies[COOKIE])  # first: no more is claimed
            store.ledger.release(person)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response


def turn_away(store: Store, request: Request) -> Response | None:
    """The answer for those who are not to see a page of Gradio's, or to call its handlers."""
    path, place = request.url.path, place_of(request.url.path)
    if place == "file" or (place == "elsewhere" and path not in ("/", *PAGES)):
        ask = path.startswith("/rate/") and person_of(store, request) is None
        return JSONResponse({"notice": SIGNED_OUT}, 401) if ask else None
    person = person_of(store, request)
    barred = path.startswith("/lead") and person is not None and person.role != "lead"
    if path.rstrip("/") in ("", *PAGES) and request.method in ("GET", "HEAD"):
        if person is None:
            return RedirectResponse("/sign-in", 303)
        if path == "/" or barred:
            return RedirectResponse(home_of(person), 303)
        return None if path.endswith("/") else RedirectResponse(path + "/", 303)
    if person is None or barred:
        return PlainTextResponse(LEADS_ONLY if barred else SIGNED_OUT, 401)
    return None


def _start_session(store: Store, person: Annotator, request: Request) -> Response:
    response = RedirectResponse(home_of(person), 303)
    response.set_cookie(
        COOKIE,
        store.people.start_session(person),
        max_age=SESSION_DAYS * 86400,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response
