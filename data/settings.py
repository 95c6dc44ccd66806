"""What every command takes: where the work is kept, and how settings become arguments and back."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import sqlalchemy as sa

from data.store import STORE_VARIABLE, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

USER_ERROR = 2
STOPPED = 130
"""Exit code of a command that was asked to stop, as shells use it for Ctrl-C."""


S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the work is kept."""

    workspace: Path = Path("workspace")
    """Folder of this project: its store, runs and exports."""
    store: str = ""
    """Database URL, e.g. postgresql://user@host/name. Empty: what COACH_STORE says, else store.db
    in the workspace."""

    def open(self) -> Store:
        """The store of this place, made if it is new."""
        return Store.open(self.store or os.environ.get(STORE_VARIABLE) or self.workspace)


@dataclass(frozen=True, kw_only=True)
class RunPlace(Place):
    """Where the work is kept, and which run this is."""

    run_id: str = ""
    """Set by the browser when it starts a run. Leave it empty."""


def as_config(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON values, for config.json and the run's row."""
    return {
        key: _to_json(value)
        for key, value in dataclasses.asdict(settings).items()
        if key not in ("run_id", "workspace", "store")
    }


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
        name = prefix + field.name.replace("_", "-")
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


def parse(
    command: Any, prog: str, description: str | None, arguments: Sequence[str] | None = None
) -> Any:
    """Settings of the verb on the command line (or in `arguments`), by tyro.

    Where `coach` runs a verb (labeler/command_line.py), the program's name in sys.argv is
    "coach VERB", and usage lines say so. A setting out of range is a ValueError of one line: tyro
    draws a box around whatever a settings class refuses; everything else it says is left.
    """
    import tyro

    said = io.StringIO()
    try:
        with redirect_stderr(said):
            if arguments is None and sys.argv[0].startswith("coach "):
                verb = verbs_of(command)[sys.argv[1]]
                return tyro.cli(verb, prog=sys.argv[0], args=sys.argv[2:])
            return tyro.cli(command, prog=prog, description=description, args=arguments)
    except SystemExit:
        plain = " ".join(said.getvalue().translate({ord(c): " " for c in "│╭╮╰╯─"}).split())
        refused = re.search(r"Error parsing \S+: (.+?) For full helptext", plain)
        if refused:
            raise ValueError(refused[1]) from None
        sys.stderr.write(said.getvalue())
        raise


def run_command(action: Callable[[], int | None]) -> int:
    """Run a command's body; a user's error becomes one clear line and exit code 2."""
    try:
        return action() or 0
    except KeyboardInterrupt:
        print("interrupted; what was stored is kept", file=sys.stderr)
        return STOPPED
    except Exception as error:
        in_words = isinstance(error, FileNotFoundError) and error.errno is None
        if isinstance(error, ValueError) or in_words:
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            print(f"error: {said}", file=sys.stderr)
            return USER_ERROR
        gone = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        away = gone or _is_read_only(error) or "database is locked" in str(error)
        if not (isinstance(error, OSError) or disk_full(error) or away):
            raise
        print(f"error: {disk_message(error)}", file=sys.stderr)
        return USER_ERROR


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
        return "the store did not answer in time: try again"
    where = f" at {error.filename}" if error.filename else ""
    return f"{getattr(error, 'strerror', None) or error}{where}: check the path"


def _is_read_only(error: BaseException) -> bool:
    words = ("readonly database", "read-only transaction")
    return isinstance(error, sa.exc.DBAPIError) and any(word in str(error.orig) for word in words)


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {k: _to_json(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
