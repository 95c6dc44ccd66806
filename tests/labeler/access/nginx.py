"""The app in a thread, and a real nginx in front of it with the configuration of the docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from data.ports import listen
from tests.support.browser import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


def documented(port: int, app_port: int) -> str:
    """The server block of the docs, on a port of this machine and without its certificate."""
    block = re.search(r"```nginx\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    lines = [line for line in block[1].splitlines() if "ssl_certificate" not in line]
    server = "\n".join(lines).replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    assert "http://127.0.0.1:7860;" in server and f"127.0.0.1:{port};" in server
    return server.replace("http://127.0.0.1:7860;", f"http://127.0.0.1:{app_port};")


@contextmanager
def running(app: Any) -> Iterator[int]:
    """The port on which the app answers, as `coach serve` lets it."""
    port = free_port()
    config = uvicorn.Config(
        app, log_level="error", timeout_graceful_shutdown=1, proxy_headers=False
    )
    server = uvicorn.Server(config)
    listener = listen("127.0.0.1", port)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    _until(lambda: server.started)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def proxied(folder: Path, port: int, server: str) -> Iterator[str]:
    """nginx with this server block; gives its address."""
    assert NGINX is not None
    config = folder / "nginx.conf"
    config.write_text(MAIN.format(folder=folder, server=server))
    child = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
        stderr=subprocess.PIPE,
    )
    try:
        _until(lambda: child.poll() is not None or _answers(port))
        assert child.poll() is None, child.communicate()[1].decode()
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.communicate()


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    except httpx.TransportError:
        return False
    return True


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
