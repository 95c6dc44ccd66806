"""python -m labeler serve | user add|list|off|on|sign-out|withdraw [NAME] | simulate"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from data.schema import Role
from data.settings import Place, parse_arguments, run_command
from data.store import Store
from labeler.access import accounts
from labeler.serve import Serve, serve
from labeler.simulate import Simulate, run_simulation

Action = Literal["add", "list", "off", "on", "sign-out", "withdraw"]


@dataclass(frozen=True, kw_only=True)
class User(Place):
    """Let people in and out: add NAME, list, off NAME, on NAME, sign-out NAME, withdraw NAME.

    Add prints a link with which a person sets their password. Off ends their sessions and links.
    """

    action: tyro.conf.Positional[Action]
    """add: a person, or a new link for one. list: who is here. off: they cannot sign in, all they
    said stays. on: they can again. sign-out: end their sessions. withdraw: their open links."""
    name: tyro.conf.Positional[str] = ""
    """Their name, with which they sign in."""
    role: Role | None = None
    """For add. annotator: rates. lead: also starts runs and sees everybody's figures."""
    password_stdin: bool = False
    """For add: read the password from standard input, one line, instead of making a link."""
    address: str = "http://127.0.0.1:7860"
    """For add: where the app is reached; the link begins with it."""


def manage_users(settings: User) -> int:
    """Raises ValueError for a bad name, or one that nobody has."""
    if settings.action != "list" and not settings.name:
        raise ValueError(f"user {settings.action} needs a name: user list shows who is here")
    with settings.open() as store:
        if settings.action == "add":
            print(add_user(store, settings))
        elif settings.action == "list":
            access = store.people.access()
            for person in store.people.all():
                state = accounts.state_of(person, access[person.name])
                print(f"{person.name}  {person.role}  {state}")
        else:
            print(accounts.change_access(store, settings.action, settings.name))
    return 0


def add_user(store: Store, settings: User) -> str:
    """The line that says how they get in. Whoever is here already gets a link to a new password.

    Raises ValueError for a bad name or a password that is too short.
    """
    from labeler.access.auth import hash_password, welcome_link

    if settings.role is None:
        raise ValueError("user add needs --role annotator or --role lead")
    if settings.password_stdin:
        hashed = hash_password(sys.stdin.readline().rstrip("\n"))
        person = store.people.add(settings.name, settings.role, hashed)
        return f"{person.name} can sign in as {settings.role}"
    person = store.people.find(settings.name) or store.people.add(settings.name, settings.role)
    token = store.people.invite(settings.role, person.name)
    link = welcome_link(settings.address.rstrip("/"), token)
    return f"{person.name} sets a password here, within a week: {link}"


Command = (
    Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[User, tyro.conf.subcommand("user")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
)
ACTIONS: dict[type, Callable[[Any], int]] = {
    Serve: serve,
    User: manage_users,
    Simulate: run_simulation,
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""

    def act() -> int:
        description = "The web app: rate, train, watch."
        settings = parse_arguments(Command, "python -m labeler", description, arguments)
        return ACTIONS[type(settings)](settings)

    return run_command(act)


if __name__ == "__main__":
    sys.exit(main())
