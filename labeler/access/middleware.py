"""What stands in front of every request: one origin, few paths, strict headers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's pages start from inline scripts and build functions at run time.
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",  # not no-referrer: a form would then name no origin
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"cross-origin-opener-policy": b"same-origin",
}
RECEIPTS = "/receipts/"
# Drawn from model output and judgements: it may be framed by our page, and do nothing. Its origin
# stays ours, so that the page can see how tall it is; without scripts nothing in it can use that.
FRAMED = {
    b"content-security-policy": b"default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    b" form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox allow-same-origin",
    b"x-frame-options": b"SAMEORIGIN",
}
PAGES = ("/label", "/lead")
_FILES = re.compile(r"/(assets/.+|static/.+|theme\.css|favicon\.ico)")
_CALLS = re.compile(r"/(config|gradio_api/(run/predict|heartbeat/\w+))?")
_TRANSFERS = re.compile(r"/lead/gradio_api/(upload|upload_progress|file=(?!(?i:https?:)).+)")
_HANDLER_CALL = re.compile(r"/(label|lead)/gradio_api/run/predict")
LARGEST_BODY = 1_000_000
"""Bytes of a request that is not an upload."""


class Gate:
    """ASGI middleware: refuses foreign origins and what no page of ours asks, adds the headers.

    `door` answers in place of the app those who may not enter. `uploads` is the folder into which
    Gradio puts what a browser sends: a handler is given files from there and from nowhere else.
    """

    def __init__(
        self, app: ASGIApp, door: Callable[[Request], Response | None], uploads: Path
    ) -> None:
        self.app = app
        self.door = door
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = refusal_of(scope)
        if refusal:
            await _send_text(send, *refusal)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.lower() not in HEADERS]
                more = HEADERS | (FRAMED if scope["path"].startswith(RECEIPTS) else {})
                if any(k.lower() == b"content-type" and b"text/html" in v for k, v in kept):
                    more[b"cache-control"] = b"no-store"  # Back after signing out shows no old page
                message = {**message, "headers": [*kept, *more.items()]}
            await send(message)

        turned_away = await run_in_threadpool(self.door, Request(scope))
        if turned_away is None and _HANDLER_CALL.fullmatch(scope["path"]):
            body = await _read_body(receive)
            if body is None or any(self._is_foreign(path) for path in file_paths(body)):
                await _send_text(send, 403, "Only a file that was just uploaded can be read.")
                return
            receive = _receive_again(body, receive)
        await (turned_away or self.app)(scope, receive, with_headers)

    def _is_foreign(self, path: str) -> bool:
        """Whether a file is a URL or lies, links followed, outside the uploads."""
        try:
            return not Path(path).resolve().is_relative_to(self.uploads.resolve())
        except (OSError, ValueError):  # too long a name, or a NUL in it
            return True


def refusal_of(scope: Scope) -> tuple[int, str] | None:
    """Status and reason for a request that goes no further; None for one that does.

    A browser names the origin of every request that another site could have caused; it must be
    this one, whatever the method.
    """
    headers = {k.lower(): v for k, v in scope["headers"]}
    origin = headers.get(b"origin")
    if origin is not None and not same_origin(origin.decode("latin-1"), headers.get(b"host", b"")):
        return 403, "This request came from another site and was refused."
    if place_of(scope["path"]) == "unknown":
        return 404, "Not found."
    if not _TRANSFERS.fullmatch(scope["path"]):
        if b"transfer-encoding" in headers:
            return 411, "Say how long the request is."
        if int(headers.get(b"content-length", 0)) > LARGEST_BODY:
            return 413, f"A request may have {LARGEST_BODY:,} bytes."
    return None


def place_of(path: str) -> Literal["file", "call", "unknown", "elsewhere"]:
    """What a path is under the pages that Gradio serves: a file for all, a call for some.

    Gradio has many more routes than our pages ask for, some of them open to strangers.
    """
    for page in PAGES:
        if path.startswith(page + "/"):
            rest = path.removeprefix(page)
            if _FILES.fullmatch(rest):
                return "file"
            wanted = _CALLS.fullmatch(rest) or _TRANSFERS.fullmatch(path)
            return "call" if wanted else "unknown"
    return "elsewhere"


def same_origin(origin: str, host: bytes) -> bool:
    """Whether an Origin header names the host that was asked."""
    return bool(origin) and urlsplit(origin).netloc.lower() == host.decode("latin-1").lower()


def file_paths(body: bytes) -> Iterator[str]:
    """What a call of a Gradio handler names as files: every "path" at any depth of its JSON.

    Gradio turns a mapping with a path and a mark into a file wherever it stands, in the value of a
    text field too. The mark is not asked for here, so another spelling of it changes nothing. A
    body that is no JSON names none; Gradio refuses it.
    """
    try:
        waiting: list[object] = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


async def _read_body(receive: Receive) -> bytes | None:
    """A request's whole body, or None where the client went away or sent more than it may."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _receive_again(body: bytes, receive: Receive) -> Receive:
    """`receive` for an app that is to read a body that was read already."""
    unread = [body]

    async def again() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return again


async def _send_text(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
