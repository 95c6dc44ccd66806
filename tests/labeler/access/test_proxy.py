"""Below a path and past proxies: addresses, origins, cookies, and who is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from data.settings import parse_arguments
from data.store import Store
from labeler.__main__ import Command
from labeler.access.middleware import same_origin
from labeler.access.proxy import Front, networks_of, root_path_of
from labeler.app import build_app
from tests.support.commands import assert_refused, command
from tests.support.labeler_helpers import PASSWORD, add_person, open_store

HTTPS = {"x_forwarded_proto": "https"}
PROXY = ("10.0.0.7", 5000)
STRANGER = ("192.0.2.1", 5000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("workspace")) as opened:
        add_person(opened, "lena", "lead")
        yield opened


@pytest.fixture(scope="module")
def app(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Any:
    trusted = networks_of(["10.0.0.0/8", "fd00::/8"])
    return build_app(store, tmp_path_factory.mktemp("runs"), "m", "/team/coach", trusted)


def client_of(app: Any, client: tuple[str, int] = PROXY, base: str = "http://inner:7860") -> Any:
    return TestClient(app, base_url=base, follow_redirects=False, client=client)


def sign_in(client: Any, path: str = "/team/coach/sign-in", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data={"name": "lena", "password": PASSWORD}, headers=named)


@pytest.mark.parametrize("prefix", ["", "/team/coach"])
def test_the_prefix_may_be_kept_or_taken_away(app: Any, prefix: str) -> None:
    client = client_of(app)
    assert client.get(f"{prefix}/").headers["location"] == "/team/coach/sign-in"
    answer = sign_in(client, f"{prefix}/sign-in")
    assert answer.headers["location"] == "/team/coach/lead/"
    cookie = answer.headers["set-cookie"]
    assert "Path=/team/coach;" in cookie and "Secure" not in cookie
    client.headers["cookie"] = cookie.partition(";")[0]  # a browser sends it for the outer path
    assert client.get(f"{prefix}/lead").headers["location"] == "/team/coach/lead/"
    assert client.get(f"{prefix}/lead/").status_code == 200
    assert client.get(f"{prefix}/lead/config").json()["root"] == "http://inner:7860/team/coach/lead"
    assert client.get(f"{prefix}/static/label.js").status_code == 200
    assert client.get(f"{prefix}/lead/gradio_api/info").status_code == 404
    out = client.post(f"{prefix}/sign-out")
    assert out.headers["location"] == "/team/coach/sign-in"
    assert "Path=/team/coach;" in out.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/team", "/team/coachx/", "/team/coach/team/coach/", "/coach/"])
def test_nothing_is_served_elsewhere(app: Any, path: str) -> None:
    assert client_of(app).get(path).status_code == 404


@pytest.mark.parametrize(
    ("client", "headers", "code"),
    [
        (PROXY, {"x_forwarded_host": "coach.example.org", **HTTPS}, 303),
        (PROXY, {"x_forwarded_host": "coach.example.org:443", **HTTPS}, 303),
        (PROXY, {"x_forwarded_host": "coach.example.org, x", "x_forwarded_proto": "https, x"}, 303),
        (("fd00::7", 1), {"x_forwarded_host": "COACH.example.org", **HTTPS}, 303),
        (("::ffff:10.0.0.7", 1), {"x_forwarded_host": "coach.example.org"}, 303),
        (PROXY, {"host": "coach.example.org"}, 303),
        (STRANGER, {"host": "coach.example.org:443"}, 303),
        (STRANGER, {"x_forwarded_host": "coach.example.org", **HTTPS}, 403),
        (PROXY, {}, 403),
        (PROXY, {"x_forwarded_host": "coach.example.org:8443"}, 403),
        (PROXY, {"x_forwarded_host": "coach.example.org/@inner"}, 403),
        (PROXY, {"x_forwarded_host": "evil.example"}, 403),
    ],
)
def test_who_says_what_the_host_is(app: Any, client: Any, headers: Any, code: int) -> None:
    answer = sign_in(client_of(app, client), origin="https://coach.example.org", **headers)
    assert answer.status_code == code
    secure = headers.get("x_forwarded_proto", "").startswith("https") and code == 303
    assert ("Secure" in answer.headers.get("set-cookie", "")) == secure


def test_a_port_that_only_the_proxy_knows(app: Any) -> None:
    said = {"x_forwarded_host": "example.org", "x_forwarded_port": "8443"}
    assert sign_in(client_of(app), origin="https://example.org:8443", **said).status_code == 303


@pytest.mark.parametrize("origin", ["http://[", "http://x:port", "null", "", "//", "inner:7860"])
def test_an_origin_that_cannot_be_read_is_refused(app: Any, origin: str) -> None:
    answer = sign_in(client_of(app), origin=origin, accept="text/html")
    assert answer.status_code == 403
    assert "X-Forwarded-Host" in answer.text and "--trusted-proxy" in answer.text


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "same"),
    [
        ("https://a.org", "http", "a.org", True),  # TLS ended at the proxy
        ("https://a.org", "http", "a.org:443", True),
        ("https://a.org:443", "https", "a.org", True),
        ("http://a.org:80", "http", "A.org", True),
        ("http://[::1]:7860", "http", "[::1]:7860", True),
        ("http://a.org", "https", "a.org", False),
        ("https://a.org", "http", "a.org:80", False),
        ("https://a.org:8443", "https", "a.org", False),
        ("https://a.org@evil.org", "https", "evil.org", False),
        ("https://a.org/x", "https", "a.org", False),
        ("ftp://a.org", "http", "a.org", False),
        ("https://a.org.", "https", "a.org", False),
        ("https://", "https", "", False),
    ],
)
def test_what_one_origin_is(origin: str, scheme: str, host: str, same: bool) -> None:
    assert same_origin(origin, scheme, host) is same


@pytest.mark.parametrize("host", ["a b", "[", "x:y", "a/b", "a@b"])
def test_a_host_that_cannot_be_read_is_refused(app: Any, host: str) -> None:
    answer = client_of(app).get("/team/coach/sign-in", headers={"host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("client", "chain", "seen"),
    [
        (PROXY, "203.0.113.5", "203.0.113.5"),
        (PROXY, "1.1.1.1, 203.0.113.5, 10.1.1.1", "203.0.113.5"),
        (PROXY, "203.0.113.5:4711", "203.0.113.5"),
        (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
        (PROXY, "unknown", "10.0.0.7"),
        (PROXY, "1.1.1.1, nonsense", "10.0.0.7"),
        (STRANGER, "203.0.113.5", "192.0.2.1"),
    ],
)
def test_whose_address_counts(client: tuple[str, int], chain: str, seen: str) -> None:
    inner = FastAPI()

    @inner.get("/")
    def who(request: Request) -> dict[str, Any]:
        names = [name for name in request.headers if "forwarded" in name]
        return {"host": request.client and request.client.host, "left": names}

    front = Front(inner, "", networks_of(["10.0.0.0/8"]))
    answer = client_of(front, client).get("/", headers={"x-forwarded-for": chain}).json()
    assert answer == {"host": seen, "left": []}


def test_of_two_cookies_that_of_the_longest_path_counts(app: Any, store: Store) -> None:
    client = client_of(app)
    own = sign_in(client).headers["set-cookie"].partition(";")[0]
    client.headers["cookie"] = f"{own}; coach_session=of-an-app-above"
    client.cookies.clear()
    assert client.get("/team/coach/").headers["location"] == "/team/coach/lead/"


@pytest.mark.parametrize(
    ("text", "path"),
    [("", ""), ("/", ""), ("/coach", "/coach"), ("coach/", "/coach"), ("/a/b-c.d/", "/a/b-c.d")],
)
def test_a_root_path_in_every_spelling(text: str, path: str) -> None:
    assert root_path_of(text) == path


def test_what_serve_does_not_take(tmp_path: Path) -> None:
    serve = ("labeler", "serve", "--workspace", tmp_path)
    wrong = ["https://x.org/coach", "/a//b", "/a/../b", "/a b", "/a?b", "/ä", "/lead", "/static/x"]
    for text in wrong:
        assert_refused(command(*serve, "--root-path", text), "root path", "not allowed")
    for text in ("proxy.example.org", "*", "10.0.0.0/33", "1.2.3"):
        assert_refused(
            command(*serve, "--trusted-proxy", text), text, "127.0.0.1, ::1 or 10.0.0.0/8"
        )
    assert list(tmp_path.iterdir()) == []
    assert len(networks_of(["127.0.0.1,::1", "10.1.2.3/8"])) == 3


def test_several_proxies_may_be_named_in_any_way() -> None:
    for words in (["A", "B"], ["A", "--port", "1", "--trusted-proxy", "B"], ["A,B"]):
        asked = parse_arguments(Command, "x", None, ["serve", "--trusted-proxy", *words])
        assert ",".join(asked.trusted_proxy) == "A,B"
