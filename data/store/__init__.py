"""The store: one handle on everything that is kept.

store = Store.open("workspace")            # a folder, a file, or a database URL
store.content.prompts()                    # prompts, completions, demonstrations
store.ledger.claim(annotator, ...)         # tasks, assignments, judgements
store.checks.gold()                        # gold tasks, repeats, how often each is asked
store.people.all()                         # annotators, sessions, invitations, guidelines
store.runs.list()                          # training runs

database        connection, the two kinds of transaction, locks, migration
tables          the tables; migrations/ makes them
content, ledger, control_tasks, people, run_rows
                the five groups of queries above
assignments     who holds which task: the ledger's SQL of giving tasks out
progress        what a rating page shows of one annotator
history         every judgement, superseded and retracted ones too, for files
judgement_rows  judgements as rows, and back
"""

from __future__ import annotations

from pathlib import Path

from data.store.content import Content
from data.store.control_tasks import Checks
from data.store.database import Database
from data.store.ledger import Ledger
from data.store.people import People
from data.store.run_rows import RunRows

FILE_NAME = "store.db"
STORE_VARIABLE = "COACH_STORE"
"""Environment variable that names a store: arguments, and a password in them, others can see."""


class Store:
    """Everything that is kept, behind five groups of named queries."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.content = Content(database)
        self.ledger = Ledger(database)
        self.checks = Checks(database)
        self.people = People(database)
        self.runs = RunRows(database)

    @classmethod
    def open(cls, url_or_path: str | Path) -> Store:
        """Open, creating and migrating as needed.

        Takes a workspace folder (its store.db), a file ending in .db, or a database URL.
        Raises ValueError if it cannot be opened.
        """
        return cls(Database(store_url(url_or_path)))

    @property
    def url(self) -> str:
        return self.database.url

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def store_url(url_or_path: str | Path) -> str:
    """The database URL of a folder, a .db file, or a URL; the folder is created."""
    text = str(url_or_path)
    if "://" in text:
        scheme, rest = text.split("://", 1)
        return f"postgresql+psycopg://{rest}" if scheme in ("postgresql", "postgres") else text
    path = Path(text).expanduser().absolute()
    file = path if path.suffix == ".db" else path / FILE_NAME
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the folder {file.parent}: {error.strerror}; name another --workspace"
        ) from None
    return f"sqlite:///{file}"
