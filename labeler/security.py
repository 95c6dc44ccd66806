"""What stands in front of every request: one origin, few paths, strict headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

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
CLOSED = ("/gradio_api/info", "/gradio_api/runs", "/monitoring", "/gradio_api/startup-events")


class Gate:
    """ASGI middleware: refuses foreign origins and closed paths, redirects, adds the headers."""

    def __init__(self, app: Any, redirect: Callable[[Request], str | None]) -> None:
        self.app = app
        self.redirect = redirect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = refusal_of(scope)
        if refusal:
            await _answer(send, *refusal)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.lower() not in HEADERS]
                message = {**message, "headers": [*kept, *HEADERS.items()]}
            await send(message)

        where = await run_in_threadpool(self.redirect, Request(scope))
        answer = RedirectResponse(where, 303) if where else self.app
        await answer(scope, receive, with_headers)


def refusal_of(scope: Scope) -> tuple[int, str] | None:
    """Status and reason for a request that goes no further; None for one that does.

    A browser names the origin of every request that another site could have caused; it must be
    this one, whatever the method.
    """
    headers = {k.lower(): v for k, v in scope["headers"]}
    origin = headers.get(b"origin")
    if origin is not None and not same_origin(origin.decode("latin-1"), headers.get(b"host", b"")):
        return 403, "This request came from another site and was refused."
    if any(scope["path"].endswith(path) for path in CLOSED):
        return 404, "Not found."
    return None


def same_origin(origin: str, host: bytes) -> bool:
    """Whether an Origin header names the host that was asked."""
    return bool(origin) and urlsplit(origin).netloc.lower() == host.decode("latin-1").lower()


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
