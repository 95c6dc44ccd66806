"""The web app: sign-in pages of our own, and two Gradio mounts behind them.

`build_app` is a factory; importing this module starts nothing. Gradio is imported inside it, after
its telemetry has been switched off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError, TimeoutError
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from data.schema import Role
from data.store import Store
from labeler.access.auth import person_of
from labeler.access.limits import RateLimit
from labeler.access.middleware import HEALTH, Gate
from labeler.access.notices import trouble
from labeler.access.pools import PAGE_THREADS
from labeler.access.proxy import Front, Network
from labeler.access.sign_in import add_sign_in_routes, turn_away
from labeler.access.uploads import Uploads
from labeler.jobs import Site
from labeler.lead.receipt_routes import add_receipt_routes

STATIC = Path(__file__).with_name("static")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
}
IDLE_SECONDS = 10.0
SCRIPT = '<script src="../static{}.js" defer></script>'
LINKS = (
    '<link rel="icon" href="../static/icon.svg"><link rel="stylesheet" href="../static/coach.css">'
)
AS_IT_IS = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES, "application/json", "application/octet-stream", "text/plain",
    "font/*", "image/*",
)  # fmt: skip
"""Kinds of content that are sent uncompressed: all but pages, scripts and styles."""


def build_app(
    store: Store,
    workspace: Path,
    model: str,
    root_path: str = "",
    trusted_proxies: tuple[Network, ...] = (),
) -> FastAPI:
    """The whole web app over one store. `model` is what fine-tuning and sampling start from.

    `root_path` is what it is served below, as `/coach`. What the proxies say of a browser's
    request is heeded. Files that are sent go to `app.state.uploads`: Gradio takes one such folder
    in a process, that of the app which was built last.
    """
    uploads = Uploads(Path(workspace).absolute())
    os.environ.update(QUIET, GRADIO_TEMP_DIR=str(uploads.folder))

    from labeler.lead.pages import build_lead_page
    from labeler.rating.api import add_rate_routes
    from labeler.rating.page import build_label_page

    app = FastAPI(title="Coach", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.state.uploads = uploads
    add_sign_in_routes(app, store, RateLimit(store))
    site = Site(store, Path(workspace).absolute(), model)
    add_rate_routes(app, store)
    add_receipt_routes(app, site)
    label, lead = build_label_page(store), build_lead_page(site)

    @app.get(HEALTH)
    async def health() -> Response:
        return PlainTextResponse("ok")

    _mount_page(app, site, label, "/label", "annotator", root_path, max_file_size="1kb")
    _mount_page(app, site, lead, "/lead", "lead", root_path, max_file_size="200mb")
    for error in (DBAPIError, TimeoutError, OSError):
        app.add_exception_handler(error, trouble)
    app.add_middleware(
        Gate,
        door=lambda request: turn_away(store, request),
        uploads=uploads,
        handlers={"/label": _handlers(label), "/lead": _handlers(lead)},
    )
    app.add_middleware(GZipMiddleware, compresslevel=6, exclude_content_types=AS_IT_IS)
    app.add_middleware(Front, root_path=root_path, trusted=trusted_proxies)
    return app


def _handlers(page: Any) -> dict[int, int]:
    """How many values each handler of a page takes, by its number."""
    found = page.fns.items()
    return {index: len(block.inputs) for index, block in found if block.fn is not None}


def _mount_page(
    app: FastAPI, site: Site, blocks: Any, path: str, role: Role, below: str, **options: Any
) -> None:
    from labeler.gradio_import import gr
    from labeler.theme import coach_theme

    def who(request: Request) -> str | None:
        person = person_of(site.store, request)
        return person.name if person and role in ("annotator", person.role) else None

    # Gradio checks which files a handler may be given and may return only after a launch, and a
    # mounted page is never launched.
    blocks.has_launched = True
    blocks.max_threads = PAGE_THREADS
    gr.mount_gradio_app(
        app,
        blocks,
        path,
        root_path=below + path,
        auth_dependency=who,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        show_error=True,
        theme=coach_theme(),
        head=LINKS + "".join(SCRIPT.format(name) for name in ("/slices", path)),
        **options,
    )
    # No handler of ours waits in Gradio's queues, at which they would look 1,000 times a second.
    queue = blocks._queue
    queue.sleep_when_free = queue.progress_update_sleep_when_free = IDLE_SECONDS
