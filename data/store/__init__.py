"""The store: one handle on everything that is kept.

store = Store.open("workspace")            # a folder, a file, or a database URL
store.content.prompts()                    # prompts, completions, demonstrations
store.ledger.claim(annotator, ...)         # tasks, assignments, judgements
store.control_tasks.gold()                 # gold tasks, repeats, how often each is asked
store.people.all()                         # annotators, sessions, invitations, guidelines
store.runs.list()                          # training runs

database        connection, the two kinds of transaction, locks, migration
tables          the tables; migrations/ makes them
content, ledger, control_tasks, accounts, run_rows
                the five groups of queries above
assignments     who holds which task: the ledger's SQL of giving tasks out
progress        what a rating page shows of one annotator
history         every judgement, superseded and retracted ones too, for files
judgement_rows  judgements as rows, and back
"""

from __future__ import annotations

from pathlib import Path

from data.places.private import private_folder
from data.places.store_address import full_address, parse_address, show_address
from data.store.accounts.people import People
from data.store.content import Content
from data.store.control_tasks import ControlTasks
from data.store.database import Database
from data.store.ledger import Ledger
from data.store.run_rows import RunRows

STORE_VARIABLE = "COACH_STORE"
"""Environment variable that names a store: arguments, and a password in them, others can see."""


class Store:
    """Everything that is kept, behind five groups of named queries."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.content = Content(database)
        self.ledger = Ledger(database)
        self.control_tasks = ControlTasks(database)
        self.people = People(database)
        self.runs = RunRows(database)

    @classmethod
    def open(cls, url_or_path: str | Path, patience: float | None = None) -> Store:
        """Open, creating and migrating as needed.

        Takes a workspace folder (its store.db), a file ending in .db, or a database URL.
        A folder that is new is made, for its owner alone. `patience`: seconds that a write waits
        while another program locks the store. Raises ValueError if it cannot be opened.
        """
        url = parse_address(url_or_path)
        if isinstance(url_or_path, Path) or "://" not in url_or_path:
            folder = Path(url.database or "").parent
            try:
                private_folder(folder)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "not a path of this system"
                raise ValueError(
                    f"cannot make the folder {folder}: {why}; name another --workspace"
                ) from None
        return cls(Database(url, patience))

    @property
    def url(self) -> str:
        """What `open` opens this store by, in another process too. It may hold a password."""
        return full_address(self.database.url)

    @property
    def shown(self) -> str:
        """Its address as a person may see it."""
        return show_address(self.database.url)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
