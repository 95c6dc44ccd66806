"""The web app: sign-in pages of our own, and two Gradio mounts behind them.

`build_app` is a factory; importing this module starts nothing. Gradio is imported inside it, after
its telemetry has been switched off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from fastapi.staticfiles import StaticFiles

from data.schema import Annotator, Role
from data.store import Store
from data.store.people import SESSION_DAYS
from labeler import pages
from labeler.auth import (
    COOKIE,
    LEADS_ONLY,
    SIGNED_OUT,
    RateLimit,
    check_password,
    hash_password,
    home_of,
    person_of,
)
from labeler.jobs import Site
from labeler.receipts import add_receipt_routes
from labeler.security import PAGES, Gate, place_of

STATIC = Path(__file__).with_name("static")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
}
LINKS = '<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/coach.css">'
WRONG = "Name and password do not match."
TOO_MANY = "Too many wrong passwords. Wait five minutes, then try again."


def build_app(store: Store, workspace: Path, model: str) -> FastAPI:
    """The whole web app over one store. `model` is what fine-tuning and sampling start from."""
    os.environ.update(QUIET)
    from gradio.utils import get_upload_folder

    app = FastAPI(title="Coach", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _add_doors(app, store, RateLimit(store))
    _mount_pages(app, Site(store, Path(workspace).absolute(), model))
    uploads = Path(get_upload_folder())
    app.add_middleware(Gate, door=lambda request: _door(store, request), uploads=uploads)
    return app


def _mount_pages(app: FastAPI, site: Site) -> None:
    from labeler.label_page import build_label_page
    from labeler.lead_pages import build_lead_page
    from labeler.rate_api import add_rate_routes

    add_rate_routes(app, site.store)
    add_receipt_routes(app, site)
    label, lead = build_label_page(site.store), build_lead_page(site)
    _mount(app, site, label, "/label", "annotator", max_file_size="1kb")
    exports = str(site.workspace / "exports")
    _mount(app, site, lead, "/lead", "lead", allowed_paths=[exports], max_file_size="200mb")


def _mount(app: FastAPI, site: Site, blocks: Any, path: str, role: Role, **options: Any) -> None:
    import gradio as gr

    from labeler.look import coach_theme

    def who(request: Request) -> str | None:
        person = person_of(site.store, request)
        return person.name if person and role in ("annotator", person.role) else None

    # Gradio checks which files a handler may be given and may return only after a launch, and a
    # mounted page is never launched.
    blocks.has_launched = True
    gr.mount_gradio_app(
        app,
        blocks,
        path,
        auth_dependency=who,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        show_error=True,
        theme=coach_theme(),
        head=f'{LINKS}<script src="/static{path}.js" defer></script>',
        **options,
    )


def _add_doors(app: FastAPI, store: Store, limit: RateLimit) -> None:
    """The routes in front of the two mounts."""
    page = HTMLResponse

    @app.get("/sign-in")
    def sign_in_form() -> Response:
        return page(pages.sign_in_page())

    @app.post("/sign-in")
    def sign_in(
        request: Request,
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
    ) -> Response:
        keys = (f"name:{name.strip()}", f"from:{_address(request)}")
        if not limit.may_try(*keys):
            return page(pages.sign_in_page(TOO_MANY, name), 429)
        person = check_password(store, name, password)
        if person is None:
            return page(pages.sign_in_page(WRONG, name), 401)
        limit.right(*keys)
        return _signed_in(store, person, request)

    @app.get("/welcome")
    def welcome_form(token: str = "") -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page(pages.dead_link_page(), 410)
        return page(pages.welcome_page(token, found.role, found.name, ""))

    @app.post("/welcome")
    def welcome(
        request: Request,
        token: Annotated[str, Form()] = "",
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
    ) -> Response:
        found = store.people.invitation(token)
        if found is None:
            return page(pages.dead_link_page(), 410)
        try:
            person = store.people.accept(token, name, hash_password(password))
        except ValueError as error:
            reason = _sentence(error)
            return page(pages.welcome_page(token, found.role, found.name, name, reason), 400)
        return _signed_in(store, person, request)

    @app.post("/sign-out")
    def sign_out(request: Request) -> Response:
        person = person_of(store, request)
        if person:
            store.people.end_session(request.cookies[COOKIE])  # first: no more is claimed
            store.ledger.release(person)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response


def _door(store: Store, request: Request) -> Response | None:
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


def _signed_in(store: Store, person: Annotator, request: Request) -> Response:
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


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
