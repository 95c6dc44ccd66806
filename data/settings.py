"""What every command takes: where the work is kept, and how settings become arguments and back."""

from __future__ import annotations

import dataclasses
import errno
import gc
import io
import json
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import sqlalchemy as sa

from data.places.store_address import holds_password, home_path
from data.store import STORE_VARIABLE, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

USER_ERROR = 2
STOPPED = 130
"""Exit code of a command that was asked to stop, as shells use it for Ctrl-C."""
UNREAD = 141
"""Exit code of a command whose output nobody reads any more, as shells use it for SIGPIPE."""


_BUG = re.compile(r"no such|syntax error|no column|has \d+ columns")
"""In the words of SQLite, for which a wrong query is an operational error too."""
S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the work is kept."""

    workspace: Path = Path("workspace")
    """Folder of this project: its store, runs and exports."""
    store: str = ""
    """Database URL, e.g. postgresql://user@host/name. Empty: what COACH_STORE says, else store.db
    in the workspace."""

    def open(self, patience: float | None = None) -> Store:
        """The store of this place, made if it is new. `patience`: see Store.open."""
        return Store.open(self.store or os.environ.get(STORE_VARIABLE) or self.workspace, patience)


@dataclass(frozen=True, kw_only=True)
class RunPlace(Place):
    """Where the work is kept, and which run this is."""

    run_id: str = ""
    """Set by the browser when it starts a run. Leave it empty."""


def as_config(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON values, for config.json and the run's row."""
    plain = json.loads(json.dumps(dataclasses.asdict(settings), default=str))  # a path is a text
    return {k: v for k, v in plain.items() if k not in ("run_id", "workspace", "store")}


def from_config(kind: type[S], config: Mapping[str, Any], **others: Any) -> S:
    """Settings from what `as_config` wrote, and `others` besides. Unknown keys are left out."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in config:
            value, hint = config[field.name], hints[field.name]
            nested = isinstance(hint, type) and dataclasses.is_dataclass(hint)
            values[field.name] = from_config(hint, value) if nested else value
    return kind(**{**values, **others})


def as_arguments(settings: Any, prefix: str = "") -> list[str]:
    """Settings as command-line arguments: the inverse of what tyro reads."""
    arguments: list[str] = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        name = prefix + field.name.rstrip("_").replace("_", "-")  # `from` is no name in Python
        if dataclasses.is_dataclass(value):
            arguments += as_arguments(value, name + ".")
        elif isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--{prefix}no-{name[len(prefix) :]}")
        elif isinstance(value, tuple):
            arguments += [f"--{name}", *map(str, value)]
        elif field.name != "run_id":
            arguments += [f"--{name}", str(value)]
    return arguments


def verbs_of(command: Any) -> dict[str, type]:
    """Each verb's settings class, of `Annotated[Settings, tyro.conf.subcommand(verb)] | ...`."""
    members = [get_args(member) for member in get_args(command)]
    return {subcommand.name: settings for settings, subcommand in members}


_PARSING = threading.Lock()
"""Standard error is redirected for all threads at once."""


def parse_arguments(
    command: Any, prog: str, description: str | None, arguments: Sequence[str] | None = None
) -> Any:
    """Settings of the verb on the command line (or in `arguments`), by tyro.

    Where `coach` runs a verb (labeler/command_line.py), the program's name in sys.argv is
    "coach VERB", and usage lines say so. A setting out of range is a ValueError of one line: tyro
    draws a box around whatever a settings class refuses; everything else it says is left.
    """
    import tyro

    said = io.StringIO()
    given = _gather(command, sys.argv[1:] if arguments is None else arguments)
    try:
        with _PARSING, redirect_stderr(said):
            if arguments is None and sys.argv[0].startswith("coach "):
                verb = verbs_of(command)[given[0]]
                return _at_home(tyro.cli(verb, prog=sys.argv[0], args=given[1:]))
            return _at_home(tyro.cli(command, prog=prog, description=description, args=given))
    except SystemExit:
        plain = " ".join(said.getvalue().translate({ord(c): " " for c in "│╭╮╰╯─"}).split())
        refused = re.search(r"Error parsing \S+: (.+?) For full helptext", plain)
        if refused:
            raise ValueError(refused[1]) from None
        if any(map(holds_password, given)):
            words = "it holds an address with a password: see --help"
            said = io.StringIO(
                f"error: the command line is not understood, and not shown: {words}\n"
            )
        sys.stderr.write(said.getvalue())
        raise


def _gather(command: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments, a list in pieces (`--x 1 --x 2`) made one: tyro would keep the last."""
    lists = {
        f"--{name.replace('_', '-')}"
        for kind in verbs_of(command).values() or [command]
        for name, hint in get_type_hints(kind).items()
        if get_origin(hint) is tuple
    }
    several = {flag for flag in lists if list(arguments).count(flag) > 1}
    pieces: dict[str, list[str]] = {flag: [] for flag in sorted(several)}
    rest: list[str] = []
    into = rest
    for word in arguments:
        if word in several:
            into = pieces[word]
        elif word.startswith("--"):
            into = rest
            rest.append(word)
        else:
            into.append(word)
    return rest + [word for flag, values in pieces.items() for word in (flag, *values)]


def _at_home(settings: Any) -> Any:
    """The settings with a workspace's `~` spelled out: a shell leaves one in quotes as it is."""
    if not isinstance(settings, Place):
        return settings
    return dataclasses.replace(settings, workspace=home_path(settings.workspace))


@contextmanager
def loading() -> Iterator[None]:
    """Import large libraries within it: what they make stays, so no garbage is looked for there."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_command(action: Callable[[], int | None]) -> int:
    """Run a command's body; a user's error becomes one clear line and exit code 2.

    Whoever reads the output may stop reading (`| head`): the command then ends without a word.
    """
    try:
        try:
            return _run(action)
        finally:  # also before an exit that the command line asks for, as --help does
            for stream in filter(None, (sys.stdout, sys.stderr)):  # a closed one is None
                stream.flush()
    except BrokenPipeError:
        return _end_unread()
    except OSError as error:  # of the flush: the last lines did not get out
        print(f"error: {disk_message(error)}", file=sys.stderr)
        return USER_ERROR


def _run(action: Callable[[], int | None]) -> int:
    try:
        return action() or 0
    except KeyboardInterrupt:
        print("interrupted; what was stored is kept", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        raise
    except Exception as error:
        in_words = isinstance(error, FileNotFoundError) and error.errno is None
        if isinstance(error, ValueError) or in_words:
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            print(f"error: {said}", file=sys.stderr)
            return USER_ERROR
        if not store_trouble(error):
            raise
        print(f"error: {disk_message(error)}", file=sys.stderr)
        return USER_ERROR


def _end_unread() -> int:
    """Let what is still to be written go nowhere, or the interpreter complains at its end."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # a stream of a test's has no number
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return UNREAD


def store_trouble(error: BaseException) -> bool:
    """Whether a failure is of the disk, the files or the store's server, not of the program."""
    if isinstance(error, sa.exc.DBAPIError):
        away = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
        bug = isinstance(error.orig, sqlite3.OperationalError) and _BUG.search(str(error.orig))
        return (away and not bug) or error.connection_invalidated or _is_read_only(error)
    return isinstance(error, OSError | sa.exc.TimeoutError) or disk_full(error)


def disk_full(error: BaseException) -> bool:
    """Whether a failure means a full disk, in the words of SQLite, safetensors or torch."""
    words = ("No space left on device", "disk is full", "file write failed", "unexpected pos")
    return getattr(error, "errno", None) == errno.ENOSPC or any(w in str(error) for w in words)


def disk_message(error: BaseException) -> str:
    """What to tell a person of a failed read or write."""
    if disk_full(error):
        return "the disk is full: free some space, then run it again; what was stored is kept"
    if _is_read_only(error):
        return "the store is read-only: check who may write to its file and folder"
    if not isinstance(error, OSError):
        if any(words in str(error) for words in ("is locked", "lock timeout")):
            return "another program has locked the store: end it, or try again in a while"
        return "the store did not answer in time: try again"
    where = f" at {error.filename}" if error.filename else ""
    return f"{getattr(error, 'strerror', None) or error}{where}: check the path"


def _is_read_only(error: BaseException) -> bool:
    words = ("readonly database", "read-only transaction")
    return isinstance(error, sa.exc.DBAPIError) and any(word in str(error.orig) for word in words)
