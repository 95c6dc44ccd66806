"""Sign-in, invitations, sign-out, and who may see which page."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from data.schema import Annotator
from data.store import Store
from data.store.accounts.people import SESSION_DAYS
from labeler.access.auth import (
    COOKIE,
    LEADS_ONLY,
    SHORTEST_PASSWORD,
    SIGNED_OUT,
    check_password,
    hash_password,
    home_of,
    person_of,
)
from labeler.access.limits import Busy, Device, Devices, PasswordPool, RateLimit
from labeler.access.middleware import PAGES, place_of
from labeler.access.notices import cookie_path, root_of
from labeler.access.proxy import inner_path
from labeler.rendering import as_sentence, render_macro

FormText = Annotated[str, Form()]
WRONG = "Name and password do not match."
TOO_MANY = (
    "Too many wrong passwords. Wait five minutes, then try again. A browser in which you signed in"
    " here before lets you in at once."
)
BUSY = "Many people are signing in just now. Try again in a moment."


def add_sign_in_routes(app: FastAPI, store: Store, limit: RateLimit) -> None:
    """The routes in front of the two mounts."""
    pool, devices = PasswordPool(), Devices(store)

    def page(macro: str, *values: object, status: int = 200) -> Response:
        return HTMLResponse(render_macro("sign_in", macro, *values), status)

    @app.get("/sign-in")
    def sign_in_form() -> Response:
        return page("sign_in")

    @app.post("/sign-in")
    async def sign_in(request: Request, name: FormText = "", password: FormText = "") -> Response:
        device = await run_in_threadpool(devices.read, request.cookies)
        try:
            return await pool.run(lambda: try_password(request, device, name, password), device)
        except Busy:
            return page("sign_in", BUSY, name, status=503)

    def try_password(request: Request, device: Device | None, name: str, password: str) -> Response:
        address = request.client.host if request.client else "unknown"
        caller = name, address, device
        if not limit.may_try(*caller):
            return page("sign_in", TOO_MANY, name, status=429)
        person = check_password(store, name, password)
        if person is None:
            return page("sign_in", WRONG, name, status=401)
        limit.right(*caller)
        return _start_session(store, devices, person, request)

    @app.get("/welcome")
    def welcome_form(token: str = "") -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page("expired", status=410)
        return page("welcome", token, found.role, found.name, "", SHORTEST_PASSWORD)

    @app.post("/welcome")
    async def welcome(
        request: Request, token: FormText = "", name: FormText = "", password: FormText = ""
    ) -> Response:
        try:
            return await pool.run(lambda: accept(request, token, name, password))
        except Busy:
            return page("busy", BUSY, status=503)

    def accept(request: Request, token: str, name: str, password: str) -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page("expired", status=410)
        try:
            person = store.people.accept(token, name, hash_password(password))
        except ValueError as error:
            shown = (token, found.role, found.name, name, SHORTEST_PASSWORD, as_sentence(error))
            return page("welcome", *shown, status=400)
        return _start_session(store, devices, person, request)

    @app.post("/sign-out")
    def sign_out(request: Request) -> Response:
        person = person_of(store, request)
        if person:
            store.people.end_session(request.cookies[COOKIE])  # first: no more is claimed
            store.ledger.release(person)
            request.app.state.uploads.end_session(request.cookies[COOKIE])
        response = RedirectResponse(f"{root_of(request)}/sign-in", 303)
        response.delete_cookie(COOKIE, cookie_path(request), httponly=True, samesite="lax")
        return response


def turn_away(store: Store, request: Request) -> Response | None:
    """The answer for those who are not to see a page of Gradio's, or to call its handlers."""
    path, root = inner_path(request.scope), root_of(request)
    place = place_of(path)
    if place == "file" or (place == "elsewhere" and path not in ("/", *PAGES)):
        ask = path.startswith("/rate/") and person_of(store, request) is None
        return JSONResponse({"notice": SIGNED_OUT}, 401) if ask else None
    person = person_of(store, request)
    barred = path.startswith("/lead") and person is not None and person.role != "lead"
    if path.rstrip("/") in ("", *PAGES) and request.method in ("GET", "HEAD"):
        if person is None:
            return RedirectResponse(f"{root}/sign-in", 303)
        if path == "/" or barred:
            return RedirectResponse(root + home_of(person), 303)
        return None if path.endswith("/") else RedirectResponse(f"{root}{path}/", 303)
    if person is None or barred:
        return PlainTextResponse(LEADS_ONLY if barred else SIGNED_OUT, 401)
    return None


def _start_session(store: Store, devices: Devices, person: Annotator, request: Request) -> Response:
    secure, path = request.url.scheme == "https", cookie_path(request)
    response = RedirectResponse(root_of(request) + home_of(person), 303)
    response.set_cookie(
        COOKIE,
        store.people.start_session(person),
        max_age=SESSION_DAYS * 86400,
        path=path,
        httponly=True,
        samesite="lax",
        secure=secure,
    )
    devices.remember(response, devices.read(request.cookies), person, secure, path)
    return response
