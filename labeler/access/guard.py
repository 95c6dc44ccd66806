"""The check in front of every Gradio handler: who asks, and may they."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from sqlalchemy.exc import OperationalError

from data.schema import Role
from data.settings import disk_message
from data.store import Store
from labeler.access.auth import Refused, admit

T = TypeVar("T")
PRIVATE: dict[str, Any] = {
    "queue": False,
    "concurrency_limit": None,
    "api_visibility": "private",
    "show_progress": "hidden",
}
"""How every handler is wired: nothing waits in a queue, nothing is listed as an API."""


def guarded(store: Store, role: Role, action: Callable[..., T]) -> Callable[..., T]:
    """A Gradio handler that runs `action(person, *values)` for those whose role allows it.

    A handler can be called without its page, so each one checks for itself.
    """

    def handler(request: gr.Request, *values: object) -> T:
        try:
            person = admit(store, request, role)
        except Refused as refused:
            raise gr.Error(str(refused), print_exception=False) from None
        try:
            return action(person, *values)
        except OperationalError as error:  # busy, or its disk is full
            raise gr.Error(disk_message(error), print_exception=False) from None

    return handler
