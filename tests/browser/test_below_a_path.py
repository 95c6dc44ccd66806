"""A real browser, a real nginx, and the app below a path: everything stays below it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data.store import Store
from labeler.access.proxy import networks_of
from labeler.app import build_app
from tests.labeler.access.nginx import documented, needs_nginx, proxied, running
from tests.support.browser import free_port, judged, key, needs_chromium, ready, sign_in
from tests.support.labeler_helpers import add_person, add_tasks

pytestmark = [needs_chromium, needs_nginx]


@dataclass(frozen=True)
class Below:
    """Where the app is reached, in place of a Server."""

    url: str
    workspace: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Below]:
    workspace, folder = tmp_path_factory.mktemp("q?a #%20"), tmp_path_factory.mktemp("nginx")
    with Store.open(workspace) as store:
        add_person(store, "lena", "lead")
        add_tasks(store, "binary", 2)
        app = build_app(store, workspace, "m", "/coach", networks_of(["127.0.0.1"]))
        port = free_port()
        with running(app) as app_port:
            block = documented(port, app_port).replace("location /", "location /coach/")
            with proxied(folder, port, block) as origin:
                yield Below(f"{origin}/coach", workspace)


def test_a_lead_works_below_a_path(page: Any, server: Below, tmp_path: Path) -> None:
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    assert page.url == f"{server.url}/lead/"
    assert page.eval_on_selector("a#next-go, #next-go a", "a => a.href") == f"{server.url}/label/"
    page.click("role=tab[name='Data']")
    line = tmp_path / "sent.jsonl"
    line.write_text(json.dumps({"type": "prompt", "prompt": "From below?"}) + "\n")
    page.set_input_files("#import-file input[type=file]", str(line))
    page.wait_for_selector("#import-file >> text=sent")
    page.click("#start-import")
    page.wait_for_selector("text=1 new")
    page.click("#start-export")
    with page.expect_download() as made:
        page.click("#export-made")
    assert "From below?" in made.value.path().read_text()
    page.click("role=tab[name='People']")
    page.fill("#person-name input, #person-name textarea", "bob")
    page.click("#add-person")
    page.wait_for_selector("#invitation")
    link = page.input_value("#invitation textarea, #invitation input")
    assert link.startswith(f"{server.url}/welcome?token=")
    page.click("text=Rate >> nth=0")
    ready(page)
    assert page.url == f"{server.url}/label/"
    key(page, "g")
    assert judged(server) == ["good"]  # type: ignore[arg-type]
    page.click("text=Sign out")
    page.wait_for_url(f"{server.url}/sign-in")
