"""From judgements to a report: how far the team and each annotator can be trusted.

`quality` works out every figure, `warnings` says who stands out. Pure: no store and no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data.quality.annotator_figures import Agreement, Figures, Sheet, by_question
from data.quality.by_source import Items
from data.quality.judgement_table import TIE, Bools, Columns, Models, Votes, counts, pairs
from data.quality.leave_one_out import expected, own_scale
from data.quality.model_comparison import ModelPair, Rate, model_pairs, rates
from data.quality.outliers import Evidence, Marks, Test, Warning, found, tests
from data.schema import KINDS, Answer, Judgement
from data.stats.agreement import Ceiling, ceiling, kappa
from data.stats.intervals import ENOUGH, Figure, share

__all__ = ["Quality", "Warning", "quality", "warnings"]

SEVERAL = 3
"""Annotators from whom a question has a majority."""
NAMES = {"pairwise": ("b", "tie", "a"), "binary": ("bad", "good")}
"""What the codes of a majority stand for."""


@dataclass(frozen=True)
class Person:
    """One annotator's figures, and the tests against the rest of the team."""

    name: str
    figures: Figures
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two annotators."""

    first: str
    second: str
    kind: str
    figure: Figure


@dataclass(frozen=True)
class Majority:
    """What most annotators said about the questions that three or more answered."""

    kind: str
    questions: int
    counts: Mapping[str, int]
    """Questions by answer, and "none" where no answer is ahead. Pairs face as data.votes says."""


@dataclass(frozen=True)
class Quality:
    """The whole report; every figure has its n and its interval, or says what it still needs."""

    team: Figures
    people: tuple[Person, ...]
    first_two: Agreement
    """As published figures often count it: of the first two annotators of each question."""
    kappas: tuple[Kappa, ...]
    """Of every two annotators with enough shared tasks."""
    majorities: tuple[Majority, ...]
    ceiling: Ceiling
    longer_wins: Figure
    """How often "the longer one" is right about a comparison; half right about equal lengths."""
    longer_wins_majority: Figure
    """The same about what most of three or more annotators say."""
    models: tuple[Rate, ...]
    model_pairs: tuple[ModelPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and texts, ready for JSON."""
        plain = asdict(self)
        plain["ceiling"]["sentence"] = self.ceiling.sentence
        return plain


def quality(
    judgements: Sequence[Judgement],
    repeats: Sequence[tuple[Judgement, Judgement]] = (),
    gold: Sequence[tuple[Judgement, str]] = (),
    models: Models | None = None,
    seed: int = 0,
    items: Items | None = None,
) -> Quality:
    """The report on standing judgements.

    `repeats` are a first answer and the one when asked again; `gold` are answers to tasks whose
    answer is known, with that answer; `models` says who wrote a completion, by its id. These
    checks may be among the judgements too; agreement leaves them out. `items` keeps apart what
    the judgements' source did.
    """
    everything = {j.id: j for j in judgements}
    everything |= {j.id: j for j, _ in gold} | {j.id: j for two in repeats for j in two}
    names = sorted({j.annotator for j in everything.values()})
    columns = Columns(names, models or {}, items or Items())
    said = columns.votes(everything.values())
    checks = {again.id for _, again in repeats} | {j.id for j, _ in gold}
    counted = np.isin(said.id, [j.id for j in judgements if j.id not in checks])
    again = [(later, first.answer.value) for first, later in repeats]
    evidence = _evidence(said, counted, columns, _marks(gold, names), _marks(again, names))
    sheet = Sheet(evidence, seed)
    binary, pair = sheet.views["binary"].votes, sheet.views["with_ties"].votes
    team, decided = sheet.figures(None), pair.decided
    tested = zip(names, tests(evidence, len(names)), strict=True)
    return Quality(
        team=team,
        people=tuple(Person(name, sheet.figures(i), done) for i, (name, done) in enumerate(tested)),
        first_two=sheet.first_two(),
        kappas=_kappas(pair, names, seed) + _kappas(binary, names, seed),
        majorities=tuple(m for m in (_majority(pair), _majority(binary)) if m),
        ceiling=ceiling(team.agreement.without_ties, _majority_right(decided)),
        longer_wins=share(decided.longer, decided.prompt, "pairs without a tie"),
        longer_wins_majority=_longer_wins(pair, columns),
        models=rates(binary, columns.writers),
        model_pairs=model_pairs(binary, pair, columns.writers),
    )


def warnings(quality: Quality) -> list[Warning]:
    """Who stands out, and in what, for a lead to look at: see data.habits."""
    return found([(person.name, test) for person in quality.people for test in person.tests])


def _evidence(
    said: Votes, counted: Bools, columns: Columns, gold: Marks, repeats: Marks
) -> Evidence:
    """With the latest of each person's `counted` answers to a question as what was asked."""
    rows = np.flatnonzero(counted)
    asked = said.where(rows[said.where(rows).latest()])
    z = own_scale(asked, asked.points)
    return Evidence(said, asked, z, expected(asked, z, columns.sides), gold, repeats)


def _marks(checked: Sequence[tuple[Judgement, str]], names: Sequence[str]) -> Marks:
    """Right or wrong for each answer and what it should be; prompts numbered among themselves."""
    prompts: dict[str, int] = {}
    number = {name: i for i, name in enumerate(names)}
    return Marks(
        np.array([KINDS.index(j.kind) for j, _ in checked], np.int64),
        np.array([number[j.annotator] for j, _ in checked], np.int64),
        np.array([prompts.setdefault(j.prompt.id, len(prompts)) for j, _ in checked], np.int64),
        np.array([_same(j.kind, j.answer, value) for j, value in checked], float),
    )


def _same(kind: str, answer: Answer, value: str) -> bool:
    if kind == "scalar":
        return abs(int(answer.value) - int(value)) <= 1
    return answer.value == value


def _kappas(votes: Votes, names: Sequence[str], seed: int) -> tuple[Kappa, ...]:
    early, late = pairs(votes)
    one, other = votes.person[early], votes.person[late]
    swap = one > other
    early, late = np.where(swap, late, early), np.where(swap, early, late)
    key = votes.person[early] * len(names) + votes.person[late]
    two, size = np.unique(key, return_counts=True)
    found = []
    for pair in two[size >= ENOUGH].tolist():
        a, b = early[key == pair], late[key == pair]
        figure = kappa(votes.code[a], votes.code[b], votes.prompt[a], "shared tasks", seed)
        kind = KINDS[int(votes.kind[0])]
        found.append(Kappa(names[pair // len(names)], names[pair % len(names)], kind, figure))
    return tuple(found)


def _ahead(votes: Votes, values: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Questions of SEVERAL annotators or more, and the code that is ahead in each; -1 for none."""
    table, _ = counts(votes, values)
    questions = np.unique(votes.question)
    most = table.max(axis=1, initial=0)
    code = np.where((table == most[:, None]).sum(axis=1) == 1, table.argmax(axis=1), -1)
    several = table.sum(axis=1) >= SEVERAL
    return questions[several], code[several]


def _majority(votes: Votes) -> Majority | None:
    if not len(votes):
        return None
    kind = KINDS[int(votes.kind[0])]
    names = NAMES[kind]
    _, code = _ahead(votes, len(names))
    found = {name: int((code == i).sum()) for i, name in enumerate(names)}
    return Majority(kind, len(code), found | {"none": int((code < 0).sum())})


def _longer_wins(pair: Votes, columns: Columns) -> Figure:
    """How often the longer side is the majority's; equal lengths are half right."""
    questions, code = _ahead(pair, 3)
    questions, code = questions[(code >= 0) & (code != TIE)], code[(code >= 0) & (code != TIE)]
    more = [_longer_by(columns, question) for question in questions.tolist()]
    right = 0.5 + 0.5 * np.sign(np.array(more, float)) * (code - TIE)
    judged = pair.where(np.isin(pair.question, questions))
    _, first = np.unique(judged.question, return_index=True)
    return share(right, judged.prompt[first], "majorities without a tie")


def _longer_by(columns: Columns, question: int) -> int:
    a, b = columns.sides[question]
    return len(a.text) - len(b.text) if b else 0


def _majority_right(decided: Votes) -> Figure:
    """How often the majority of the others is right about one annotator; half where they split.

    Over questions with three annotators or more who decided. No predictor made of other people
    does better than the best possible one, so this too lies below the ceiling.
    """
    table, at = counts(decided, 3)
    m = table.sum(axis=1)[at]
    side = decided.code - TIE
    lead = (table[:, 2] - table[:, 0])[at] - side
    right = 0.5 + 0.5 * np.sign(lead) * side
    several = m >= SEVERAL
    return by_question(decided.where(several), right[several])
