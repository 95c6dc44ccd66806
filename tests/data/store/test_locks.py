"""Transactions of one store wait for each other in one order, and never for another store's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from data.schema import Completion, Gold, Task, make_prompt
from data.store import Store
from data.store.content import insert_prompts
from data.store.control_tasks import insert_gold
from data.store.database import Lock, take_lock
from tests.conftest import fresh_schema


def refuse_to_wait(connection: sa.Connection) -> None:
    """A lock that is not free is an error at once."""
    connection.execute(sa.text("SET LOCAL lock_timeout = '1ms'"))


def test_two_stores_of_one_database_do_not_wait_for_each_other(postgres: str) -> None:
    with (
        fresh_schema(postgres) as here,
        fresh_schema(postgres) as elsewhere,
        Store.open(here) as store,
        Store.open(here) as same,
        Store.open(elsewhere) as other,
        store.database.write() as holding,
    ):
        for lock in Lock:
            take_lock(holding, lock)
        with other.database.write() as connection:
            refuse_to_wait(connection)
            for lock in Lock:
                take_lock(connection, lock)
        for lock in Lock:
            with pytest.raises(OperationalError, match="lock timeout"):
                with same.database.write() as connection:
                    refuse_to_wait(connection)
                    take_lock(connection, lock)


def test_locks_are_taken_in_one_order(store: Store) -> None:
    with store.database.write() as connection:
        take_lock(connection, Lock.CONTENT)
        take_lock(connection, Lock.QUEUE)
        take_lock(connection, Lock.CONTENT)  # held already
    with pytest.raises(AssertionError, match="CONTENT taken after QUEUE"):
        with store.database.write() as connection:
            take_lock(connection, Lock.QUEUE)
            take_lock(connection, Lock.CONTENT)
    with store.database.write() as connection:
        take_lock(connection, Lock.CONTENT)  # the transaction before is over


def test_gold_is_added_while_a_file_with_gold_is_read(store: Store) -> None:
    tasks = [Task("binary", Completion(make_prompt(f"q{n}"), "x")) for n in range(20)]
    store.ledger.add_tasks(tasks)

    def read_file(task: Task) -> None:
        with store.database.write() as connection:
            insert_prompts(connection, [task.a.prompt])
            insert_gold(connection, [Gold(task, "good")])

    with ThreadPoolExecutor(2) as pool:
        added = pool.map(lambda task: store.control_tasks.add_gold({task.id: "good"}), tasks)
        list(pool.map(read_file, reversed(tasks)))
        list(added)
    assert len(store.control_tasks.gold()) == len(tasks)


def test_a_transaction_within_another_is_part_of_it(store: Store) -> None:
    with pytest.raises(RuntimeError), store.database.write():
        store.people.add("ann", "annotator")
        raise RuntimeError
    assert store.people.all() == []
