"""What browsers send, on its way into the store: kept in the workspace, and removed when done."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from data.places.leftovers import hold, remove, remove_unheld
from data.places.private import private_folder

FOLDER = "uploads"


class Uploads:
    """One server's folder of sent files, for its owner alone; what dead servers left is removed.

    A file goes when it has been read, when its session ends, or when the server ends.
    """

    def __init__(self, workspace: Path) -> None:
        parent = private_folder(workspace / FOLDER)
        for left in parent.iterdir():
            remove_unheld(left)
        self.folder = parent / secrets.token_hex(8)
        self.folder.mkdir(mode=0o700)
        self._lock = hold(self.folder)
        self._sent: dict[str, set[Path]] = {}

    def note(self, session: str, path: str) -> None:
        """Remember whose session sent a file; it is its owner's alone from now on."""
        file = Path(path).resolve()
        if file.is_relative_to(self.folder.resolve()) and file.is_file():
            file.chmod(0o600)
            self._sent.setdefault(session, set()).add(file)

    def end_session(self, session: str) -> None:
        """Remove what a session sent, but for what another one sent too."""
        gone = self._sent.pop(session, set())
        for file in gone - set().union(*self._sent.values()):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        remove(self.folder)
        os.close(self._lock)


def discard(workspace: Path, path: Path) -> None:
    """Remove a sent file that has been read; a file from anywhere else stays."""
    if path.resolve().is_relative_to((workspace / FOLDER).resolve()):
        path.unlink(missing_ok=True)
