"""Commands run in this process, as a shell would run them: libraries are loaded once."""

from __future__ import annotations

import importlib
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def command(package: str, *words: Any) -> Outcome:
    """`python -m PACKAGE WORDS` in this process; what it raises beyond an exit is raised here."""
    main = importlib.import_module(f"{package}.__main__").main
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", [package, *map(str, words)]):
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main()
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Outcome(code or 0, out.getvalue(), err.getvalue())


def assert_refused(outcome: Any, *words: str) -> None:
    """Exit code 2 and one line on standard error that says all the words."""
    assert outcome.returncode == 2, outcome.stderr
    (line,) = [s for s in outcome.stderr.splitlines() if s.startswith("error: ")]
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in line, line
