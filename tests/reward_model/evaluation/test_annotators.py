"""What the cards say of each annotator: planted traits come out, with intervals."""

from __future__ import annotations

import numpy as np
import pytest

from reward_model.benchmark.worlds import draw_judgements, world
from reward_model.evaluation.annotators import cards, points
from reward_model.evaluation.cross_validation import Model
from reward_model.likelihood.fit import fit_head
from tests.reward_model.evaluation.receipts import Told


@pytest.fixture(scope="module")
def planted():
    """Six people; the first takes whatever is shown first, is strict, rates low and widely."""
    made = world(3, prompts=120, dims=4, people=6)
    who = made.crowd
    for trait in (who.consistency, who.side, who.threshold, who.offset, who.scale):
        trait[:] = 0
    who.side[0], who.threshold[0], who.offset[0], who.scale[0] = 1.5, 1.5, -1.5, 0.7
    who.consistency[1] = -1.5
    examples = draw_judgements(made, np.random.default_rng(0), 900, 700, 900, 120)
    fit = fit_head(made.features, Model().joint(examples), 4.0)
    return examples, {c["annotator"]: c for c in cards(examples, fit)}


def test_planted_traits_come_out(planted):
    _, found = planted
    first = found["0"]["traits"]
    assert first["side"]["apart"] and first["side"]["low"] > 0.6
    assert first["threshold"]["apart"] and first["threshold"]["high"] < 0.45
    assert first["offset"]["apart"] and first["offset"]["high"] < -0.5
    assert first["scale"]["apart"] and first["scale"]["low"] > 1.2
    careless = found["1"]["traits"]["consistency"]
    assert careless["apart"] and careless["high"] < 0.7


def test_the_interval_of_somebody_who_hardly_looks_holds_the_truth():
    """In at least 6 of 8 worlds at 180 judgements, where others' consistencies are uncertain."""
    held = 0
    for seed in range(8):
        made = world(seed, prompts=200)
        examples = draw_judgements(made, np.random.default_rng(seed), 60, 60, 60, 200)
        fit = fit_head(made.features, Model().joint(examples), 24.0)
        found = {c["annotator"]: c for c in cards(examples, fit)}
        told = found["5"]["traits"]["consistency"]
        consistency = np.exp(made.crowd.consistency)
        true = consistency[5] / consistency[examples.pairs.annotator].mean()
        held += told["low"] <= true <= told["high"]
    assert held >= 6


def test_the_others_look_like_the_crowd(planted):
    _, found = planted
    traits = [t for name in "2345" for t in found[name]["traits"].values()]
    assert len(traits) == 20 and sum(t["apart"] for t in traits) <= 6
    for t in traits:
        assert t["low"] < t["value"] < t["high"]


def test_those_furthest_from_the_crowd_come_first(planted):
    _, found = planted
    assert set(list(found)[:2]) == {"0", "1"}


def test_cards_count_what_they_rest_on(planted):
    examples, found = planted
    person = int((examples.pairs.annotator == 0).sum())
    good = int((examples.binary.annotator == 0).sum())
    rated = int((examples.scalar.annotator == 0).sum())
    card = found["0"]
    assert card["judgements"] == {"pairwise": person, "scalar": rated, "binary": good}
    n = {name: trait["n"] for name, trait in card["traits"].items()}
    assert n == {"consistency": person + good, "side": person, "threshold": good,
                 "scale": rated, "offset": rated}  # fmt: skip


def test_who_gave_no_judgement_of_a_kind_has_no_trait_of_it():
    told = Told()
    for i in range(30):
        a, b = told.completion(i, "one", [1]), told.completion(i, "two", [0])
        told.say("pairwise", a, "a" if i % 3 else "b", "ann", b, first=None)
        told.say("binary", a, "good" if i % 2 else "bad", "bob")
    examples = told.examples()
    fit = fit_head(told.table(examples), Model().joint(examples), 1.0)
    found = {c["annotator"]: set(c["traits"]) for c in cards(examples, fit)}
    assert found == {"ann": {"consistency"}, "bob": {"consistency", "threshold"}}


def test_few_judgements_keep_a_wide_interval(planted):
    """A person with two judgements is taken for the crowd, not for what two answers say."""
    told = Told()
    for i in range(40):
        a, b = told.completion(i, "one", [1]), told.completion(i, "two", [0])
        who = "new" if i < 2 else "old"
        told.say("pairwise", a, "b" if who == "new" else "a", who, b, first="a")
    examples = told.examples()
    fit = fit_head(told.table(examples), Model().joint(examples), 1.0)
    new = {c["annotator"]: c for c in cards(examples, fit)}["new"]["traits"]
    assert not new["side"]["apart"] and new["side"]["high"] - new["side"]["low"] > 0.25


def test_offsets_in_points():
    gaussian = {"level": np.array([5.5])}
    assert points(np.array([0.0, -1.5]), gaussian).tolist() == [0, -1.5]
    steps = {"cut": np.array([-4.0]), "gaps": np.zeros(8)}  # cuts from -4 to 4, one apart
    zero, up, down = points(np.array([0.0, 1, -1]), steps)
    assert zero == 0 and up == pytest.approx(-down)
    # one step of the ladder is about one point in its middle
    assert up == pytest.approx(1, abs=0.1)


def test_without_effects_there_are_no_traits():
    told = Told()
    for i in range(30):
        a, b = told.completion(i, "one", [1]), told.completion(i, "two", [0])
        told.say("pairwise", a, "a", "ann", b)
    examples = told.examples()
    fit = fit_head(told.table(examples), Model(effects=False).joint(examples), 1.0)
    (card,) = cards(examples, fit)
    assert card["traits"] == {} and card["judgements"]["pairwise"] == 30
