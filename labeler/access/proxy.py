"""A request as the browser made it: below the path that the app is served at, past the proxies.

What a proxy says of the browser's request (X-Forwarded-Host, -Proto, -For, -Port) is heeded from
the addresses that were named as proxies, and is kept from everything behind: Gradio would heed it
from anybody.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED = frozenset(
    b"x-forwarded-host x-forwarded-proto x-forwarded-for x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-server x-forwarded-scheme x-forwarded-ssl x-gradio-server forwarded".split()
)
OWN_PATHS = frozenset(
    "label lead rate receipts exports static sign-in sign-out welcome healthz".split()
)
"""First parts of the app's own paths: below one of them it cannot be told what is whose."""
UNHEEDED = "coach.unheeded_proxy"
"""Key of a scope: the address that named a host and was not known as a proxy."""
_AUTHORITY = re.compile(r"([\w.~-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)
_MOST_TOLD = 100
_log = logging.getLogger(__name__)


def root_path_of(text: str) -> str:
    """The path below which the app is served, as `/coach`, or empty. Raises ValueError."""
    parts = text.strip("/").split("/") if text.strip("/") else []
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", part) or part in (".", ".."):
            raise ValueError(
                f"root path {text!r} not allowed: write the path alone, like /coach, in letters,"
                " digits and . _ ~ -"
            )
    if parts and parts[0] in OWN_PATHS:
        raise ValueError(f"root path {text!r} not allowed: the app has a page of that name itself")
    return "".join(f"/{part}" for part in parts)


def networks_of(addresses: Iterable[str]) -> tuple[Network, ...]:
    """The trusted proxies: addresses or networks, with commas or apart. Raises ValueError."""
    found = []
    for text in ",".join(addresses).split(","):
        try:
            found += [ipaddress.ip_network(text.strip(), strict=False)] if text.strip() else []
        except ValueError:
            raise ValueError(
                f"trusted proxy {text.strip()!r} is no address: write one like 127.0.0.1, ::1 or"
                " 10.0.0.0/8"
            ) from None
    return tuple(found)


def inner_path(scope: Scope) -> str:
    """A request's path in the app, without what it is served below."""
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


class Front:
    """ASGI middleware, the outermost. A proxy may leave the root path in front or take it away."""

    def __init__(self, app: ASGIApp, root_path: str, trusted: tuple[Network, ...]) -> None:
        self.app = app
        self.root_path = root_path
        self.trusted = trusted
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._as_asked(scope)
        await self.app(scope, receive, send)

    def _as_asked(self, scope: Scope) -> Scope:
        root, path = self.root_path, str(scope["path"])
        below = path == root or path.startswith(f"{root}/")
        headers = [(k.lower(), v) for k, v in scope["headers"]]
        kept = [(k, v) for k, v in headers if k not in FORWARDED]
        changed: Scope = {"root_path": root}
        if root and not below:
            changed["path"] = root + path
            changed["raw_path"] = root.encode() + (scope.get("raw_path") or path.encode())
        elif root and path == root:
            changed["path"], changed["raw_path"] = f"{root}/", f"{root}/".encode()
        client = scope["client"][0] if scope.get("client") else ""
        there = FORWARDED & dict(headers).keys()
        said = {
            k: b",".join(v for name, v in headers if name == k).decode("latin-1") for k in there
        }
        if said and self._trusts(client):
            host, scheme, browser = self._read(said)
            if host:
                kept = [(k, v) for k, v in kept if k != b"host"]
                kept.append((b"host", host.encode("ascii")))
            if scheme:
                changed["scheme"] = scheme
            if browser:
                changed["client"] = (browser, 0)
        elif b"x-forwarded-host" in said or b"x-forwarded-proto" in said:
            changed[UNHEEDED] = client
            if client not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(client)
                _log.warning(
                    "%s sends X-Forwarded-Host or -Proto, which is not heeded. If it is your proxy:"
                    " serve with --trusted-proxy %s",
                    client,
                    client,
                )
        return {**scope, **changed, "headers": _first_cookies(kept)}

    def _read(self, said: Mapping[bytes, str]) -> tuple[str, str, str]:
        """(host, scheme, client) that a trusted proxy names; empty where it does not."""
        host = said.get(b"x-forwarded-host", "").split(",")[0].strip()
        scheme = said.get(b"x-forwarded-proto", "").split(",")[0].strip().lower()
        port = said.get(b"x-forwarded-port", "").split(",")[0].strip()
        match = _AUTHORITY.fullmatch(host)
        if match and not match[2] and port.isdecimal() and port not in ("80", "443"):
            host = f"{host}:{port}"
        client = ""  # the last address that is no proxy: any before may be made up
        for text in reversed(said.get(b"x-forwarded-for", "").split(",")):
            address = _address_of(text.strip())
            client = address or client
            if not address or not self._trusts(address):
                break
        return host if match else "", scheme if scheme in ("http", "https") else "", client

    def _trusts(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.trusted)


def readable_host(host: str) -> bool:
    """Whether a Host header is a host, with a port or without."""
    return not host or _AUTHORITY.fullmatch(host) is not None


def _address_of(text: str) -> str:
    """The IP address in `1.2.3.4`, `1.2.3.4:567`, `::1` or `[::1]:567`; empty for anything else."""
    plain = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    plain = plain.partition(":")[0] if plain.count(":") == 1 else plain
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return ""


def _first_cookies(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with the first cookie of each name alone.

    A browser sends that of the longest path first (RFC 6265, 5.4), so one app below a path and one
    above it can sign the same person in.
    """
    kept = [(k, v) for k, v in headers if k != b"cookie"]
    seen: dict[bytes, bytes] = {}
    for key, value in headers:
        if key == b"cookie":
            for cookie in value.split(b";"):
                seen.setdefault(cookie.partition(b"=")[0].strip(), cookie.strip())
    return [*kept, (b"cookie", b"; ".join(seen.values()))] if seen else kept
