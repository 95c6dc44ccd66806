"""Where a server listens: a bound port, and who can reach it."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is known before anything else is done."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} not allowed: use 1 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # named as TCP, or asyncio leaves its answers waiting for an acknowledgement: 40 ms each
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with ExitStack() as undo:
            undo.enter_context(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            undo.pop_all()
    except OSError as error:
        raise ValueError(
            f"cannot listen on {host}:{port}: {error.strerror}; name another with --port"
        ) from None
    return listener


def local(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """The address to open in a browser."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
