"""How much one import may take of the machine: rows, bytes, memory and time.

A file of a few hundred bytes can unpack to gigabytes. What is over a limit is refused in one line,
and nothing of the file is kept.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from data.imports.files.readers import FileRow

MIB = 2**20
TELL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one import may take."""

    rows: int = 2_000_000
    """Rows of the file."""
    file_mib: int = 1024
    """Size of the file, and of its rows once they are unpacked, in MiB."""
    row_mib: int = 16
    """Text in one row, in MiB."""
    memory_mib: int = 4096
    """Memory while it is read, in MiB; never more than half of the machine's."""
    minutes: int = 60
    """How long reading may take."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"limit {name} {value} not allowed: use 1 or more")


class ImportProgress:
    """Counts what an import has read against its limits, and tells how far it is.

    `tell` is told in words, now and then; what it raises ends the import.
    """

    def __init__(
        self, limits: Limits | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self.limits = limits or Limits()
        self._tell = tell
        self._begun = self._told = time.monotonic()

    def check_file(self, path: Path) -> None:
        """Raises ValueError where the file is too large to be read at all."""
        size = path.stat().st_size if path.is_file() else 0
        if size > self.limits.file_mib * MIB:
            raise self._too_long(path)

    def rows(self, path: Path, rows: Iterable[FileRow]) -> Iterator[FileRow]:
        """The rows, while they are within the limits. Raises ValueError at the first beyond."""
        most, longest = self.limits.rows, self.limits.row_mib * MIB
        total = 0
        for count, row in enumerate(rows, 1):
            if count > most:
                raise _over(path, f"more than {most:,} rows long", f"{most:,} rows", "rows")
            length = _length(row)
            total += length
            if total > self.limits.file_mib * MIB:
                raise self._too_long(path)
            if length > longest:
                most_text = f"{self.limits.row_mib} MiB"
                raise _over(path, f"at {row.brief} longer than {most_text}", most_text, "row-mib")
            if count % 100 == 0:
                self.say(path, f"{count:,} rows read")
            yield row

    def _too_long(self, path: Path) -> ValueError:
        most = f"{self.limits.file_mib:,} MiB"
        return _over(path, f"more than {most} of text", most, "file-mib")

    def say(self, path: Path, words: str, at_once: bool = False) -> None:
        """Tell how far it is, and see that it is not too late."""
        moment = time.monotonic()
        if moment - self._begun > 60 * self.limits.minutes:
            took = f"not read after {self.limits.minutes} minutes"
            raise _over(path, took, f"{self.limits.minutes} minutes", "minutes")
        if at_once or moment - self._told >= TELL_SECONDS:
            self._told = moment
            self._tell(words)


@contextmanager
def confined(limits: Limits, path: Path) -> Iterator[None]:
    """Within it this process gets no more memory than the limits say. Raises ValueError at it."""
    most = min(limits.memory_mib * MIB, psutil.virtual_memory().total // 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = psutil.Process().memory_info().vms + most
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    except MemoryError:
        allowed = f"{most // MIB:,} MiB"
        what = f"more than {allowed} of memory to read"
        raise _over(path, what, allowed, "memory-mib") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _length(row: FileRow) -> int:
    """Characters or bytes of a row, without what is nested in it."""
    if isinstance(row.found, bytes):
        return len(row.found)
    if isinstance(row.found, ValueError):
        return 0
    return sum(len(cell) for cell in row.found.values() if isinstance(cell, str))


def _over(path: Path, what: str, allowed: str, flag: str) -> ValueError:
    return ValueError(
        f"{path} is {what}, and {allowed} are allowed: split the file, or raise --limits.{flag}"
    )
