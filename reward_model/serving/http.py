"""A reward model over HTTP: our own `/score`, and what clients of vLLM and OpenRLHF send.

    POST /score        prompts and completions              rewards, in reward units
    POST /classify     vLLM's classification request        the head's output, as vLLM gives it
    POST /get_reward   OpenRLHF's remote reward request     rewards, in reward units
    GET  /health       GET /v1/models

No request is kept. There is no login: whoever reaches the port can ask.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeGuard, TypeVar
from uuid import uuid4

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as Refused
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.ports import address, listen, local
from data.schema import make_prompt
from data.stats.intervals import Floats
from reward_model.language_model.render import Rendered
from reward_model.scoring.scorer import UNIT, Scorer
from reward_model.serving.batching import BatchingScorer, Read
from reward_model.serving.chat_text import chat_text

ResponseBody = dict[str, object]
Row = TypeVar("Row")
LARGEST_BODY = 16 * 2**20
"""Bytes."""
MOST_TEXTS = 4096
"""In one request."""
SHAPES = {
    "/score": '{"prompts": ["..."], "completions": ["..."]}',
    "/classify": '{"input": ["..."]} or {"messages": [{"role": "user", "content": "..."}, ...]}',
    "/get_reward": '{"query": ["..."], "prompts": ["..."]}',
}


class ScoreRequest(BaseModel):
    """Rewards of completions."""

    model_config = ConfigDict(strict=True, extra="forbid")
    prompts: list[object]
    """Each a text, or a list of {"role", "content"}."""
    completions: list[str]
    finished: list[bool] | None = None
    """Which completions ended by themselves; all, where it is not given."""
    return_std: bool = False


class ClassifyRequest(BaseModel):
    """vLLM's. What it knows besides is accepted and has no effect: the output is one raw number."""

    model: str | None = None
    input: object = None
    """A text or token ids, or a list of such; a text is in the chat template."""
    messages: list[object] | None = None
    """In place of `input`: one conversation, which ends with the assistant's turn."""
    continue_final_message: bool = False
    """Whether the assistant's turn was cut off."""


class GetRewardRequest(BaseModel):
    """OpenRLHF's. What it sends besides, e.g. labels, has no effect."""

    query: list[str]
    """Prompt and completion as one text, end-of-turn included where the completion ended."""
    prompts: list[object] | None = None
    """The part of each query that is the prompt."""


class Service:
    """What the routes do, without HTTP."""

    def __init__(self, reader: BatchingScorer, name: str) -> None:
        self.reader = reader
        self.scorer = reader.scorer
        self.name = name
        self.chat = chat_text(self.scorer)

    def score(self, asked: ScoreRequest) -> ResponseBody:
        """Rewards in reward units."""
        n = len(asked.completions)
        finished = [True] * n if asked.finished is None else asked.finished
        if not len(asked.prompts) == n == len(finished):
            raise ValueError(
                f"{len(asked.prompts)} prompts, {n} completions and"
                f" {len(finished)} marks of finished ones: send as many of each"
            )
        rows = list(zip(asked.prompts, asked.completions, finished, strict=True))
        texts = _read_each(
            "completions", rows, lambda row: self.scorer.render(make_prompt(row[0]), *row[1:])
        )
        rewards, sd = self._score_texts(texts)
        std: ResponseBody = {"std": sd} if asked.return_std else {}
        return {"rewards": rewards, **std, **_cut(texts), "model": self.name, "unit": UNIT}

    def classify(self, asked: ClassifyRequest) -> ResponseBody:
        """The head's output, in the shape of vLLM's answers."""
        if asked.model not in (None, self.name):
            raise LookupError(f"model {asked.model!r} is not served here: use {self.name!r}")
        if (asked.input is None) == (asked.messages is None):
            raise ValueError("send one of input and messages")
        if asked.messages is not None:
            finished = not asked.continue_final_message
            texts = _read_each(
                "messages", [asked.messages], lambda m: self.chat.read_chat(m, finished)
            )
        else:
            given = asked.input
            rows = given if isinstance(given, list) and not _are_ids(given) else [given]
            texts = _read_each("input", rows, self._read_input)
        raw, _ = self._read_finite(texts)
        tokens = sum(len(text.ids) for text in texts)
        data = [
            {"index": i, "label": "reward", "probs": [value], "num_classes": 1}
            for i, value in enumerate(raw.tolist())
        ]
        return {
            "id": f"classify-{uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": self.name,
            "data": data,
            "usage": {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens": 0,
                "prompt_tokens_details": None,
            },
            **_cut(texts),
        }

    def _read_input(self, one: object) -> Rendered:
        if isinstance(one, str):
            return self.chat.read_text(one)
        if _are_ids(one):
            return self.chat.read_ids(one)
        raise ValueError("neither a text nor token ids")

    def get_reward(self, asked: GetRewardRequest) -> ResponseBody:
        """Rewards in reward units, in the shape of OpenRLHF's answers."""
        prompts = [""] * len(asked.query) if asked.prompts is None else asked.prompts
        if len(prompts) != len(asked.query):
            raise ValueError(
                f"{len(asked.query)} texts in query and {len(prompts)} prompts: send as many of"
                " each, or no prompts"
            )
        texts = _read_each("query", list(zip(asked.query, prompts, strict=True)), self._read_query)
        rewards, sd = self._score_texts(texts)
        logs = {"reward_sd": sd, **_cut(texts)}
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}

    def _read_query(self, row: tuple[str, object]) -> Rendered:
        query, prompt = row
        if not isinstance(prompt, str):
            raise ValueError(
                f"prompt {str(prompt)[:40]!r} is no text: send it in the chat template"
            )
        return self.chat.read_text(query, prompt)

    def _score_texts(self, texts: Sequence[Rendered]) -> tuple[list[float], list[float]]:
        raw, sd = self._read_finite(texts)
        rewards: Floats = (raw - self.scorer.mean) / self.scorer.sd
        return rewards.tolist(), (sd / self.scorer.sd).tolist()

    def _read_finite(self, texts: Sequence[Rendered]) -> Read:
        self.scorer.require_known(texts)
        raw, sd = self.reader.read(texts)
        bad = np.flatnonzero(~np.isfinite(raw))
        if len(bad):
            raise FloatingPointError(f"text {bad[0]} gets no finite reward from this model")
        return raw, sd


def _cut(texts: Sequence[Rendered]) -> ResponseBody:
    """How many texts were too long and lost their beginning; nothing where none did."""
    n = sum(text.truncated for text in texts)
    return {"truncated": n} if n else {}


def _read_each(name: str, rows: Sequence[Row], read: Callable[[Row], Rendered]) -> list[Rendered]:
    """Every row read; a ValueError says which one it is about."""
    if not 0 < len(rows) <= MOST_TEXTS:
        raise ValueError(f"{len(rows)} texts in {name} not allowed: send 1 to {MOST_TEXTS}")
    texts = []
    for place, row in enumerate(rows):
        try:
            json.dumps(row, ensure_ascii=False).encode()
            texts.append(read(row))
        except UnicodeEncodeError:
            raise ValueError(f"{name}[{place}] holds half a character: send UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{name}[{place}]: {error}") from None
    return texts


def _are_ids(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(type(i) is int for i in value)


def build_server(reader: BatchingScorer, name: str) -> FastAPI:
    """The routes over a running reader. `name`: what the model is called in answers."""
    app = FastAPI(title=f"reward model {name}")
    service = Service(reader, name)
    app.post("/score")(service.score)
    app.post("/classify")(service.classify)
    app.post("/get_reward")(service.get_reward)

    @app.get("/health")
    def health() -> ResponseBody:
        return {"status": "ok", "model": name, "unit": UNIT}

    @app.get("/v1/models")
    def models() -> ResponseBody:
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "coach"}]}

    _refuse_clearly(app)
    app.add_middleware(BodyLimit)
    return app


def _refuse_clearly(app: FastAPI) -> None:
    """Every refusal is one line, in the shape that OpenAI's clients read."""

    @app.exception_handler(RequestValidationError)
    def misshapen(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
        send = f"send {SHAPES[request.url.path]} as application/json"
        status = 400 if first["type"] == "json_invalid" else 422
        return error_response(status, f"{where}: {first['msg'].lower()}: {send}")

    @app.exception_handler(ValueError)
    @app.exception_handler(LookupError)
    def unreadable(_: Request, error: Exception) -> JSONResponse:
        return error_response(422 if isinstance(error, ValueError) else 404, str(error))

    @app.exception_handler(FloatingPointError)
    def unscorable(_: Request, error: FloatingPointError) -> JSONResponse:
        return error_response(500, f"{error}: serve it in float32, or train it again")

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        known = ", ".join([*SHAPES, "/health"])
        said = {404: f"no {request.url.path} here: use {known}", 405: "use POST for what is scored"}
        return error_response(error.status_code, said.get(error.status_code, error.detail))


def error_response(status: int, line: str) -> JSONResponse:
    return JSONResponse({"error": {"message": line, "code": status}}, status)


class BodyLimit:
    """Turns away a request that says it is too long, or turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        came, headers = 0, dict(scope.get("headers", []))
        line = f"a request may have {LARGEST_BODY:,} bytes: send the texts in several"
        if int(headers.get(b"content-length", 0)) > LARGEST_BODY:
            await error_response(413, line)(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > LARGEST_BODY:
                raise HTTPException(413, line)
            return message

        await self.app(scope, counted, send)


def serve(load: Callable[[], Scorer], name: str, host: str, port: int) -> None:
    """Answer until Ctrl-C. Raises ValueError if the port is taken, before it loads the model."""
    with listen(host, port) as listener:
        app = build_server(BatchingScorer(load()), name)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        where = address(host, listener.getsockname()[1])

        class Ready(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                print(f"{name} answers at {where}; Ctrl-C ends it", flush=True)
                if not local(host):
                    print(f"{host} is open to the network, and there is no login", flush=True)

        with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
            Ready(config).run([listener])
    print("stopped serving", flush=True)


@contextmanager
def serving(scorer: Scorer, name: str) -> Iterator[str]:
    """The same in the background on a free port of this machine; gives its address."""
    with listen("127.0.0.1", 0) as listener:
        app = build_server(BatchingScorer(scorer), name)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield address("127.0.0.1", listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
