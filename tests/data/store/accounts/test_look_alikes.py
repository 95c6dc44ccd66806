"""Names that would be taken for one another, and names that only share a letter or two."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import Store
from data.store import tables as t
from data.store.accounts.look_alikes import can_be_seen, look_alike, skeletons

ALIKE = [
    ("ann", "Ann"),
    ("José", unicodedata.normalize("NFD", "José")),
    ("José", "jose"),
    ("ann", "\u0430nn"),  # Cyrillic a
    ("Paul", "\u03a1aul"),  # Greek Rho
    ("ann", "ann\u3164"),  # a letter that draws nothing
    ("ann", "\uff41nn"),  # full width
    ("jo", "\U0001d4bfo"),  # script
    ("Ian", "lan"),
    ("IAN", "ian"),
    ("Oleg", "0leg"),
    ("Łukasz", "lukasz"),
    ("Øyvind", "Oyvind"),
    ("marn", "mam"),
    ("ann  b", "ann b"),
    ("Straße", "STRASSE"),
    ("a-b", "a\u2013b"),
    ("СЕРГЕЙ", "Сергей"),
    ("محمد", "مُحَمَّد"),
]
APART = [
    ("ann", "anna"),
    ("person-1", "person-2"),
    ("person-1", "person-10"),
    ("か", "が"),
    ("कि", "कु"),
    ("李", "季"),
    ("ben", "bens"),
    ("Ann Lee", "Ann Li"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_look_alike(one: str, other: str) -> None:
    assert look_alike(one, ["somebody", other]) == other
    assert look_alike(other, [one]) == one


@pytest.mark.parametrize(("one", "other"), APART)
def test_names_that_do_not(one: str, other: str) -> None:
    assert look_alike(one, [other]) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=12))
def test_a_name_looks_like_itself_however_it_is_composed(name: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        other = unicodedata.normalize(form, name)  # type: ignore[arg-type]
        assert skeletons(name) & skeletons(other)


@pytest.mark.parametrize("name", ["", " ", "\u3164", "\u2800\u2800", "\u0301", "a\u200b", "a\0b"])
def test_what_cannot_be_seen_is_no_name(name: str, sqlite_store: Store) -> None:
    assert not can_be_seen(name)
    with pytest.raises(ValueError, match="1 to 80 characters that can be seen"):
        sqlite_store.people.add(name, "annotator")


def test_a_look_alike_is_refused_beside_the_other(store: Store) -> None:
    store.people.add("ann", "annotator")
    for name in ("Ann", "\u0430nn", "ánn"):
        with pytest.raises(ValueError, match=r"looks like 'ann', who is here: .*surname"):
            store.people.add(name, "lead")
        token = store.people.invite("annotator")
        with pytest.raises(ValueError, match="looks like 'ann'"):
            store.people.accept(token, name, "hash")
        assert store.people.invitation(token)  # another name may be chosen by the same link
    assert store.people.add("Ann Lee", "annotator").name == "Ann Lee"


def test_a_store_that_holds_such_a_pair_goes_on(store: Store) -> None:
    with store.database.write() as connection:
        for name in ("ann", "Ann", "A\u0301nn"):
            row = {"name": name, "role": "annotator", "active": True, "created_at": "2026"}
            connection.execute(t.annotators.insert(), row)
    for name in ("ann", "Ann", "A\u0301nn"):
        accepted = store.people.accept(store.people.invite("annotator", name), "", f"of {name}")
        assert accepted.name == name
        assert store.people.password_hash(name) == f"of {name}"
    assert store.people.known_as("ANN") is None  # two people could be meant


def test_a_name_is_known_in_any_case_and_composition(store: Store) -> None:
    jose = store.people.add(unicodedata.normalize("NFD", "José"), "annotator")
    assert jose.name == unicodedata.normalize("NFC", "José")
    for typed in ("José", unicodedata.normalize("NFD", "José"), "JOSÉ", " josé "):
        assert store.people.known_as(typed) == jose
    assert store.people.known_as("jose") is None
