"""Simulated annotators, for trying the loop without people: they rate over HTTP, as browsers do.

An answer that the app did not confirm is sent again as it was: the token in it sees to it that one
judgement comes of it. So the app may be stopped and started while they work.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from data.ports import address
from data.schema import Completion, JsonObject, Task, make_prompt
from data.settings import Place
from data.simulated_annotators import Persona, SimulatedAnnotator, crew
from data.store import Store
from labeler.serve import Serve
from reward_model.config import check_ranges

PATIENCE_SECONDS = 120.0
"""How long an answer is sent again before the app counts as gone."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
CALL_SECONDS = 60.0
KEPT_OPEN_SECONDS = 2.0
"""Idle longer than this, a connection is made anew: servers close idle ones after a while."""
QUEUE_SECONDS = 2.0

START = "start it with `coach serve`"


@dataclass(frozen=True, kw_only=True)
class Simulate(Place):
    """Let simulated annotators with a known taste work through the queue of a running app."""

    url: str = address(Serve.host, Serve.port)
    """Where the app is reached. It must serve this workspace: the annotators are added here."""
    personas: tuple[Persona, ...] = ("careful",)
    """What they are like, in turn; one named twice comes twice as often."""
    judgements: int = 300
    """How many judgements they give together; fewer if the queue runs empty."""
    annotators: int = 6
    """How many of them."""
    pace: float = 0.0
    """Mean seconds between two judgements of one annotator. 0: as fast as the app answers."""
    seed: int = 0
    """Seed of their tastes and mistakes."""


def run_simulation(settings: Simulate) -> int:
    """Run them; prints what came of it. Raises ValueError on bad settings or if no app answers."""
    from tqdm import tqdm

    if settings.judgements < 1:
        raise ValueError(f"judgements {settings.judgements} not allowed: use 1 or more")
    if settings.pace < 0:
        raise ValueError(f"pace {settings.pace:g} not allowed: use 0 or more seconds")
    check_ranges(settings)
    people = crew(settings.personas, settings.annotators, settings.seed)
    find_app(settings.url)
    tally = Tally(settings.judgements)
    with settings.open() as store:
        try:
            with tqdm(total=tally.wanted, desc="judgements", unit="", disable=None) as bar:
                how = tally, settings.pace, settings.seed
                rate(store, settings.url, people, *how, lambda done: bar.update(done - bar.n))
        finally:
            print(tally.report(), flush=True)
    return 0


@dataclass
class Tally:
    """What the annotators share: how many judgements are wanted, and what came of it so far."""

    wanted: int
    people: int = 0
    given: Counter[str] = field(default_factory=Counter)
    """Judgements by persona."""
    tokens: list[str] = field(default_factory=list)
    """Tokens of the answers that the app said it kept."""
    seconds: list[float] = field(default_factory=list)
    """From an answer's first sending to its confirmation."""
    refused: int = 0
    """Answers that the app said it could not take."""
    resent: int = 0
    """Calls that were sent again."""
    took: float = 0.0
    """Seconds in all."""
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: int = 0

    def take(self) -> bool:
        """Whether one more is wanted. Waits where the last ones are just being given."""
        while not self.stop.is_set():
            with self._lock:
                if len(self.tokens) >= self.wanted:
                    return False
                if len(self.tokens) + self._open < self.wanted:
                    self._open += 1
                    return True
            self.stop.wait(FIRST_WAIT)
        return False

    def settle(self, persona: str, token: str, seconds: float, kept: bool) -> None:
        """Note how the one that was taken ended."""
        with self._lock:
            self._open -= 1
            if not kept:
                self.refused += 1
                return
            self.given[persona] += 1
            self.tokens.append(token)
            self.seconds.append(seconds)

    def count_resent(self) -> None:
        with self._lock:
            self.resent += 1

    def fail(self, error: Exception) -> None:
        """The first error ends the work of all."""
        with self._lock:
            self.error = self.error or error
        self.stop.set()

    def report(self) -> str:
        """What came of it, in a few lines."""
        given = len(self.tokens)
        lines = [f"{given} judgements by {self.people} simulated annotators"]
        if given:
            lines[0] += f" in {self.took:.1f} s: {given / self.took:.1f} a second"
            lines.append(", ".join(f"{name} {n}" for name, n in sorted(self.given.items())))
            waits = sorted(self.seconds)
            p50, p95, p99 = (1000 * waits[int(q * (given - 1))] for q in (0.5, 0.95, 0.99))
            lines.append(f"an answer took {p50:.0f} ms (p50), {p95:.0f} (p95), {p99:.0f} (p99)")
        if self.resent:
            lines.append(f"sent again, as the app was away or busy: {self.resent}")
        if self.refused:
            lines.append(f"not taken, as others had given them already: {self.refused}")
        if given < self.wanted and not self.stop.is_set():
            lines.append("the queue ran empty: sample more completions, then simulate again")
        return "\n".join(lines)


def rate(
    store: Store,
    url: str,
    people: Sequence[SimulatedAnnotator],
    tally: Tally,
    pace: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Let them rate, all at once, until the tally is full or the queue is empty for each.

    The store is used to add them and to sign them in and out, as a lead would; all else goes over
    HTTP. Raises ValueError if the app is gone for too long or refuses them.
    """
    rows = [store.people.find(p.name) or store.people.add(p.name, "annotator") for p in people]
    sessions = [store.people.start_session(row) for row in rows]
    tally.people = len(people)
    threads = [
        threading.Thread(target=_run_annotator, args=(url, *one, tally, pace, seed), daemon=True)
        for one in zip(people, sessions, strict=True)
    ]
    begun = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                progress(len(tally.tokens))
    except BaseException:  # Ctrl-C too: the threads would go on rating
        tally.stop.set()
        raise
    finally:
        tally.took = time.monotonic() - begun
        deadline = time.monotonic() + LONGEST_WAIT  # calls under way get a moment to end
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        for row, session in zip(rows, sessions, strict=True):
            store.ledger.release(row)  # what is held goes back to the queue
            store.people.end_session(session)
    if tally.error:
        raise tally.error


def find_app(url: str) -> None:
    """Raises ValueError with the remedy unless the app answers at this address."""
    with open_client(url) as client:
        try:
            status = client.post("/rate/tasks").status_code
        except httpx.TransportError as error:
            raise ValueError(
                f"no app answers at {url} ({_reason_of(error)}): {START}, or name its address"
                " with --url"
            ) from None
    if status != 401 and not _is_temporary(status):
        raise ValueError(
            f"what answers at {url} is not this app: name the app's address with --url"
        )


def open_client(url: str, session: str = "") -> httpx.Client:
    """One annotator's connection to the app: kept open, and made anew where it broke."""
    from labeler.access.auth import COOKIE

    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"url {url!r} not allowed: write it like {address(Serve.host, 7860)}")
    return httpx.Client(
        base_url=base,
        headers={"Cookie": f"{COOKIE}={session}"},
        timeout=CALL_SECONDS,
        limits=httpx.Limits(keepalive_expiry=KEPT_OPEN_SECONDS),
        trust_env=False,
        verify=base.scheme == "https",  # else certificates are loaded for nothing
    )


def ask(
    client: httpx.Client, tally: Tally, path: str, body: JsonObject | None = None
) -> JsonObject:
    """The app's view; the same call again while the app is away or busy.

    Raises ValueError if that lasts too long, or the call is refused.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    wait = FIRST_WAIT
    while True:
        try:
            answer = client.post(path, json=body)
            if not _is_temporary(answer.status_code):
                break
            reason = f"status {answer.status_code}"
        except httpx.TransportError as error:
            reason = _reason_of(error)
        if time.monotonic() + wait > deadline:
            raise ValueError(
                f"the app at {client.base_url} has not answered for {PATIENCE_SECONDS:g} s"
                f" ({reason}): {START}, then simulate again; what was confirmed is kept"
            )
        if tally.stop.wait(wait):
            raise _Stopped
        tally.count_resent()
        wait = min(2 * wait, LONGEST_WAIT)
    if answer.status_code == 401:
        raise ValueError(
            f"the app at {client.base_url} does not know the simulated annotators: it serves"
            " another store; name the one it serves with --workspace or --store"
        )
    if answer.status_code != 200:
        raise ValueError(
            f"the app at {client.base_url} answered {path} with {answer.status_code}:"
            f" {answer.text.strip()[:200]}"
        )
    view: JsonObject = answer.json()
    return view


class _Stopped(Exception):
    """The work was ended while a call was waiting to be sent again."""


def _run_annotator(
    url: str, person: SimulatedAnnotator, session: str, tally: Tally, pace: float, seed: int
) -> None:
    """One annotator's thread: judges until enough is given, nothing is left, or it is stopped."""
    rng = random.Random(f"pace-{seed}-{person.name}")
    due, done = time.monotonic() + pace * rng.random(), 0
    try:
        with open_client(url, session) as client:
            view = ask(client, tally, "/rate/tasks")
            while view["tasks"] or view["state"] == "sampling":
                if not view["tasks"]:
                    if tally.stop.wait(QUEUE_SECONDS):
                        return
                    view = ask(client, tally, "/rate/tasks")
                    continue
                if not tally.take() or tally.stop.wait(max(0.0, due - time.monotonic())):
                    return
                shown = view["tasks"][0]
                answer = answer_to(shown, person.after(done), seed)
                begun = time.monotonic()
                view = ask(client, tally, "/rate/answer", answer)
                tally.settle(person.persona, shown["token"], time.monotonic() - begun, view["kept"])
                done += bool(view["kept"])
                again = view["tasks"] and view["tasks"][0]["assignment"] == shown["assignment"]
                if again and not view["kept"]:
                    raise ValueError(f"the app does not take the answers: {view['notice']}")
                # From the plan, not from now: a slow answer is made up for.
                due += pace * rng.lognormvariate(-0.08, 0.4)  # mean 1
    except _Stopped:
        pass
    except Exception as error:
        tally.fail(error)


def answer_to(shown: JsonObject, person: SimulatedAnnotator, seed: int) -> JsonObject:
    """What this annotator answers to a task as the app shows it.

    It follows from seed, annotator and what is shown: not from when or after what it is asked.
    """
    prompt = make_prompt(shown["messages"])
    sides = [Completion(prompt, side["text"], side["finished"]) for side in shown["answers"]]
    task = Task(shown["kind"], sides[0], sides[1] if len(sides) == 2 else None)
    rng = random.Random(f"{seed}-{person.name}-{task.id}")
    answer = person.judge(task, "a" if len(sides) == 2 else None, rng)
    return {
        "assignment": shown["assignment"],
        "token": shown["token"],
        "value": answer.value,
        "seconds": answer.seconds,
    }


def _is_temporary(status: int) -> bool:
    """Whether a call with this answer is to be sent again, as the label page does."""
    return status >= 500 or status == 429


def _reason_of(error: httpx.TransportError) -> str:
    """What the operating system said of a broken connection, without its number."""
    return str(error).split("] ")[-1] or type(error).__name__
