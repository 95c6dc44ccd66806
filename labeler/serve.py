"""Serving: open the workspace, fill it the first time, start sampling, answer on a port."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data import runs
from data.ports import address, listen, local
from data.settings import Place, loading
from data.store import Store
from labeler import jobs
from labeler.access.proxy import networks_of, root_path_of
from labeler.jobs import Site
from reward_model.config import BUILT_IN_MODEL

PROGRESS_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""How long a person waits for a locked store before they are told."""


@dataclass(frozen=True, kw_only=True)
class Serve(Place):
    """Serve the app: people rate in the browser, a lead trains from it."""

    model: str = BUILT_IN_MODEL
    """What sampling and fine-tuning start from: smollm2-135m (built in), a Hugging Face id, or a
    local folder."""
    host: str = "127.0.0.1"
    """Address to listen on. 127.0.0.1: this machine only; 0.0.0.0: everybody who can reach it."""
    port: int = 7860
    """Port to listen on."""
    root_path: str = ""
    """Path below which a proxy serves the app, e.g. /coach; the proxy may leave it in front of
    what it passes on, or take it away."""
    trusted_proxy: tuple[str, ...] = ()
    """Addresses or networks of the proxies in front, e.g. 127.0.0.1 10.0.0.0/8. What they say of a
    browser's request, X-Forwarded-Host, -Proto and -For, is heeded; from anybody else it is not."""


def serve(settings: Serve) -> int:
    """Serve until Ctrl-C. Raises ValueError if the port is taken or the store cannot be opened.

    Runs are processes of their own: they go on when the server ends.
    """
    import uvicorn

    root_path = root_path_of(settings.root_path)
    trusted = networks_of(settings.trusted_proxy)
    workspace = settings.workspace.expanduser().absolute()
    with (
        listen(settings.host, settings.port) as listener,
        settings.open(PATIENCE_SECONDS) as store,
    ):
        if not local(settings.host) and not store.people.has_lead():
            raise ValueError(
                f"host {settings.host} can be reached by others and no lead has a password yet: "
                "first run coach user add NAME --role lead --password-stdin"
            )
        site = Site(store, workspace, settings.model)
        prepare(site)
        from labeler.app import build_app

        class Ready(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                threading.Thread(target=announce, args=(site, settings), daemon=True).start()

        with loading():  # Gradio, and its pages
            app = build_app(store, workspace, settings.model, root_path, trusted)
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, proxy_headers=False
        )
        try:
            with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has shut down
                Ready(config).run([listener])
        finally:
            app.state.uploads.close()
    print("stopped serving; runs that were going on go on", flush=True)
    return 0


def prepare(site: Site) -> None:
    """Make a new workspace usable: starter content, guidelines, and completions on their way."""
    from data import starter

    if not site.store.content.counts().prompts:
        print("importing the starter prompts and demonstrations", flush=True)
        starter.load(site.store)
    if site.store.people.guidelines() is None:
        site.store.people.set_guidelines(starter.guidelines())
    runs.clean_up_workspace(site.workspace)
    if not any(
        run.live and run.kind == "import" for run in runs.refresh(site.store, site.workspace)
    ):
        runs.remove_incoming(site.workspace)
    counts = site.store.content.counts()
    samplings = site.store.runs.list("sample")
    unfinished = any(
        run.status in ("died", "failed") and not run.config.get("endpoint") for run in samplings[:1]
    )
    wanted = not counts.completions or unfinished
    if counts.prompts and wanted and not any(run.live for run in samplings):
        try:
            run_id = jobs.start(site, "sample", missing=True)
        except ValueError as refused:  # e.g. another server on this store was a moment quicker
            print(f"no sampling is started: {refused}", flush=True)
        else:
            print(f"sampling completions with {site.model} ({run_id})", flush=True)


def announce(site: Site, settings: Serve) -> None:
    """Say where the app is, how the first lead gets in, and how sampling goes."""
    from labeler.access.auth import welcome_link

    base = address(settings.host, settings.port) + root_path_of(settings.root_path)
    print(f"\nCoach is at {base}", flush=True)
    if not site.store.people.has_lead():
        link = welcome_link(base, site.store.people.invite("lead"))
        print(f"first, set a password (the link works once): {link}", flush=True)
    print("Ctrl-C ends the server; runs go on\n", flush=True)
    for run in site.store.runs.list("sample"):
        if run.live:
            follow(site.store, site.workspace, run.id)


def follow(store: Store, workspace: Path, run_id: str) -> None:
    """Show a run's progress in the terminal until it ends; say how it ended."""
    from tqdm import tqdm

    with tqdm(desc="completions", unit="", dynamic_ncols=True, disable=None) as bar:
        while True:
            runs.refresh(store, workspace)
            run = store.runs.get(run_id)
            if run is None:
                return
            bar.total, bar.n = run.total or bar.total, run.done
            bar.refresh()
            if not run.live:
                break
            time.sleep(PROGRESS_SECONDS)
    if run.status == "finished":
        print("completions are there: the queue is open", flush=True)
    else:
        print(f"sampling {run.status}: {run.message}", flush=True)
