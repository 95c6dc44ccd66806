"""What stands in front of every request: one origin, few paths, strict headers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.settings import store_trouble
from labeler.access.auth import COOKIE
from labeler.access.notices import notice, trouble
from labeler.access.pools import DOOR_THREADS, Pool
from labeler.access.proxy import inner_path, readable_host
from labeler.access.uploads import Uploads

# Gradio's pages start from inline scripts and build functions at run time.
# Its manifest it asks for at the host's root, where this app may not be.
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'none'",
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
HEALTH = "/healthz"
PAGES = ("/label", "/lead")
_FILES = re.compile(r"/(assets/.+|static/.+|theme\.css|favicon\.ico)")
_CALLS = re.compile(r"/(config|gradio_api/(run/predict|heartbeat/\w+))?")
_TRANSFERS = re.compile(r"/lead/gradio_api/(upload|upload_progress|file=(?!(?i:https?:)).+)")
UPLOAD = "/lead/gradio_api/upload"
_HANDLER_CALL = re.compile(r"(/label|/lead)/gradio_api/run/predict")
LARGEST_BODY = 1_000_000
"""Bytes of a request that is not an upload."""
LARGEST_NUMBER = 1e15
"""In a form: above it a float no longer tells whole numbers apart."""
MOST_TOLD = 100
"""Lines in the log about refused origins."""
_log = logging.getLogger(__name__)


class Gate:
    """ASGI middleware: refuses foreign origins and what no page of ours asks, adds the headers.

    `door` answers in place of the app those who may not enter. `uploads` is the folder into which
    Gradio puts what a browser sends: a handler is given files from there and from nowhere else.
    `handlers` says how many values each handler of a page takes, by its number.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Callable[[Request], Response | None],
        uploads: Uploads,
        handlers: Mapping[str, Mapping[int, int]],
    ) -> None:
        self.app = app
        self.door = door
        self.uploads = uploads
        self.handlers = handlers
        self._door_pool = Pool(DOOR_THREADS)
        self._told: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, path = Request(scope), inner_path(scope)
        state = scope.setdefault("state", {})

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 500 and _HANDLER_CALL.fullmatch(path):
                    # Without a failure of our own, it is what was sent that Gradio could not read.
                    message = {**message, "status": state.get("failure", 400)}
                message = {**message, "headers": _headers_of(path, message["headers"])}
            await send(message)

        refused = self._refusal(request)
        same_for_all = path == HEALTH or path.startswith("/static/") or place_of(path) == "file"
        if refused is None and not same_for_all:  # else nobody need be looked up
            try:
                refused = await self._door_pool.run(lambda: self.door(request))
            except Exception as error:
                refused = trouble(request, error)
        if refused is None and (call := _HANDLER_CALL.fullmatch(path)):
            body = await _read_body(receive)
            refused = self._refuse_call(request, call[1], body)
            receive = _receive_again(body or b"", receive)
        if refused is None and path == UPLOAD:
            await self._upload(request, receive, with_headers)
            return
        await (refused or self.app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if origin is not None and not same_origin(origin, request.scope["scheme"], host):
            wrong = foreign(origin, host)
            # in the log each once: a proxy that names no host looks like this
            if (origin, host) not in self._told and len(self._told) < MOST_TOLD:
                self._told.add((origin, host))
                _log.warning("%s", ascii(wrong)[1:-1])
            return notice(request, 403, "From another site", wrong)
        refusal = refusal_of(request.scope)
        return PlainTextResponse(refusal[1], refusal[0]) if refusal else None

    def _refuse_call(self, request: Request, page: str, body: bytes | None) -> Response | None:
        if body is None or any(self._is_foreign(path) for path in file_paths(body)):
            text = "Only a file that was just uploaded can be read."
            return notice(request, 403, "No such file", text)
        wrong = call_error(body, self.handlers[page])
        return notice(request, 400, "Not understood", wrong) if wrong else None

    def _is_foreign(self, path: str) -> bool:
        """Whether a file is a URL or lies, links followed, outside the uploads."""
        try:
            return not Path(path).resolve().is_relative_to(self.uploads.folder.resolve())
        except (OSError, ValueError):  # too long a name, or a NUL in it
            return True

    async def _upload(self, request: Request, receive: Receive, send: Send) -> None:
        """Let Gradio take a file; where it cannot, say why: the disk, or what was sent."""
        broken = False

        async def unless_broken(message: Message) -> None:
            nonlocal broken
            broken = broken or message.get("status") == 500
            if not broken:
                await send(message)

        try:
            await self.app(request.scope, receive, self._noting(request, unless_broken))
        except Exception as error:
            if not broken:
                raise
            # The app handles trouble of the disk, yet too late: Gradio has begun to answer.
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            wrong = notice(request, 400, "Not understood", "What was sent is no file with a name.")
            answer = trouble(request, cause) if store_trouble(cause) else wrong
            await answer(request.scope, receive, send)

    def _noting(self, request: Request, send: Send) -> Send:
        """`send` for an upload: remembers, by Gradio's answer, which session sent which files."""
        said = bytearray()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.body":
                said.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    for path in _texts(bytes(said)):
                        self.uploads.note(request.cookies.get(COOKIE, ""), path)
            await send(message)

        return noting


def _headers_of(path: str, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = [(k, v) for k, v in headers if k.lower() not in HEADERS]
    more = HEADERS | (FRAMED if path.startswith(RECEIPTS) else {})
    if any(k.lower() == b"content-type" and b"text/html" in v for k, v in kept):
        more[b"cache-control"] = b"no-store"  # Back after signing out shows no old page
    return [*kept, *more.items()]


def refusal_of(scope: Scope) -> tuple[int, str] | None:
    """Status and reason for a request that goes no further; None for one that does."""
    headers = {k.lower(): v for k, v in scope["headers"]}
    path = inner_path(scope)
    if not readable_host(headers.get(b"host", b"").decode("latin-1")):
        return 400, "The Host header names no host."
    if place_of(path) == "unknown":
        return 404, "Not found."
    if not _TRANSFERS.fullmatch(path):
        if b"transfer-encoding" in headers:
            return 411, "Say how long the request is."
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > LARGEST_BODY:
            return 413, f"A request may have {LARGEST_BODY:,} bytes."
    return None


def foreign(origin: str, host: str) -> str:
    """What to say of a request from another origin: it may be that a proxy hides the right one."""
    said = f"{origin[:200]!r} is not where the app was asked ({host[:200]!r})"
    return (
        f"This request came from another site and was refused: {said}. If {origin[:200]} is this"
        " app's own address, its proxy has to pass that on: as the header Host (nginx:"
        " proxy_set_header Host $http_host), or as X-Forwarded-Host and X-Forwarded-Proto, with"
        " the proxy named to the app by --trusted-proxy ADDRESS."
    )


def call_error(body: bytes, handlers: Mapping[int, int]) -> str:
    """Why a call of a Gradio handler cannot be understood; empty where it can."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return "The call is no JSON."
    if not isinstance(call, dict) or call.get("batched"):
        return "The call is not of the form that the page sends."
    index, data = call.get("fn_index"), call.get("data")
    if not isinstance(index, int) or isinstance(index, bool) or index not in handlers:
        return f"Function {str(index)[:40]} is unknown: reload the page."
    if not isinstance(data, list) or len(data) < handlers[index]:
        return f"Function {index} takes a list of {handlers[index]} values."
    numbers = (v for v in _walk(data) if isinstance(v, int | float) and not isinstance(v, bool))
    if not all(abs(number) <= LARGEST_NUMBER for number in numbers):  # NaN neither
        return "A number is too large, or none at all: correct it."
    return ""


def _walk(value: object) -> Iterator[object]:
    """A JSON value and all within it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)


def _texts(body: bytes) -> list[str]:
    try:
        return [value for value in _walk(json.loads(body)) if isinstance(value, str)]
    except (ValueError, RecursionError):
        return []


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


def same_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether an Origin header names the host that was asked; a port that goes without saying may
    be left out on either side.

    `scheme` is how the app was asked as far as it knows: a proxy may have taken TLS away.
    """
    try:
        named = urlsplit(origin)
        asked = urlsplit(f"//{host}")
        usual = {"http": 80, "https": 443}[named.scheme]
        same = (named.hostname, named.port or usual) == (asked.hostname, asked.port or usual)
    except (ValueError, KeyError):  # no such port, half a bracket; `null`
        return False
    plain = bool(named.hostname) and origin == f"{named.scheme}://{named.netloc}"
    return (
        same and plain and "@" not in named.netloc and (scheme, named.scheme) != ("https", "http")
    )


def file_paths(body: bytes) -> Iterator[str]:
    """What a call of a Gradio handler names as files: every "path" at any depth of its JSON.

    Gradio turns a mapping with a path and a mark into a file wherever it stands, in the value of a
    text field too. The mark is not asked for here, so another spelling of it changes nothing. A
    body that is no JSON names none; `call_error` refuses it.
    """
    try:
        values = _walk(json.loads(body))
    except (ValueError, RecursionError):
        return
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            yield value["path"]


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
