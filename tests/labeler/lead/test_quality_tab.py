"""The Quality tab without a browser: figures worked out beside the server, shares, gold."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.quality.store_report import quality_report
from data.simulated_annotators import crew
from data.store import Store
from data.task_planning import Shares
from labeler.jobs import Site
from labeler.lead.quality_tab import promote_gold, retire_gold, save_shares, shown_share
from labeler.lead.quality_worker import QualityResult, QualityWorker, calculate
from labeler.lead.views import quality
from tests.support.labeler_helpers import add_person, add_tasks, open_store


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_store(tmp_path) as store:
        yield Site(store, tmp_path, "m")


def judged(store: Store, tasks: int, wanted: int = 3) -> None:
    """Everybody of a small crew answers all that comes."""
    for kind in ("pairwise", "binary", "scalar"):
        add_tasks(store, kind, tasks, wanted=wanted)
    rng = random.Random(0)
    for simulated in crew(["careful"], wanted, seed=0):
        person = add_person(store, simulated.name)
        while held := store.ledger.claim(person, rng):
            answer = simulated.judge(held.task, held.shown_first, rng)
            store.ledger.submit(person, held.id, answer, f"{person.id}:{held.id}")


def shown(site: Site) -> str:
    figures = quality_report(site.store).as_dict()
    return quality.quality_html(QualityResult(figures, True))


def test_few_judgements_give_no_number(site: Site) -> None:
    empty = shown(site)
    assert "Nobody has judged yet" in empty and "%" not in empty.split("Agreement")[1]
    judged(site.store, 1)
    html = shown(site)
    assert "Not enough data yet to tell whether anybody stands out" in html
    assert "not enough data yet: 1 of about 20 shared tasks" in html
    assert "Human ceiling: not enough data yet" in html


def test_some_judgements_give_figures_with_interval_and_n(site: Site) -> None:
    judged(site.store, 25)
    html = shown(site)
    figures = quality_report(site.store).as_dict()["quality"]["team"]["agreement"]["binary"]
    low, high = (round(100 * figures[bound]) for bound in ("low", "high"))
    assert f"{100 * figures['value']:.0f}% <small>[{low}, {high}] n 25 shared tasks" in html
    assert "Nobody stands out" in html and "only a strong habit would show" in html
    assert "0 is what guessing would give" in html
    for name in ("simulated-careful-1", "simulated-careful-3"):
        assert name in html


def test_a_name_is_shown_as_text(site: Site) -> None:
    person = add_person(site.store, "<b>ann</b>")
    [task] = add_tasks(site.store, "binary", 1)
    held = site.store.ledger.claim(person, random.Random(0))
    assert held is not None and held.task == task
    site.store.ledger.submit(
        person, held.id, crew(["careful"], 1, 0)[0].judge(task, None, rng()), "t"
    )
    assert "<b>ann</b>" not in shown(site) and "&lt;b&gt;ann" in shown(site)


def rng() -> random.Random:
    return random.Random(0)


def test_the_figures_follow_the_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked out by a process of its own; what was there stays while the next is on its way."""
    monkeypatch.setattr("labeler.lead.quality_worker.REST_SECONDS", 0.0)
    watch = QualityWorker(site)
    assert watch.found().figures is None
    assert figures(watch)["quality"]["team"]["judgements"] == 0
    judged(site.store, 1)
    stale = watch.found()
    assert stale.figures is not None and not stale.current
    assert figures(watch)["quality"]["team"]["judgements"] == 9


def figures(watch: QualityWorker) -> Any:
    """The statistics, once they are up to date."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = watch.found()
        if found.current:
            return found.figures
        assert not found.trouble, found.trouble
        time.sleep(0.05)
    pytest.fail("no figures within a minute")


def test_what_goes_wrong_is_said(site: Site) -> None:
    elsewhere: Any = Site(SimpleNamespace(url=""), site.workspace / "nowhere", "m")
    with pytest.raises(ValueError, match="no store at"):
        calculate(elsewhere)
    assert 'role="alert"' in quality.quality_html(QualityResult(None, False, "It did not work."))
    assert "a few seconds" in quality.quality_html(QualityResult(None, False))


def test_shares_are_saved_in_percent(site: Site) -> None:
    assert "in these shares" in save_shares(site, 20, 5, 2.5, 3)
    assert site.store.control_tasks.shares() == Shares(0.2, 0.05, 0.025, 3)
    names = ("overlap", "gold", "repeat", "repeat_days")
    assert [shown_share(site.store.control_tasks.shares(), name) for name in names] == [
        20,
        5,
        2.5,
        3,
    ]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((150, 5, 5, 2), "Judged by three people (%) 150.0 not allowed: use 0 to 100"),
        ((15, 40, 40, 2), "more than half"),
        ((15, None, 5, 2), "Gold tasks (%) is empty: write a number"),
        ((15, 5, 5, -1), "epeat days -1.0 not allowed: use 0 to 365"),
    ],
)
def test_shares_that_do_not_fit_are_refused(site: Site, values: Any, named: str) -> None:
    assert named in save_shares(site, *values)
    assert site.store.control_tasks.shares() == Shares()


def test_gold_is_taken_and_retired(site: Site) -> None:
    assert "no task on which three people agreed" in promote_gold(site)
    judged(site.store, 6)
    known = site.store.control_tasks.agreed()
    assert known and f"{len(known)} more tasks" in promote_gold(site)
    found = QualityResult(quality_report(site.store).as_dict(), True)
    assert f"{len(known)} in use; 0 more" in quality.gold_html(found)
    choices = quality.gold_choices(found)
    assert {task_id for _, task_id in choices} == set(known)
    assert "Retired" in retire_gold(site, choices[0][1])
    assert "not in use any more" in retire_gold(site, choices[0][1])
    assert "choose one in the list" in retire_gold(site, None)
    assert len(site.store.control_tasks.gold()) == len(known) - 1
