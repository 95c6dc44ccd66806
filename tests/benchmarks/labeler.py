"""What the labeler holds: load, power cuts, 100,000 tasks, an import, a page at rest, a press, and
texts that take a browser long to lay out.

    make bench
    python -m tests.benchmarks.labeler load paint --engine sqlite --minutes 1 --out figures.md

The server is a child process, asked over HTTP on 127.0.0.1 by clients on the same machine. Each
part starts from an empty store on each engine; PostgreSQL is left out, with the reason, where no
server answers.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import sqlalchemy as sa
import tyro

from data import runs
from data.imports import import_file
from data.schema import Annotator, Answer, Completion, Task, make_prompt
from data.simulated_annotators import PERSONAS, crew
from data.store import STORE_VARIABLE, Store
from labeler.access.auth import COOKIE
from labeler.rating.actions import AHEAD
from labeler.simulate import Tally, rate
from reward_model.benchmark.tables import machine
from tests.benchmarks.figures import Figure, count, markdown, milliseconds, say, write
from tests.benchmarks.ground import CUT_SECONDS, ENGINES, Absent, Engine, Ground, PowerCuts, fill
from tests.support.browser import CHROMIUM, QUIET_BROWSER, Server, open_grpo
from tests.support.content import claim_ahead
from tests.support.grpo_run import sample, step
from tests.support.grpo_run import write as write_run
from tests.support.hostile import FREEZING, long_text

Part = Literal["load", "crash", "claim", "import", "rest", "paint", "texts"]

PEOPLE = 50
A_SECOND = 10
CLAIMS = 400
SPACING_SECONDS, REST_SECONDS = 0.4, 0.3  # the page takes no press right after painting
KEYS = {"pairwise": "1", "binary": "g", "scalar": "7"}
WATCH = """(() => {
  const token = () => document.getElementById("task")?.dataset.token;
  let begun = null, before = null;
  window.painted = [];
  addEventListener("keydown", () => { begun = performance.now(); before = token(); }, true);
  new MutationObserver(() => {
    if (begun === null || !token() || token() === before) return;
    const since = begun;
    begun = null;
    requestAnimationFrame(() => requestAnimationFrame(
      () => window.painted.push(performance.now() - since)));
  }).observe(document, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["data-token"],
  });
})()"""
"""Notes in the page itself how long after a press another task is on the screen."""


LONG_TASKS = """window.longest = 0;
new PerformanceObserver(seen => {
  for (const task of seen.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask", buffered: true });"""
IDLE = """() => new Promise(resume => {
  const tell = () => { resume(window.longest); window.longest = 0; };
  requestAnimationFrame(() => requestIdleCallback(() => setTimeout(tell, 100), { timeout: 60000 }));
})"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Measure what the labeler is to hold, on each engine."""

    parts: tyro.conf.Positional[tuple[Part, ...]] = ()
    """Which parts; none named: all."""
    engine: tuple[Engine, ...] = ("sqlite", "postgresql")
    """On which engines."""
    minutes: float = 10.0
    """How long the load lasts."""
    judgements: int = 100_000
    """How many are given while the server is killed and restarted."""
    tasks: int = 100_000
    """How many are in the store where the next one is claimed; 8,000 or more."""
    lines: int = 100_000
    """How many are imported."""
    seconds_at_rest: float = 60.0
    """How long the page at rest is watched."""
    presses: int = 100
    """How many keys are pressed in the browser."""
    out: Path | None = None
    """File for the table: JSON where its name ends in .json, else Markdown."""


def main() -> None:
    settings = tyro.cli(Settings, prog="python -m tests.benchmarks.labeler")
    signal.signal(signal.SIGTERM, _end)
    say(machine())
    figures: dict[str, list[Figure]] = {engine: [] for engine in settings.engine}
    for part in settings.parts or tuple(PARTS):
        for engine in settings.engine:
            figures[engine] += measured(part, engine, settings)
        write(figures, settings.out)
    print("\n" + markdown(figures))


def _end(*_: Any) -> None:
    """Told to end: by an exception, so that child servers and schemas go as well."""
    sys.exit("ended by SIGTERM")


def measured(part: Part, engine: Engine, settings: Settings) -> list[Figure]:
    """One part on one engine; nothing, with the reason, where it cannot be measured."""
    say(f"{part} on {engine} ...")
    begun = time.monotonic()
    try:
        with ExitStack() as stack:
            ground = stack.enter_context(ENGINES[engine]())
            found = PARTS[part](ground, settings)
    except Absent as absent:
        say(f"  left out: {absent}")
        return []
    for figure in found:
        say(f"  {figure.bar}: {figure.measured} {figure.value}")
    say(f"  ({time.monotonic() - begun:.0f} s)")
    return found


# ---------------------------------------------------------------- the parts


def load(ground: Ground, settings: Settings) -> list[Figure]:
    """Annotators at a steady pace, each on a connection of their own."""
    wanted = round(60 * settings.minutes * A_SECOND)
    fill(ground, wanted + 4 * PEOPLE)
    tally = Tally(wanted)
    with ground.served() as server, ground.open() as store:
        trouble = rated(store, server, tally, pace=PEOPLE / A_SECOND)
    bar = f"{PEOPLE} annotators, {A_SECOND} judgements a second, {settings.minutes:g} min"
    p50, p95, p99 = (percentile(tally.seconds or [math.inf], q) for q in (0.5, 0.95, 0.99))
    errors = tally.resent + tally.refused + len(trouble)
    return [
        count(bar, "errors", errors),
        Figure(bar, "<= 1 s", "p99 of an answer", milliseconds(p99), p99 <= 1),
        Figure(bar, "", "p95 of an answer", milliseconds(p95)),
        Figure(bar, "", "p50 of an answer", milliseconds(p50)),
        Figure(bar, "", "judgements a second", f"{len(tally.tokens) / tally.took:.1f}"),
    ]


def crash(ground: Ground, settings: Settings) -> list[Figure]:
    """As fast as possible, while the server is killed again and again."""
    fill(ground, round(1.1 * settings.judgements / 2), wanted=(1, 2, 3))
    tally = Tally(settings.judgements)
    with ground.served() as server, ground.open() as store:
        with PowerCuts(server) as cuts:
            trouble = rated(store, server, tally)
        server.kill()
        found = checked(store, tally.tokens)
    bar = f"{settings.judgements:,} judgements, kill -9 every {CUT_SECONDS:.0f} s"
    missing = settings.judgements - len(tally.tokens)
    return [
        *(count(bar, name, n) for name, n in found.items()),
        count(bar, "not given", missing + len(trouble)),
        Figure(bar, "", "times killed", str(cuts.count)),
        Figure(bar, "", "calls sent again", str(tally.resent)),
        Figure(bar, "", "judgements a second", f"{len(tally.tokens) / tally.took:.0f}"),
    ]


def checked(store: Store, tokens: Sequence[str]) -> dict[str, int]:
    """What is wrong in the ledger, by SQL of its own. `tokens`: answers said to be kept."""
    stands = (
        "j.value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM judgements n WHERE n.supersedes = j.id)"
    )
    twice = (
        f"SELECT count(*) FROM (SELECT 1 FROM judgements j WHERE {stands}"
        " GROUP BY j.task_id, j.annotator_id HAVING count(*) > 1) d"
    )
    places = (  # what is asked a second time, or because its answer is known, fills none
        f"(SELECT count(*) FROM judgements j WHERE {stands} AND j.task_id = t.id"
        " AND j.purpose = 'queue')"
    )
    with store.database.read() as connection:

        def number(query: str) -> int:
            return int(connection.execute(sa.text(query)).scalar_one())

        rows = connection.execute(sa.text(f"SELECT client_token FROM judgements j WHERE {stands}"))
        kept = {row.client_token for row in rows}
        return {
            "lost": len(set(tokens) - kept),
            "duplicated": number(twice)
            + number("SELECT count(*) - count(DISTINCT client_token) FROM judgements")
            + len(tokens)
            - len(set(tokens)),
            "over-assigned": number(
                f"SELECT count(*) FROM tasks t WHERE t.remaining <> t.wanted - {places}"
            )
            + number(f"SELECT count(*) FROM tasks t WHERE {places} > t.wanted"),
        }


def claim(ground: Ground, settings: Settings) -> list[Figure]:
    """The next task of one of many annotators, at several states of one large queue."""
    fill(ground, settings.tasks, wanted=(3,))
    bar = f"next task claimed, {settings.tasks:,} tasks, 3 annotators each"
    half, most = settings.tasks // 2, settings.tasks * 9 // 10
    found = []

    def note(state: str, people: Sequence[Annotator]) -> None:
        p95 = percentile(claims(store, people), 0.95)
        found.append(Figure(bar, "<= 20 ms", f"p95, {state}", milliseconds(p95), p95 <= 0.02))

    with ground.open() as store:
        people = [store.people.add(f"person-{i}", "annotator") for i in range(PEOPLE)]
        ahead = store.people.add("ahead", "annotator")
        note("fresh", people)
        mark_judged(store, ahead, 0, half)
        note("one annotator half through, the others", people)
        note("one annotator half through, that one", [ahead])
        mark_judged(store, ahead, half, most)
        note("one annotator nine tenths through", [ahead])
        for other in ("second", "third"):
            mark_judged(store, store.people.add(other, "annotator"), 0, half)
        note("half done", people)
    return found


def claims(store: Store, people: Sequence[Annotator]) -> list[float]:
    """Seconds of claims of which each finds one new task."""
    rng = random.Random(0)
    seconds = []
    for i in range(CLAIMS + 2 * len(people)):
        person = people[i % len(people)]
        begun = time.perf_counter()
        held = claim_ahead(store, person, rng, AHEAD)
        seconds.append(time.perf_counter() - begun)
        answer = Answer({"pairwise": "a", "binary": "good", "scalar": "5"}[held[0].task.kind])
        store.ledger.submit(person, held[0].id, answer, f"claim:{secrets.token_hex(12)}")
    return seconds[2 * len(people) :]


def mark_judged(store: Store, who: Annotator, first: int, last: int) -> None:
    """As if this annotator had judged the tasks at these places of the queue."""
    values = {"who": who.id, "first": first, "last": last, "now": "2026-01-01T00:00:00.000000Z"}
    span = "t.position > :first AND t.position <= :last AND t.remaining > 0"
    mine = "SELECT 1 FROM assignments o WHERE o.task_id = t.id AND o.annotator_id = :who"
    statements = (
        "INSERT INTO assignments (task_id, annotator_id, state, turn, lease_until, created_at)"
        f" SELECT t.id, :who, 'done', -1, :now, :now FROM tasks t WHERE {span}"
        f" AND NOT EXISTS ({mine})",
        "INSERT INTO judgements (task_id, annotator_id, assignment_id, kind, value, client_token,"
        " created_at) SELECT a.task_id, :who, a.id, t.kind, CASE t.kind WHEN 'pairwise' THEN 'a'"
        " WHEN 'binary' THEN 'good' ELSE '5' END, 'mark:' || a.id, :now"
        " FROM assignments a JOIN tasks t ON t.id = a.task_id"
        f" WHERE a.annotator_id = :who AND a.turn = -1 AND {span}",
        f"UPDATE tasks AS t SET remaining = remaining - 1 WHERE {span}"
        f" AND EXISTS ({mine} AND o.turn = -1)",
    )
    with store.database.write() as connection:
        for statement in statements:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(sa.text(statement), used)
    if not store.database.is_sqlite:  # which its autovacuum does by itself within a minute
        with store.database.write() as connection:
            connection.execute(sa.text("ANALYZE"))


def imports(ground: Ground, settings: Settings) -> list[Figure]:
    """JSON lines, a quarter prompts and the rest judgements: alone, and beside people at work."""
    alone, beside = (lines_file(ground, settings.lines, name) for name in ("alone", "beside"))
    with ground.open() as store:
        begun = time.monotonic()
        import_file(store, alone)
        seconds = time.monotonic() - begun
    bar = f"import of {settings.lines:,} lines"
    found = [Figure(bar, "<= 60 s", "time", f"{seconds:.1f} s", seconds <= 60)]
    fill(ground, A_SECOND * 900)
    with ground.served() as server, ground.open() as store:
        with others_at_work(store, server) as tally, pages_asked(server) as pages:
            before, begun = len(tally.seconds), time.monotonic()
            pages.clear()
            command = [sys.executable, "-m", "data", "import", str(beside)]
            place = {**os.environ, STORE_VARIABLE: ground.url}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=place)
            took = time.monotonic() - begun
            answers, pages = tally.seconds[before:], list(pages)
    bar += f", {PEOPLE} annotators beside it"
    found.append(Figure(bar, "", "time", f"{took:.1f} s"))
    for what, seen in (("an answer", answers), ("a file, health or the sign-in page", pages)):
        p99 = percentile(seen or [math.inf], 0.99)
        found.append(Figure(bar, "<= 500 ms", f"p99 of {what}", milliseconds(p99), p99 <= 0.5))
        found.append(Figure(bar, "", f"slowest of {len(seen):,}", milliseconds(max(seen))))
    return found


def lines_file(ground: Ground, lines: int, name: str) -> Path:
    """A file of so many lines that no other name's file has."""
    file = ground.folder / f"{name}.jsonl"
    with file.open("w") as stream:
        for i in range(lines // 4):
            prompt = f"Question number {i} of {name}?"
            stream.write(json.dumps({"type": "prompt", "prompt": prompt}) + "\n")
            common = {"type": "judgement", "kind": "scalar", "prompt": prompt, "annotator": name}
            for n in range(3):
                line = {**common, "completion": f"Answer {n} to {i}.", "value": 1 + (i + n) % 10}
                stream.write(json.dumps(line) + "\n")
    return file


@contextmanager
def pages_asked(server: Server) -> Iterator[list[float]]:
    """Seconds of pages that need no store, asked for ten times a second, until left."""
    seconds: list[float] = []
    over = threading.Event()

    def ask() -> None:
        paths = itertools.cycle(("/healthz", "/static/label.js", "/sign-in"))
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not over.wait(0.1):
                begun = time.perf_counter()
                client.get(next(paths)).raise_for_status()
                seconds.append(time.perf_counter() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def rest(ground: Ground, settings: Settings) -> list[Figure]:
    """A lead's page of a GRPO run with long answers, while nothing changes."""
    with chromium() as browser:
        fill(ground, 10_000)
        with ground.open() as store:
            lena = store.people.add("lena", "lead", "no password")
            run_id = runs.new_run(store, ground.folder, "grpo", {"kl_target": 6.0})
            long = ["**A long answer** of several lists.\n\n- one\n- two\n\n" * 200] * 8
            drawn = [sample(40, f"Question {n // 8}?", completion=long[0]) for n in range(64)]
            lines = [step(n) for n in range(1, 41)]
            write_run(runs.runs_folder(ground.folder) / run_id, metrics=lines, samples=drawn)
            store.runs.end(run_id, "finished", "")
            session = store.people.start_session(lena)
        with ground.served() as server:
            context = browser.new_context()
            context.add_cookies([{"name": COOKIE, "value": session, "url": server.url}])
            page = context.new_page()
            page.goto(f"{server.url}/lead/")
            open_grpo(page)
            page.wait_for_selector("#grpo-drawn details, #grpo-drawn .card")
            time.sleep(10)
            process = psutil.Process(server.process.pid)
            before, begun = process.cpu_times(), time.monotonic()
            time.sleep(settings.seconds_at_rest)
            after, took = process.cpu_times(), time.monotonic() - begun
    used = (after.user + after.system - before.user - before.system) / took
    bar = "a lead page with long answers open, nothing changes"
    return [Figure(bar, "< 2%", "of one core", f"{100 * used:.1f}%", used < 0.02)]


@contextmanager
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Absent("Playwright is not installed") from None
    if CHROMIUM is None:
        raise Absent("no Chromium: set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET_BROWSER)
        try:
            yield browser
        finally:
            browser.close()


def paint(ground: Ground, settings: Settings) -> list[Figure]:
    """From a key press to the next task on the screen, alone and beside others at work."""
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        fill(ground, 2 * settings.presses + A_SECOND * 600)
        store = stack.enter_context(ground.open())
        server = stack.enter_context(ground.served())
        page = label_page(browser, server, store)
        alone = pressed(page, settings.presses)
        with others_at_work(store, server):
            beside = pressed(page, settings.presses)
    bar = f"key press to next task painted, {settings.presses} presses"
    found = []
    for seconds, bound, who in (
        (alone, 0.2, "one annotator"),
        (beside, 0.5, f"{PEOPLE} others at {A_SECOND} judgements a second"),
    ):
        p95 = percentile(seconds, 0.95)
        wanted = f"<= {milliseconds(bound)}"
        found.append(Figure(bar, wanted, f"p95, {who}", milliseconds(p95), p95 <= bound))
        found.append(Figure(bar, "", f"slowest, {who}", milliseconds(max(seconds))))
    return found


def texts(ground: Ground, settings: Settings) -> list[Figure]:
    """Comparisons of 1 MB texts: for how long at most the page answers nothing, in each view."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Absent("Playwright is not installed") from None
    if CHROMIUM is None:
        raise Absent("no Chromium: set CHROMIUM to its path")
    found: list[Figure] = []
    with ExitStack() as stack:
        store = stack.enter_context(ground.open())
        store.ledger.add_tasks(map(_freezing_task, range(len(FREEZING)), FREEZING))
        server = stack.enter_context(ground.served())
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET_BROWSER)
        stack.callback(browser.close)
        page = label_page(browser, server, store)
        for name in FREEZING:
            page.wait_for_selector("#task[data-ready]", timeout=60_000)
            rendered = page.evaluate(IDLE) / 1000
            page.keyboard.press("r")
            raw = page.evaluate(IDLE) / 1000
            page.keyboard.press("r")
            longest = max(rendered, raw)
            bar = f"{name}: 1 MB on each side, longest stretch without an answer"
            shown = f"{milliseconds(rendered)}, Raw {milliseconds(raw)}"
            found.append(Figure(bar, "<= 300 ms", "rendered", shown, longest <= 0.3))
            page.evaluate("document.getElementById('task').removeAttribute('data-ready')")
            page.evaluate("window.longest = 0")
            page.keyboard.press("0")
    return found


def _freezing_task(position: int, name: str) -> Task:
    text = long_text(name)
    prompt = make_prompt(f"Write {name} without end.")
    return Task("pairwise", Completion(prompt, text), Completion(prompt, text + "."), 1, position)


def label_page(browser: Any, server: Server, store: Store) -> Any:
    """The page as somebody who has just signed in sees it."""
    person = store.people.find("presser") or store.people.add("presser", "annotator")
    context = browser.new_context()
    session = store.people.start_session(person)
    context.add_cookies([{"name": COOKIE, "value": session, "url": server.url}])
    page = context.new_page()
    page.add_init_script(WATCH + ";" + LONG_TASKS)
    page.goto(f"{server.url}/label/")
    page.wait_for_selector("#task[data-token]", timeout=60_000)
    time.sleep(2)
    return page


def pressed(page: Any, presses: int) -> list[float]:
    """Seconds from each press to the next task on the screen."""
    page.evaluate("window.painted = []")
    for n in range(1, presses + 1):
        begun = time.monotonic()
        page.keyboard.press(KEYS[str(page.get_attribute("#task", "data-kind"))])
        page.wait_for_function("n => window.painted.length >= n", arg=n, timeout=20_000, polling=50)
        time.sleep(max(REST_SECONDS, begun + SPACING_SECONDS - time.monotonic()))
    return [ms / 1000 for ms in page.evaluate("window.painted")]


@contextmanager
def others_at_work(store: Store, server: Server) -> Iterator[Tally]:
    """Simulated annotators at a steady pace, until left."""
    tally = Tally(10**9)
    thread = threading.Thread(target=rated, args=(store, server, tally, PEOPLE / A_SECOND))
    thread.start()
    time.sleep(PEOPLE / A_SECOND)
    try:
        yield tally
    finally:
        tally.stop.set()
        thread.join()
        say(f"  beside it, {len(tally.tokens) / tally.took:.1f} judgements a second were given")


# ---------------------------------------------------------------- what they share


def rated(store: Store, server: Server, tally: Tally, pace: float = 0.0) -> list[str]:
    """Let annotators of every persona rate; what ended it before its time, if anything did."""
    done = threading.Event()
    threading.Thread(target=_narrate, args=(tally, done), daemon=True).start()
    try:
        rate(store, server.url, crew(list(PERSONAS), PEOPLE, 0), tally, pace)
    except ValueError as error:
        say(f"  {error}")
        return [str(error)]
    finally:
        done.set()
    return []


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that a share q of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def _narrate(tally: Tally, done: threading.Event) -> None:
    while not done.wait(60):
        say(f"  {len(tally.tokens):,} judgements so far")


PARTS: dict[Part, Callable[[Ground, Settings], list[Figure]]] = {
    "load": load,
    "crash": crash,
    "claim": claim,
    "import": imports,
    "rest": rest,
    "paint": paint,
    "texts": texts,
}


if __name__ == "__main__":
    main()
