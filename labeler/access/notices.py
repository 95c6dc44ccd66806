"""What is said to somebody whose request comes to nothing: a page, or JSON where a script asks."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from data.settings import disk_message, store_trouble
from labeler.access.auth import COOKIE
from labeler.access.proxy import inner_path
from labeler.rendering import as_sentence, render_macro

TROUBLE = "That did not work"


def notice(request: Request, status: int, title: str, text: str) -> Response:
    """The answer with this status and text, in the form that the one who asks can show."""
    path = inner_path(request.scope)
    if path.startswith("/rate/") or "/gradio_api/" in path:
        return JSONResponse({"notice": text, "error": text, "detail": text}, status)
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(render_macro("sign_in", "refused", title, text), status)
    return PlainTextResponse(text, status)


def trouble(request: Request, error: Exception) -> Response:
    """The answer while the disk is full or the store away; any other error is raised again.

    Who wanted to sign out is signed out in this browser at least.
    """
    if not store_trouble(error):
        raise error
    text = as_sentence(disk_message(error))
    out = inner_path(request.scope) == "/sign-out"
    if out:
        text += " You are signed out in this browser; what is not sent yet is kept in it."
    answer = notice(request, 503, TROUBLE, text)
    if out:
        answer.delete_cookie(COOKIE, cookie_path(request), httponly=True, samesite="lax")
    return answer


def root_of(request: Request) -> str:
    """The path below which the app is served; empty where it has a host of its own."""
    return str(request.scope.get("root_path", ""))


def cookie_path(request: Request) -> str:
    """The path for which our cookies are sent."""
    return root_of(request) or "/"
