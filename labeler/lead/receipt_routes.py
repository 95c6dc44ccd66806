"""What leads read by an address of its own: receipts, as their runs wrote them, and exports."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from sqlalchemy.exc import OperationalError, TimeoutError

from data.settings import disk_message
from data.store.run_rows import Run
from labeler.access.auth import AccessRefused, admit
from labeler.access.middleware import RECEIPTS
from labeler.jobs import Site

RECEIPT = "receipt.html"
EXPORTS_FOLDER = "exports"
"""The folder of the workspace with what was exported from the page, and where it is served."""
FILES = {RECEIPT: "text/html", "receipt.json": "application/json", "README.md": "text/plain"}
"""What a run's receipt consists of, and how each file is sent."""


def written(site: Site, run: Run) -> list[str]:
    """The files of the receipt that are there, once the run has finished."""
    if run.kind != "reward" or run.status != "finished":
        return []
    return [name for name in FILES if (site.folder(run.id) / name).is_file()]


def receipt_address(run: Run, name: str) -> str:
    """Where a file of the receipt is served, seen from the lead page."""
    return f"..{RECEIPTS}{run.id}/{name}"


def add_receipt_routes(app: FastAPI, site: Site) -> None:
    """Serve the files of `written`, and none other; middleware.FRAMED says what they may do."""

    @app.get(RECEIPTS + "{run_id}/{name}")
    def receipt(request: Request, run_id: str, name: str) -> Response:
        def read() -> Response | None:
            run = site.store.runs.get(run_id)
            if run is None or name not in written(site, run):
                return None
            return Response((site.folder(run.id) / name).read_bytes(), media_type=FILES[name])

        return _for_leads(site, request, read)

    @app.get(f"/{EXPORTS_FOLDER}/{{name}}")
    def export(request: Request, name: str) -> Response:
        def read() -> Response | None:
            folder = site.workspace / EXPORTS_FOLDER
            there = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
            if name not in there or name.startswith("."):  # one that is being written
                return None
            return FileResponse(folder / name, filename=name, media_type="application/octet-stream")

        return _for_leads(site, request, read)


def _for_leads(site: Site, request: Request, read: Callable[[], Response | None]) -> Response:
    """What `read` finds, for a lead; else why not."""
    try:
        admit(site.store, request, "lead")
        found = read()
    except AccessRefused as refused:
        return JSONResponse({"notice": str(refused)}, 401)
    except (OperationalError, TimeoutError) as error:
        return JSONResponse({"notice": disk_message(error)}, 503)
    return found or JSONResponse({"notice": "There is no such file."}, 404)
