"""What names a store: a path or a database URL, read, and shown without its secrets.

A path is never read as part of a URL: `?`, `%` and `#` in a folder's name are letters like others.
Whatever may be a password stays out of every message here, in doubt more than that.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL

FILE_NAME = "store.db"
POSTGRES_DRIVER = "postgresql+psycopg"
HIDDEN = "***"
_USE = "use a file path, sqlite:///PATH or postgresql://USER@HOST/NAME"
_SECRET_KEY = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_URL_AS_PATH = re.compile(r"(postgres|sqlite|mysql)[\w+]*:/")
_SQLITE_OPTIONS = re.compile(r"\?((?:\w+=[^/?&]*)(?:&\w+=[^/?&]*)*)$")
# user:password@host with its scheme forgotten or misspelt, and libpq's "host=... password=..."
_LIKE_A_URL = re.compile(
    r"(postgres\w*(\+\w+)?:?/{0,2}|//|[^/]*:).*@|.*(?:password|pwd)\s*=",
    re.DOTALL | re.IGNORECASE,
)


def parse_address(text: str | Path) -> URL:
    """The address of the store in a folder, of a .db file, or of a database URL.

    A `Path` is never taken for a URL. Raises ValueError, without what may be a password.
    """
    if isinstance(text, str) and "://" in text:
        scheme, rest = text.split("://", 1)
        local = scheme.partition("+")[0].lower() == "sqlite"
        return _parse_sqlite(scheme, rest) if local else _parse(scheme, rest)
    path = Path(text)
    if isinstance(text, str) and _LIKE_A_URL.match(text) and not path.exists():
        raise ValueError(f"store {HIDDEN} is neither a file's path nor a database URL: {_USE}")
    path = home_path(path).absolute()
    return URL.create("sqlite", database=str(path if path.suffix == ".db" else path / FILE_NAME))


def home_path(path: Path) -> Path:
    """The path with `~` spelled out. Raises ValueError for a home that is not known, or a URL."""
    if _URL_AS_PATH.match(str(path)):
        raise ValueError("workspace is a folder's path, not a database URL: name that with --store")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path} names no home folder: write the whole path") from None


def show_address(url: URL) -> str:
    """The address as a person may see it: nothing that may be a password."""
    if url.database and url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    hidden = {key: HIDDEN if _SECRET_KEY.search(key) else v for key, v in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True).replace("%2A", "*")


def full_address(url: URL) -> str:
    """The address as `parse_address` reads it again, password included: for a child process."""
    if url.drivername == "sqlite" and not url.query and (url.database or "").endswith(".db"):
        return str(Path(url.database or "").absolute())
    return url.render_as_string(hide_password=False)


def without_secrets(text: str, url: URL) -> str:
    """A message of the database's without the password of its address, however it is spelled."""
    values = [url.password, *(v for k, v in url.query.items() if _SECRET_KEY.search(k))]
    for secret in {str(value) for value in values if value}:
        for spelled in {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
            found = re.escape(spelled)
            whole = found if len(spelled) > 3 else rf"(?<!\w){found}(?!\w)"
            text = re.sub(whole, HIDDEN, text)
    return text


def holds_password(text: str) -> bool:
    """Whether a text looks like an address with a user's name or a password in it."""
    return "@" in text and bool(_LIKE_A_URL.match(text) or "://" in text)


def _parse(scheme: str, rest: str) -> URL:
    shown = (scheme if _SCHEME.fullmatch(scheme) else HIDDEN) + f"://{HIDDEN}"
    if scheme.partition("+")[0].lower() not in ("postgresql", "postgres"):
        raise ValueError(f"store {shown!r} is not a database URL: {_USE}")
    if rest.count("@") > 1:
        raise ValueError(
            f"store {shown!r} holds more than one @: in a user's name and a password write @ as"
            " %40, / as %2F and % as %25"
        )
    driver = POSTGRES_DRIVER if "+" not in scheme else scheme.replace("postgres+", "postgresql+", 1)
    if "\0" in unquote(rest):  # where libpq ends a text: it would ask another server
        raise ValueError(f"store {shown!r} holds a NUL character: leave it out")
    try:
        return sa.engine.make_url(f"{driver}://{rest}")
    except (sa.exc.ArgumentError, ValueError):  # ValueError: its port
        user, _, host = rest.rpartition("@")
        port = re.fullmatch(r"(?:\[[^\]]*\]|[^/:?]*):([^/?]*)(?:[/?].*)?", host, re.DOTALL)
        if port and ":" in user:  # else the password may be what stands there
            raise ValueError(f"port {port[1]!r} of store {shown!r} is not a number") from None
        what = "has no port number after the host" if port else "is not a database URL"
        raise ValueError(f"store {shown!r} {what}: use postgresql://USER@HOST:PORT/NAME") from None


def _parse_sqlite(scheme: str, rest: str) -> URL:
    if rest in ("", "/") or rest.startswith("/file:"):  # in memory, or SQLite's own kind of URI
        return sa.engine.make_url(f"{scheme}://{rest}")
    if not rest.startswith("/"):
        raise ValueError(f"store {scheme!r}://{HIDDEN} is not a database URL: use sqlite:///PATH")
    options = _SQLITE_OPTIONS.search(rest)
    database = rest[1 : options.start()] if options else rest[1:]
    return URL.create(
        scheme, database=database, query=dict(parse_qsl(options[1] if options else ""))
    )
