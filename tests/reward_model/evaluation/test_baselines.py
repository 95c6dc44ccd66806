"""What a reward model must beat: words, length, both together, and the side shown first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.stats.bootstrap import Bootstrap
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.baselines import baselines, by_words
from reward_model.evaluation.cross_validation import folds
from reward_model.evaluation.metrics import evaluation_data, measures, pair_baselines
from reward_model.receipt.build import receipt
from reward_model.receipt.contents import Receipt
from reward_model.receipt.html import receipt_html
from reward_model.receipt.text import model_card, receipt_lines
from reward_model.receipt.wording import BASELINES
from tests.reward_model.evaluation.receipts import Array, Told, compared, evidence, tell

KINDS = ("pairwise", "scalar", "binary")


def words_of(examples: Examples) -> tuple[dict[str, Array], dict[str, Array]]:
    return by_words(examples, preference_pairs(examples))


def worth(text: str) -> float:
    """Kind words are worth as much as length: neither alone says which of two is better."""
    return 3.0 * ("kind" in text) + len(text) / 40


def words_and_lengths(prompts: int = 120, seed: int = 0) -> Told:
    told, rng = Told(), np.random.default_rng(seed)
    for i in range(prompts):
        texts = []
        for k in range(2):
            unheard_of = "z" * int(rng.integers(1, 200)) + f"{i}x{k}"
            texts.append(f"{rng.choice(['kind', 'rude'])} and {unheard_of}")
        a, b = (told.completion(i, text, [0]) for text in texts)
        told.say("pairwise", a, "a" if worth(a.text) > worth(b.text) else "b", "ann", b, None)
        for one in (a, b):
            told.say("scalar", one, str(int(np.clip(1 + 2 * worth(one.text), 1, 10))), "ann")
            told.say("binary", one, "good" if worth(one.text) > 3.4 else "bad", "ann")
    return told


# -- words, and words with length


@pytest.mark.parametrize("which", [0, 1])
def test_words_are_learned_from_other_prompts(which: int) -> None:
    told = Told()
    for i in range(40):
        kind = told.completion(i, f"a kind answer {i}", [0])
        rude = told.completion(i, f"a rude answer {i}", [0])
        told.say("pairwise", kind, "a", "ann", rude)
        told.say("scalar", kind, "9", "ann")
        told.say("scalar", rude, "2", "ann")
        told.say("binary", kind, "good", "ann")
        told.say("binary", rude, "bad", "ann")
    examples = told.examples()
    likes = np.array(["kind" in c.text for c in examples.completions])
    for kind_of, score in words_of(examples)[which].items():
        assert score[likes].min() > score[~likes].max(), kind_of


def test_words_and_length_together_know_more_than_either() -> None:
    examples = words_and_lengths().examples()
    some = preference_pairs(examples)
    data = replace(
        compared(examples, np.zeros(len(examples.completions))), baselines=baselines(examples, some)
    )
    found = {name: one.value for name, one in pair_baselines(data).items()}
    assert found["words_and_length"] > 0.84
    assert found["words_and_length"] > max(found["words"], found["longer"]) + 0.05


def test_it_takes_part_in_the_best_baseline_and_is_named() -> None:
    """Of a head that knows nothing, on every kind of judgement."""
    found = receipt(evidence(words_and_lengths(60)))
    assert found["held_out"]["lead"]["over"] == "words_and_length"
    assert found["verdict"] == "loses"
    scores = found["scores"]["crossed"]
    over = {name: scores[name]["baseline"]["name"] for name in ("spearman", "auc")}
    assert set(over.values()) == {"words_and_length"}
    name, shown = BASELINES["words_and_length"], Receipt.read(found)
    assert name in receipt_html(shown) and name in "\n".join(receipt_lines(found)) + model_card(
        shown
    )


def changed(examples: Examples, test: Array, text: str | None) -> Examples:
    """The judgements of one fold turned round; or its first text another."""
    if text is None:
        pairs, binary, scalar = examples.pairs, examples.binary, examples.scalar
        return replace(
            examples,
            pairs=replace(pairs, outcome=np.where(test[pairs.a], 1 - pairs.outcome, pairs.outcome)),
            binary=replace(binary, good=np.where(test[binary.item], 1 - binary.good, binary.good)),
            scalar=replace(
                scalar, rating=np.where(test[scalar.item], 11 - scalar.rating, scalar.rating)
            ),
        )
    place = int(np.flatnonzero(test)[0])
    texts = list(examples.completions)
    texts[place] = replace(texts[place], written=text)
    return replace(examples, completions=tuple(texts))


@pytest.mark.parametrize("text", [None, "kind, in words unheard of"])
def test_nothing_is_chosen_outside_the_folds(text: str | None) -> None:
    """Neither answers nor texts of a fold's own prompts change what its other texts are worth."""
    examples = words_and_lengths(40).examples()
    test = next(iter(folds(examples)))[1]
    other = changed(examples, test, text)
    same = test & np.array(
        [a.text == b.text for a, b in zip(examples.completions, other.completions, strict=True)]
    )
    for before, after in zip(words_of(examples), words_of(other), strict=True):
        for kind in KINDS:
            assert np.array_equal(before[kind][same], after[kind][same]), kind
            assert not np.array_equal(before[kind], after[kind])


def test_texts_without_words_have_no_score() -> None:
    told = Told()
    for i in range(30):
        told.say("pairwise", told.completion(i, "…", [0]), "a", "ann", told.completion(i, "!", [0]))
    examples = told.examples()
    for scores in words_of(examples):
        assert np.isnan(scores["pairwise"]).all()
    nulls = baselines(examples, preference_pairs(examples))
    data = replace(compared(examples, np.zeros(60)), baselines=nulls)
    assert not {"words", "words_and_length"} & set(pair_baselines(data))


@pytest.mark.parametrize("prompts", [1, 2, 3])
def test_few_prompts_are_no_trouble(prompts: int) -> None:
    for scores in words_of(words_and_lengths(prompts).examples()):
        assert set(scores) == set(KINDS)


# -- the side shown first, where it is known


def shown(told: Told, known: int) -> Told:
    """The same, with the display order of so many comparisons."""
    rows = list(told.judgements)
    for i, j in enumerate(j for j in told.judgements if j.kind == "pairwise"):
        rows[j.id] = replace(j, shown_first="a" if i < known else None)
    return Told(rows, told.features)


def first_preferred() -> Told:
    """60 comparisons of which the first named is always preferred, as where texts are chosen."""
    told, rng = Told(), np.random.default_rng(1)
    for i in range(60):
        a, b = (told.completion(i, f"text {i} {k}", rng.normal(size=2)) for k in range(2))
        told.say("pairwise", a, "a", "ann", b)
    return told


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (0, "left out: display order known of 0 of 60 comparisons"),
        (40, "on the 40 of 60 comparisons whose display order is known"),
        (60, ""),
    ],
)
def test_always_the_one_shown_first_is_shown_where_that_is_known(known: int, said: str) -> None:
    found = receipt(evidence(shown(first_preferred(), known)))
    nulls, read = found["held_out"]["baselines"], Receipt.read(found)
    assert ("first" in nulls) == (known > 0)
    if known:
        assert nulls["first"]["value"] == 1.0 and nulls["first"]["n"] == known
    for text in (receipt_html(read), "\n".join(receipt_lines(found)), model_card(read)):
        assert (said in text) if said else ("display order" not in text)
        assert known or "Always the one shown first</span>" not in text


def test_the_lead_over_the_first_is_on_the_same_comparisons() -> None:
    """The reward is right about all whose order is not known, and about half of the others."""
    told = shown(first_preferred(), 40)
    examples = told.examples()
    some = preference_pairs(examples)
    reward = np.zeros(len(examples.completions))
    right = (examples.prompt >= 40) | (examples.prompt % 2 == 0)
    reward[some.better] = np.where(right[some.better], 1.0, -1.0)
    empty: Any = compared(examples, reward).predictions
    empty = replace(empty, pairs=np.full((60, 3), np.nan))
    data = evaluation_data(examples, some, empty, baselines(examples, some), Bootstrap(60))
    accuracy = measures(data)["accuracy"]
    assert accuracy["value"] == pytest.approx(40 / 60) and accuracy["lead"]["over"] == "first"
    assert accuracy["lead"]["value"] == pytest.approx(20 / 40 - 1) and accuracy["lead"]["n"] == 40


def test_ratings_have_no_side_shown_first() -> None:
    told = tell(pairs=0, binary=0, ratings=6)
    found = receipt(evidence(told))
    assert found["held_out"]["of"] == "ratings" and "first" not in found["held_out"]["baselines"]
    assert "display order" not in receipt_html(Receipt.read(found))
