"""A server that speaks OpenAI's chat completions, well or badly, as a test wants it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server says to one call."""

    text: object = "An answer."
    """The message's content: a text, parts, nothing, or whatever else is tried."""
    status: int = 200
    reason: object = "stop"
    more: dict[str, Any] = field(default_factory=dict)
    """What else stands in the message."""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """The body, where it is not to be a chat completion."""
    delay: float = 0.0

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "type": "x"}}).encode()
        message = {"role": "assistant", "content": self.text, **self.more}
        choice = {"message": message, "index": 0}
        return json.dumps({"choices": [choice | {"finish_reason": self.reason}]}).encode()


@dataclass
class Fake:
    """The running server: what it was asked, and how it answers."""

    url: str = ""
    answer: Callable[[int, dict[str, Any]], Reply] = lambda n, body: Reply()
    calls: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    """The most calls that were going on at a time."""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, body: dict[str, Any], key: str | None) -> Reply:
        with self._lock:
            self.calls.append(body)
            self.keys.append(key)
            number = len(self.calls)
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        try:
            reply = self.answer(number, body)
            time.sleep(reply.delay)
            return reply
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def serving() -> Iterator[Fake]:
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = fake.call(body | {"path": self.path}, self.headers.get("authorization"))
            said = reply.body()
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "content-length": len(said)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(said)
            except OSError:  # whoever asked has gone
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(*replies: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    """These replies in turn, the last one for ever."""
    return lambda n, _: replies[min(n, len(replies)) - 1]


def distinct(n: int, body: dict[str, Any]) -> Reply:
    """A text of its own for every prompt, model, and seed where one is sent."""
    asked = body["messages"][-1]["content"]
    return Reply(f"{body['model']} says {body.get('seed')} to {asked}")
