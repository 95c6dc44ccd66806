"""A reward model over HTTP: our own `/score`, and what clients of vLLM and OpenRLHF send.

    POST /score        prompts and completions              rewards, in reward units
    POST /classify     vLLM's classification request        the head's output, as vLLM gives it
    POST /get_reward   OpenRLHF's remote reward request     rewards, in reward units
    GET  /health       GET /v1/models

No request is kept. There is no login: whoever reaches the port can ask.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
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
from reward_model.language_model.render import Rendered
from reward_model.scoring.scorer import Scorer
from reward_model.serving.batching import Array, Read, Reader
from reward_model.serving.chat_text import ChatText

LARGEST_BODY = 16 * 2**20
"""Bytes."""
MOST_TEXTS = 4096
"""In one request."""
UNIT = "mean 0 and standard deviation 1 on the SFT policy's samples"
SHAPES = {
    "/score": '{"prompts": ["..."], "completions": ["..."]}',
    "/classify": '{"input": ["..."]} or {"messages": [{"role": "user", "content": "..."}, ...]}',
    "/get_reward": '{"query": ["..."], "prompts": ["..."]}',
}


class ScoreRequest(BaseModel):
    """Rewards of completions."""

    model_config = ConfigDict(strict=True, extra="forbid")
    prompts: list[Any]
    """Each a text, or a list of {"role", "content"}."""
    completions: list[str]
    finished: list[bool] | None = None
    """Which completions ended by themselves; all, where it is not given."""
    return_std: bool = False


class ClassifyRequest(BaseModel):
    """vLLM's. What it knows besides is accepted and has no effect: the output is one raw number."""

    model: str | None = None
    input: Any = None
    """A text or token ids, or a list of such; a text is in the chat template."""
    messages: list[Any] | None = None
    """In place of `input`: one conversation, which ends with the assistant's turn."""
    continue_final_message: bool = False
    """Whether the assistant's turn was cut off."""


class GetRewardRequest(BaseModel):
    """OpenRLHF's. What it sends besides, e.g. labels, has no effect."""

    query: list[str]
    """Prompt and completion as one text, end-of-turn included where the completion ended."""
    prompts: list[Any] | None = None
    """The part of each query that is the prompt."""


class Service:
    """What the routes do, without HTTP."""

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader = reader
        self.scorer = reader.scorer
        self.name = name
        self.chat = ChatText.of(self.scorer.tokenizer, self.scorer.max_tokens)

    def score(self, asked: ScoreRequest) -> dict[str, Any]:
        finished = asked.finished
        if finished is None:
            finished = [True] * len(asked.completions)
        if not len(asked.prompts) == len(asked.completions) == len(finished):
            raise ValueError(
                f"{len(asked.prompts)} prompts, {len(asked.completions)} completions and"
                f" {len(finished)} marks of finished ones: send as many of each"
            )
        rows = list(zip(asked.prompts, asked.completions, finished, strict=True))
        texts = _each("completions", rows, lambda row: self.scorer.render(*row))
        rewards, sd = self._rewards(texts)
        std = {"std": sd} if asked.return_std else {}
        return {"rewards": rewards, **std, "model": self.name, "unit": UNIT}

    def classify(self, asked: ClassifyRequest) -> dict[str, Any]:
        if asked.model not in (None, self.name):
            raise LookupError(f"model {asked.model!r} is not served here: use {self.name!r}")
        texts = self._classified(asked)
        raw, _ = self._read(texts)
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
        }

    def _classified(self, asked: ClassifyRequest) -> list[Rendered]:
        given = asked.input
        if (given is None) == (asked.messages is None):
            raise ValueError("send one of input and messages")
        if asked.messages is not None:
            finished = not asked.continue_final_message
            return _each("messages", [asked.messages], lambda m: self.chat.read_chat(m, finished))
        several = isinstance(given, list) and not _are_ids(given)
        return _each("input", given if several else [given], self._classified_one)

    def _classified_one(self, one: object) -> Rendered:
        if isinstance(one, str):
            return self.chat.read_text(one)
        if isinstance(one, list) and _are_ids(one):
            return self.chat.read_ids(one)
        raise ValueError("neither a text nor token ids")

    def get_reward(self, asked: GetRewardRequest) -> dict[str, Any]:
        prompts = asked.prompts if asked.prompts is not None else [""] * len(asked.query)
        if len(prompts) != len(asked.query):
            raise ValueError(
                f"{len(asked.query)} texts in query and {len(prompts)} prompts: send as many of"
                " each, or no prompts"
            )
        rows = list(zip(asked.query, prompts, strict=True))
        texts = _each("query", rows, lambda row: self.chat.read_text(row[0], _text(row[1])))
        rewards, sd = self._rewards(texts)
        return {"rewards": rewards, "scores": rewards, "extra_logs": {"reward_sd": sd}}

    def _rewards(self, texts: Sequence[Rendered]) -> tuple[list[float], list[float]]:
        raw, sd = self._read(texts)
        scorer = self.scorer
        rewards: Array = (raw - scorer.mean) / scorer.sd
        return rewards.tolist(), (sd / scorer.sd).tolist()

    def _read(self, texts: Sequence[Rendered]) -> Read:
        raw, sd = self.reader.read(texts)
        bad = np.flatnonzero(~np.isfinite(raw))
        if len(bad):
            raise FloatingPointError(f"text {bad[0]} gets no finite reward from this model")
        return raw, sd


def _each(name: str, rows: Sequence[Any], read: Callable[[Any], Rendered]) -> list[Rendered]:
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


def _are_ids(value: list[Any]) -> bool:
    return bool(value) and all(type(i) is int for i in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"prompt {str(value)[:40]!r} is no text: send it in the chat template")
    return value


def build_app(reader: Reader, name: str) -> FastAPI:
    """The routes over a running reader. `name`: what the model is called in answers."""
    app = FastAPI(title=f"reward model {name}")
    service = Service(reader, name)

    @app.post("/score")
    def score(asked: ScoreRequest) -> dict[str, Any]:
        return service.score(asked)

    @app.post("/classify")
    def classify(asked: ClassifyRequest) -> dict[str, Any]:
        return service.classify(asked)

    @app.post("/get_reward")
    def get_reward(asked: GetRewardRequest) -> dict[str, Any]:
        return service.get_reward(asked)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "model": name, "unit": UNIT}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
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
        return refusal(status, f"{where}: {first['msg'].lower()}: {send}")

    @app.exception_handler(ValueError)
    def unreadable(_: Request, error: ValueError) -> JSONResponse:
        return refusal(422, str(error))

    @app.exception_handler(LookupError)
    def not_served(_: Request, error: LookupError) -> JSONResponse:
        return refusal(404, str(error))

    @app.exception_handler(FloatingPointError)
    def unscorable(_: Request, error: FloatingPointError) -> JSONResponse:
        return refusal(500, f"{error}: serve it in float32, or train it again")

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        known = ", ".join([*SHAPES, "/health"])
        said = {
            404: f"no {request.url.path} here: use {known}",
            405: "use POST for what is scored",
        }
        return refusal(error.status_code, said.get(error.status_code, error.detail))


def refusal(status: int, line: str) -> JSONResponse:
    return JSONResponse({"error": {"message": line, "code": status}}, status)


class BodyLimit:
    """Turns away a request that says it is too long, or turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        came, headers = 0, dict(scope.get("headers", []))
        line = f"a request may have {LARGEST_BODY:,} bytes: send the texts in several"
        if int(headers.get(b"content-length", 0)) > LARGEST_BODY:
            await refusal(413, line)(scope, receive, send)
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
    with listen(host, port) as listener, Reader(load()) as reader:
        config = uvicorn.Config(
            build_app(reader, name), log_level="warning", timeout_graceful_shutdown=2
        )
        where = address(host, listener.getsockname()[1])
        print(f"{name} answers at {where}; Ctrl-C ends it", flush=True)
        if not local(host):
            print(f"{host} is open to the network, and there is no login", flush=True)
        with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
            uvicorn.Server(config).run([listener])
    print("stopped serving", flush=True)


@contextmanager
def serving(scorer: Scorer, name: str) -> Iterator[str]:
    """The same in the background on a free port of this machine; gives its address."""
    with listen("127.0.0.1", 0) as listener, Reader(scorer) as reader:
        server = uvicorn.Server(uvicorn.Config(build_app(reader, name), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield address("127.0.0.1", listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
