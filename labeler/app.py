"""The web app: sign-in pages of our own, and two Gradio mounts behind them.

`build_app` is a factory; importing this module starts nothing. Gradio is imported inside it, after
its telemetry has been switched off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles

from data.schema import Role
from data.store import Store
from labeler.access.auth import RateLimit, person_of
from labeler.access.middleware import Gate
from labeler.access.sign_in import add_sign_in_routes, turn_away
from labeler.jobs import Site
from labeler.lead.receipt_routes import add_receipt_routes

STATIC = Path(__file__).with_name("static")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
}
LINKS = '<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/coach.css">'


def build_app(store: Store, workspace: Path, model: str) -> FastAPI:
    """The whole web app over one store. `model` is what fine-tuning and sampling start from."""
    os.environ.update(QUIET)
    from gradio.utils import get_upload_folder

    from labeler.lead.pages import build_lead_page
    from labeler.rating.api import add_rate_routes
    from labeler.rating.page import build_label_page

    app = FastAPI(title="Coach", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    add_sign_in_routes(app, store, RateLimit(store))
    site = Site(store, Path(workspace).absolute(), model)
    add_rate_routes(app, store)
    add_receipt_routes(app, site)
    label, lead = build_label_page(store), build_lead_page(site)
    _mount_page(app, site, label, "/label", "annotator", max_file_size="1kb")
    exports = str(site.workspace / "exports")
    _mount_page(app, site, lead, "/lead", "lead", allowed_paths=[exports], max_file_size="200mb")
    uploads = Path(get_upload_folder())
    app.add_middleware(Gate, door=lambda request: turn_away(store, request), uploads=uploads)
    return app


def _mount_page(
    app: FastAPI, site: Site, blocks: Any, path: str, role: Role, **options: Any
) -> None:
    import gradio as gr

    from labeler.theme import coach_theme

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
