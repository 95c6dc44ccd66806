"""The check in front of every Gradio handler: who asks, and may they."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from data.schema import Role
from data.settings import disk_message, store_trouble
from data.store import Store
from labeler.access.auth import AccessRefused, admit
from labeler.gradio_import import gr

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
            return action(admit(store, request, role), *values)
        except AccessRefused as refused:
            raise gr.Error(str(refused), print_exception=False) from None
        except Exception as error:
            if not store_trouble(error):
                note_failure(request, 500)
                raise
            note_failure(request, 503)  # busy, or its disk is full
            raise gr.Error(disk_message(error), print_exception=False) from None

    return handler


def note_failure(request: Any, status: int) -> None:
    """Tell the gate that a call failed here; else Gradio could not read what was sent."""
    state = getattr(request, "state", None)
    if state is not None:
        state.failure = status
