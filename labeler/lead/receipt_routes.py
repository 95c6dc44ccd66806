"""A reward model's receipt, as its run wrote it: for leads, in a frame of the page or by itself."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import OperationalError, TimeoutError

from data.settings import disk_message
from data.store.run_rows import Run
from labeler.access.auth import Refused, admit
from labeler.access.middleware import RECEIPTS
from labeler.jobs import Site

RECEIPT = "receipt.html"
FILES = {RECEIPT: "text/html", "receipt.json": "application/json", "README.md": "text/plain"}
"""What a run's receipt consists of, and how each file is sent."""


def written(site: Site, run: Run) -> list[str]:
    """The files of the receipt that are there, once the run has finished."""
    if run.kind != "reward" or run.status != "finished":
        return []
    return [name for name in FILES if (site.folder(run.id) / name).is_file()]


def address(run: Run, name: str) -> str:
    """Where a file of the receipt is served."""
    return f"{RECEIPTS}{run.id}/{name}"


def add_receipt_routes(app: FastAPI, site: Site) -> None:
    """Serve the files of `written`, and none other; middleware.FRAMED says what they may do."""

    @app.get(RECEIPTS + "{run_id}/{name}")
    def receipt(request: Request, run_id: str, name: str) -> Response:
        try:
            admit(site.store, request, "lead")
            run = site.store.runs.get(run_id)
        except Refused as refused:
            return JSONResponse({"notice": str(refused)}, 401)
        except (OperationalError, TimeoutError) as error:
            return JSONResponse({"notice": disk_message(error)}, 503)
        if run is None or name not in written(site, run):
            return JSONResponse({"notice": "There is no such receipt."}, 404)
        return Response((site.folder(run.id) / name).read_bytes(), media_type=FILES[name])
