"""Figures that need what an import did not record are not shown, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from data.quality import Quality, quality
from data.quality.annotator_figures import Figures
from data.quality.judgement_table import AT_ONCE, JudgementTableBuilder
from data.quality.text import quality_lines
from data.schema import Judgement
from data.stats.estimate import Estimate, format_missing
from labeler.lead.views.quality import figure_html
from tests.data.quality.teams import team

IMPORTED = "2026-02-03T04:05:06.000000Z"


@cache
def said() -> tuple[Judgement, ...]:
    """With everything recorded: 3 people, 200 answers each."""
    work = team("careful", 200, seed=3, size=3, with_habit=0)
    return tuple(replace(j, answer=replace(j.answer, seconds=5.0 + j.id % 7)) for j in work.queue)


def report(**lost: object) -> Quality:
    """Without what `lost` names, as an import without these columns has it."""
    return quality([_without(j, **lost) for j in said()])


def _without(
    j: Judgement, order: bool = False, times: bool = False, dates: str | None = None
) -> Judgement:
    answer = replace(j.answer, seconds=None if times else j.answer.seconds)
    return replace(
        j,
        answer=answer,
        shown_first=None if order else j.shown_first,
        created_at=dates or j.created_at,
    )


def of_drift(figures: Figures) -> Sequence[Estimate]:
    drift = figures.drift
    return drift.rating, drift.good, drift.agreement, drift.pace


def unknown(figure: Estimate) -> bool:
    return figure.value is None and format_missing(figure).startswith("not recorded")


def test_what_is_recorded_is_shown() -> None:
    team_, text = report().team, "\n".join(quality_lines(report()))
    for figure in (team_.shown_first, team_.seconds, team_.quick, *of_drift(team_)):
        assert figure.value is not None
    assert "not recorded" not in text


def test_without_display_order_there_is_no_pull_of_the_first_side() -> None:
    found = report(order=True)
    for figures in (found.team, *(p.figures for p in found.people)):
        assert unknown(figures.shown_first) and "shown first" in figures.shown_first.note
    side = next(line for line in quality_lines(found) if line.startswith("side shown first"))
    assert "not recorded" in side and "not enough" not in side and " of about " not in side
    assert "not recorded" in figure_html(found.as_dict()["team"]["shown_first"], "share")
    assert all(t.p is None for p in found.people for t in p.tests if t.habit == "side")


def test_without_times_nobody_is_called_quick_or_slow() -> None:
    figures = report(times=True).team
    assert unknown(figures.seconds) and unknown(figures.quick) and unknown(figures.drift.pace)
    assert figures.drift.rating.value is not None


@pytest.mark.parametrize("dates", [IMPORTED, "2026-02-03", ""])
def test_without_dates_nobody_drifts(dates: str) -> None:
    """All of one moment, that of the import: the order in a file is not that of the work."""
    found = report(dates=dates) if dates else quality([replace(j, created_at="") for j in said()])
    assert all(unknown(f) for f in of_drift(found.team)) and found.team.seconds.value is not None
    for person in found.people:
        drift = next(t for t in person.tests if t.habit == "drift")
        assert drift.p is None and drift.figure.value is None


def test_an_import_beside_dated_work_is_left_out_of_the_drift_alone() -> None:
    old = [replace(j, id=j.id + 10_000, created_at=IMPORTED) for j in said()[:120]]
    found = quality([*old, *said()[120:]])
    shown = quality(list(said()[120:]))
    assert found.team.judgements == len(said())
    assert found.team.drift.good == shown.team.drift.good


def test_partly_recorded_counts_what_is_known() -> None:
    half = [_without(j, order=True, times=True) if j.id % 2 else j for j in said()]
    figures = quality(half).team
    whole = report().team
    assert 0 < figures.shown_first.n < whole.shown_first.n
    assert 0 < figures.seconds.n < whole.seconds.n
    assert not unknown(figures.shown_first) and not unknown(figures.quick)


def test_nothing_judged_is_not_enough_rather_than_not_recorded() -> None:
    assert "not enough" in format_missing(quality([]).team.shown_first)
    ratings = [j for j in said() if j.kind == "scalar"]
    assert "not enough" in format_missing(quality(ratings).team.shown_first)


def test_a_place_is_among_the_dated_alone() -> None:
    ann = [replace(j, annotator="ann") for j in said()[:30]]
    mixed = [replace(j, created_at=IMPORTED) if i < AT_ONCE else j for i, j in enumerate(ann)]
    table = JudgementTableBuilder(["ann"], {}).build(mixed)
    assert np.isnan(table.place).sum() == AT_ONCE and len(table.dated) == 30 - AT_ONCE
    assert sorted(table.dated.place) == pytest.approx(np.arange(20) / 20)
    few = [replace(j, created_at=IMPORTED) if i < AT_ONCE - 1 else j for i, j in enumerate(ann)]
    assert not np.isnan(JudgementTableBuilder(["ann"], {}).build(few).place).any()
