"""python -m labeler serve | user add NAME --role annotator|lead | simulate"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from data.schema import Role
from data.settings import Place, parse, run_command
from labeler.serve import Serve, serve
from labeler.simulate import Simulate, simulate


@dataclass(frozen=True, kw_only=True)
class UserAdd(Place):
    """Add a person; prints a link with which they set their password."""

    action: tyro.conf.Positional[Literal["add"]]
    """What to do."""
    name: tyro.conf.Positional[str]
    """Their name, with which they sign in."""
    role: Role
    """annotator: rates. lead: also starts runs and sees everybody's figures."""
    password_stdin: bool = False
    """Read the password from standard input, one line, instead of making a link."""
    address: str = "http://127.0.0.1:7860"
    """Where the app is reached: the link begins with it."""


def add_user(settings: UserAdd) -> int:
    """Raises ValueError for a bad name, or a password that is too short.

    Whoever is here already gets a link to set a new password.
    """
    from labeler.access.auth import hash_password, welcome_link

    with settings.open() as store:
        if settings.password_stdin:
            hashed = hash_password(sys.stdin.readline().rstrip("\n"))
            store.people.add(settings.name, settings.role, hashed)
            print(f"{settings.name} can sign in as {settings.role}")
            return 0
        person = store.people.find(settings.name) or store.people.add(settings.name, settings.role)
        token = store.people.invite(settings.role, person.name)
    link = welcome_link(settings.address.rstrip("/"), token)
    print(f"{person.name} sets a password here, within a week: {link}")
    return 0


Command = (
    Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[UserAdd, tyro.conf.subcommand("user")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
)
ACTIONS: dict[type, Callable[[Any], int]] = {Serve: serve, UserAdd: add_user, Simulate: simulate}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""

    def act() -> int:
        description = "The web app: rate, train, watch."
        settings = parse(Command, "python -m labeler", description, arguments)
        return ACTIONS[type(settings)](settings)

    return run_command(act)


if __name__ == "__main__":
    sys.exit(main())
