"""What trainers read, made from the standing judgements: one row for a pair, or for a completion.

Everybody counts once: where one annotator judged the same pair or completion twice (whichever side
was a), the later answer counts. A row is on the side of its prompt (`data.splits`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Literal

from data.schema import Completion, JsonObject, Judgement, Prompt
from data.splits import SPLITS, Split, split_of

Type = Literal["conversation", "float", "integer", "boolean", "text"]
SHRINK = 5.0
"""An annotator's own mean and spread count as much as the crowd's after this many ratings."""
LEAST_SPREAD = 0.3
UNSTATED_STRENGTH = 1
"""What a preference without a stated strength counts as: slightly, the least that it can mean."""
AGAIN = "answer that its annotator gave anew later"
PARTED = "rows with thinking before an answer (left out: the exchange format keeps it)"
CUT_OFF = "rows with a completion that was cut off at the token limit (kept: finished is false)"
BOTH_BAD = "rows in which a vote says that both are bad (kept: the better one is still better)"


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, what it holds, and what that means."""

    name: str
    type: Type
    meaning: str


PROMPT = Column("prompt", "conversation", "what the model was asked: turns of role and content")
COMPLETION = Column("completion", "conversation", "the model's answer: one turn of the assistant")
FINISHED = Column("finished", "boolean", "no completion of the row was cut off at the token limit")
PREFERENCES = (
    PROMPT,
    Column("chosen", "conversation", "the completion that more annotators preferred"),
    Column("rejected", "conversation", "the other one"),
    Column("margin", "float", "how much better, 0 to 3: see below"),
    Column("weight", "integer", "votes_chosen - votes_rejected, 1 or more"),
    Column("votes_chosen", "integer", "annotators who preferred chosen"),
    Column("votes_rejected", "integer", "annotators who preferred rejected"),
    Column("votes_tie", "integer", "annotators who called it a tie"),
    Column("votes_both_bad", "integer", "annotators who said that both are bad, whatever the vote"),
    FINISHED,
)
UNPAIRED = (
    PROMPT,
    COMPLETION,
    Column("label", "boolean", "more annotators said good than bad"),
    Column("weight", "integer", "the votes for the label less those against it, 1 or more"),
    Column("votes_good", "integer", "annotators who said good"),
    Column("votes_bad", "integer", "annotators who said bad"),
    FINISHED,
)
RATINGS = (
    PROMPT,
    COMPLETION,
    Column(
        "labels", "float", "the target of a regression, mean about 0, spread about 1: see below"
    ),
    Column("score", "float", "mean rating brought to 0..1: (mean of 1 to 10, less 1) / 9"),
    Column("n", "integer", "annotators who rated it"),
    FINISHED,
)


@dataclass
class ExportTable:
    """Rows by split, what was left out by reason, and what else a reader should know, counted."""

    columns: tuple[Column, ...]
    rows: dict[Split, list[JsonObject]] = field(
        default_factory=lambda: {side: [] for side in SPLITS}
    )
    left_out: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)
    judgements: int = 0
    annotators: int = 0

    def add(self, prompt: Prompt, row: JsonObject, *completions: Completion) -> None:
        if completions:
            row["finished"] = all(c.finished for c in completions)
            self.facts[CUT_OFF] += not row["finished"]
            self.facts[PARTED] += any(c.thinking for c in completions)
        turns = [message.as_dict() for message in prompt.messages]
        self.rows[split_of(prompt)].append({"prompt": turns, **row})


def preference_table(judgements: Sequence[Judgement]) -> ExportTable:
    """prompt, chosen, rejected: one row a pair, by majority; ties and even splits are left out.

    margin is the mean over all votes of the strength (slightly 1, clearly 2, much 3, unstated 1)
    for chosen, with ties as 0 and votes for rejected as less than 0; it is never below 0. weight is
    the votes for chosen less those for rejected.
    """
    table, groups = _start_table(PREFERENCES, judgements)
    for group in groups:
        # the same way round in every task about the two
        x, y = sorted(group[0].task.sides, key=lambda c: c.id)
        leans = [_lean_to(judgement, x) for judgement in group]
        balance = sum((lean > 0) - (lean < 0) for lean in leans)
        if x.text == y.text:
            table.left_out["pair of one text, cut off or not"] += 1
        elif not any(leans):
            table.left_out["pair judged a tie"] += 1
        elif balance == 0:
            table.left_out["pair on which the votes are even"] += 1
        else:
            if balance < 0:
                x, y, leans = y, x, [-lean for lean in leans]
            both_bad = sum(bool(judgement.answer.both_bad) for judgement in group)
            row = {
                "chosen": _as_turn(x),
                "rejected": _as_turn(y),
                "margin": max(0.0, fmean(leans)),
                "weight": abs(balance),
                "votes_chosen": sum(lean > 0 for lean in leans),
                "votes_rejected": sum(lean < 0 for lean in leans),
                "votes_tie": leans.count(0),
                "votes_both_bad": both_bad,
            }
            table.facts[BOTH_BAD] += both_bad > 0
            table.add(x.prompt, row, x, y)
    return table


def unpaired_table(judgements: Sequence[Judgement]) -> ExportTable:
    """prompt, completion, label: one row a completion, good or bad by majority."""
    table, groups = _start_table(UNPAIRED, judgements)
    for group in groups:
        completion = group[0].task.a
        good = sum(j.answer.value == "good" for j in group)
        bad = len(group) - good
        if good == bad:
            table.left_out["completion on which the votes are even"] += 1
            continue
        row = {
            "completion": _as_turn(completion),
            "label": good > bad,
            "weight": abs(good - bad),
            "votes_good": good,
            "votes_bad": bad,
        }
        table.add(completion.prompt, row, completion)
    return table


def rating_table(judgements: Sequence[Judgement]) -> ExportTable:
    """prompt, completion, labels, score, n: one row a rated completion.

    score is the mean rating, 1 to 10 brought to 0..1. labels is the mean of the ratings on each
    annotator's own scale (less their mean, over their spread). The scales are taken
    from the train split, so that they know nothing of the others.
    """
    table, groups = _start_table(RATINGS, judgements)
    scales = _annotator_scales([judgement for group in groups for judgement in group])
    for group in groups:
        completion = group[0].task.a
        own = [(_rating_value(j), *scales[j.annotator]) for j in group]
        row = {
            "completion": _as_turn(completion),
            "labels": fmean((rating - mean) / spread for rating, mean, spread in own),
            "score": (fmean(map(_rating_value, group)) - 1) / 9,
            "n": len(group),
        }
        table.add(completion.prompt, row, completion)
    return table


def _start_table(
    columns: tuple[Column, ...], judgements: Sequence[Judgement]
) -> tuple[ExportTable, list[list[Judgement]]]:
    """An empty table, with what is to be said of the judgements behind it; and these judgements by
    what they are about, in a fixed order, each annotator once."""
    people = {judgement.annotator for judgement in judgements}
    table = ExportTable(columns, judgements=len(judgements), annotators=len(people))
    for judgement in judgements:
        for flag in sorted(set(judgement.answer.flags)):
            table.facts[f"judgements flagged {flag} (kept)"] += 1
    last: dict[tuple[tuple[str, ...], str], Judgement] = {}
    for judgement in sorted(judgements, key=lambda j: (j.created_at, j.id)):
        about = (judgement.prompt.id, *sorted(c.id for c in judgement.task.sides))
        table.left_out[AGAIN] += (about, judgement.annotator) in last
        last[about, judgement.annotator] = judgement
    groups: dict[tuple[str, ...], list[Judgement]] = defaultdict(list)
    for about, annotator in sorted(last):
        groups[about].append(last[about, annotator])
    return table, list(groups.values())


def _lean_to(judgement: Judgement, x: Completion) -> int:
    """How much the vote is for x: its strength, less than 0 where it is for the other, 0 a tie."""
    if judgement.answer.value == "tie":
        return 0
    strength = judgement.answer.strength or UNSTATED_STRENGTH
    for_x = (judgement.answer.value == "a") == (judgement.task.a.id == x.id)
    return strength if for_x else -strength


def _annotator_scales(judgements: Sequence[Judgement]) -> dict[str, tuple[float, float]]:
    """Mean and spread of each annotator, from the train split where it holds ratings.

    Both are shrunk to the crowd's while the ratings are few, and are the crowd's where there are
    none. Standardised ratings are (rating - mean) / spread.
    """
    training = [j for j in judgements if split_of(j.prompt) == "train"] or judgements
    own: dict[str, list[float]] = defaultdict(list)
    for judgement in training:
        own[judgement.annotator].append(_rating_value(judgement))
    crowd = [_rating_value(judgement) for judgement in training]
    if not crowd:
        return {}
    crowd_mean, crowd_spread = fmean(crowd), pstdev(crowd)
    scales = {}
    for name in {j.annotator for j in judgements}:
        ratings = own[name] or crowd[:1]
        weight = len(own[name]) / (len(own[name]) + SHRINK)
        mean = (1 - weight) * crowd_mean + weight * fmean(ratings)
        spread = (1 - weight) * crowd_spread + weight * pstdev(ratings)
        scales[name] = mean, max(spread, LEAST_SPREAD)
    return scales


def _rating_value(judgement: Judgement) -> float:
    return float(judgement.answer.value)


def _as_turn(completion: Completion) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion.text}]


def to_parquet(columns: Sequence[Column], rows: Sequence[JsonObject]) -> bytes:
    """The rows as a Parquet file, each column with the type that it is said to have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    types = {
        "conversation": pa.list_(turn),
        "float": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "text": pa.string(),
    }
    schema = pa.schema([(column.name, types[column.type]) for column in columns])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
