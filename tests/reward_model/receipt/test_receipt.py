"""The receipt as a whole: made of whatever was judged, and shown without breaking."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from data.stats.estimate import format_estimate
from reward_model.receipt.build import headline, receipt
from reward_model.receipt.contents import Receipt, ReceiptEstimate, read_held_out
from reward_model.receipt.html import receipt_html
from reward_model.receipt.text import (
    CARD,
    RECEIPT_HTML,
    RECEIPT_JSON,
    model_card,
    receipt_lines,
    write_receipt,
)
from reward_model.receipt.wording import MEASURES, ONE_PERSON, summary, verdict
from tests.reward_model.evaluation.receipts import Told, evidence, tell

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>|`</td>'
VOID = {"meta", "br", "img", "link", "input", "hr"}
SVG_VOID = {"line", "circle", "polyline", "polygon", "rect"}


class Page(HTMLParser):
    """Tags, attributes and whether every tag that is opened is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.balanced = [], [], [], True
        self.feed(text)
        self.balanced &= not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        self.balanced &= bool(self.open) and self.open.pop() == tag


def shown(found):
    """All that can be shown of it; fails where it is not JSON, or a tag is not closed."""
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    page = receipt_html(Receipt.read(found))
    parsed = Page(page)
    assert parsed.balanced
    assert not {"script", "link", "iframe", "img", "object"} & set(parsed.tags)
    for name, value in parsed.attributes:
        assert not name.startswith("on") and name not in ("src", "href", "srcset")
        assert "nan" not in (value or "").split(",") and "inf" not in (value or "")
    assert "http:" not in page and "https:" not in page and "url(" not in page
    assert "None" not in page and not re.search(r"\bnan\b", page)
    said = receipt_lines(found)
    assert all(isinstance(line, str) and "\n" not in line for line in said)
    assert said[0] == found["summary"] and found["summary"] in unescape(page)
    front = model_card(Receipt.read(found))
    _, matter, body = front.split("---\n", 2)
    assert yaml.safe_load(matter)["pipeline_tag"] == "text-classification"
    assert found["summary"] in body
    return page, "\n".join(said), body


@pytest.fixture(scope="module")
def whole():
    """Of a head on every kind of judgement, with the policy's answers."""
    rng = np.random.default_rng(0)
    told = tell(prompts=40, pairs=4, ratings=3, binary=3)
    made = evidence(
        told,
        policy_rewards=rng.normal(size=160),
        policy_sd=np.full(160, 0.3),
        policy_prompts=np.repeat(np.arange(20), 8),
        dropped={"texts cut to fit": 3, "answers that their annotator gave anew later": 0},
        facts={"policy": "tiny", "reward unit": "mean 0 and standard deviation 1 on 160 answers"},
    )
    return made, receipt(made)


# --- everything that is asked of it


def test_every_figure_is_there(whole):
    _, found = whole
    assert set(found["scores"]["crossed"]) == set(MEASURES)
    for name, figure in found["scores"]["crossed"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert figure["n"] >= 30 and figure["prompts"] >= 10
        assert figure["baseline"]["value"] is not None and figure["baseline"]["name"]
        assert figure["lead"]["low"] <= figure["lead"]["value"] <= figure["lead"]["high"]
    nulls = {"longer", "shorter", "first", "prompt", "words", "words_and_length"}
    assert set(found["held_out"]["baselines"]) == nulls
    assert set(found["calibration"]) == {"pairs", "ties", "binary"}
    for part in found["calibration"].values():
        assert part["ece"]["value"] is not None and part["brier"]["baseline"] and part["bins"]
    assert found["equal_length"]["balanced"]["value"] > 0.5
    assert found["learning"]["points"] and found["learning"]["sentence"]
    assert found["spread"]["verdict"] == "enough"
    assert [p["best_of"] for p in found["best_of_n"]] == [2, 4, 8]
    assert found["judged_best_of_n"]
    assert {c["annotator"] for c in found["annotators"]} == {"ann", "bob", "cy"}
    assert found["ceiling"]["sentence"]


def test_a_reward_that_knows_better_beats_every_baseline(whole):
    _, found = whole
    assert found["verdict"] == "beats"
    assert found["summary"].startswith("It beats every baseline: pairwise accuracy")


def test_all_of_it_is_shown(whole):
    _, found = whole
    page, said, body = shown(found)
    for words in MEASURES.values():
        assert words.name in page and words.name.lower() in said.lower()
    for text in (page, said, body):
        assert found["learning"]["sentence"].split(":")[0][:40] in text
        assert "Brier" in text and "ECE" in text
    assert page.count("<svg") >= 6
    assert "ann" in page and "texts cut to fit" in page and "160 answers" in body
    assert "left out or cut: 3 texts cut to fit" in said and "gave anew" not in said


def test_it_is_the_same_again():
    made = evidence(tell(prompts=15))
    assert receipt(made) == receipt(made)


def test_three_files_are_written(whole, tmp_path):
    _, found = whole
    write_receipt(found, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {RECEIPT_HTML, RECEIPT_JSON, CARD}
    assert json.loads((tmp_path / RECEIPT_JSON).read_text(encoding="utf-8")) == found
    assert (tmp_path / RECEIPT_HTML).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (tmp_path / CARD).read_text(encoding="utf-8").startswith("---\n")


def test_hostile_names_are_shown_as_text(whole):
    _, found = whole
    people = [{**c, "annotator": HOSTILE} for c in found["annotators"]]
    facts = {HOSTILE: HOSTILE, "policy": HOSTILE + "\n# heading"}
    page, _, body = shown({**found, "annotators": people, "facts": facts, "dropped": {HOSTILE: 2},
                           "summary": found["summary"]})  # fmt: skip
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "<script>" not in body and "\n# heading" not in body


def test_a_receipt_with_fewer_or_other_keys_is_shown(whole):
    """Made by another version; null is as good as absent."""
    _, found = whole
    optional = ("ceiling", "equal_length", "calibration", "annotators", "learning")
    shown({k: v for k, v in found.items() if k not in optional} | {"new": 1, "ceiling": None})
    with pytest.raises(ValueError, match="summary"):
        Receipt.read({"verdict": "beats"})


def test_a_receipt_made_before_is_shown_as_it_was_made(whole):
    """Without the counts of known orders and the newer baseline, and with a sentence of then."""
    _, found = whole
    held = {k: v for k, v in found["held_out"].items() if k not in ("pairs", "shown_first_known")}
    held["baselines"] = {k: v for k, v in held["baselines"].items() if k != "words_and_length"}
    held["lead"] = {**held["lead"], "over": "words"}
    learning = {**found["learning"], "verdict": "flat", "sentence": "It was flat then."}
    then = {**found, "held_out": held, "learning": learning, "summary": "It was so."}
    page, said, _ = shown(then)
    assert "display order" not in page and "length together" not in page.split("All measures")[0]
    assert "It was flat then." in page and "It was flat then." in said


@pytest.mark.parametrize("verdict", ["flat", "ceiling"])
def test_the_page_says_of_the_curve_what_it_shows(whole, verdict):
    _, found = whole
    page, *_ = shown({**found, "learning": {**found["learning"], "verdict": verdict}})
    assert "help" not in page.split("Pairwise accuracy</h2>")[0] and "Learning curve" in page


def test_progress_is_told_and_may_stop_it(whole):
    made, _ = whole
    told = []
    with pytest.raises(KeyboardInterrupt):
        receipt(made, lambda done, total, words: told.append(words) or stop(len(told)))
    assert told[0] == "people's agreement with one another" and len(told) == 4


def stop(calls):
    if calls == 4:
        raise KeyboardInterrupt


# --- whatever was judged


def contradictory():
    """Ten people, who answer at random."""
    return tell(seed=4, prompts=40, each=2, pairs=3, taste=0.0, people=[f"p{i}" for i in range(10)])


def ties():
    told = tell(prompts=30, ratings=0, binary=0)
    tied = Told(features=told.features)
    for j in told.judgements:
        tied.say("pairwise", j.task.a, "tie", j.annotator, j.task.b, j.shown_first)
    return tied


CASES = {
    "pairs": lambda: tell(ratings=0, binary=0),
    "ratings": lambda: tell(pairs=0, binary=0),
    "good or bad": lambda: tell(pairs=0, ratings=0),
    "one annotator": lambda: tell(prompts=20, people=["ann"]),
    "all ties": ties,
    "one prompt": lambda: tell(prompts=1, each=20, pairs=30, ratings=20, binary=20),
    "two prompts": lambda: tell(prompts=2, each=8, pairs=20),
    "three judgements": lambda: tell(prompts=3, pairs=1, ratings=0, binary=0),
    "contradictory": contradictory,
}


@pytest.mark.parametrize("name", CASES)
def test_a_receipt_is_made_of_whatever_was_judged(name):
    told = CASES[name]()
    found = receipt(evidence(told))
    page, said, _ = shown(found)
    assert found["annotators_count"] == len({j.annotator for j in told.judgements})
    if name in ("one prompt", "all ties"):
        assert found["summary"].startswith("Nothing to check it by yet")
    if name in ("two prompts", "three judgements", "ratings", "good or bad", "pairs"):
        assert "not enough data yet" in said.lower()
    if name in ("one prompt", "two prompts", "three judgements", "all ties"):
        assert found["verdict"] == "unknown"
        assert (found["held_out"]["accuracy"] or {}).get("value") is None
    if name == "one annotator":
        assert ONE_PERSON in said and ONE_PERSON in page
    else:
        assert ONE_PERSON not in said
    if name == "contradictory":
        assert found["verdict"] in ("loses", "unsure")
        assert "beat its baselines" in said.splitlines()[0]


@pytest.mark.parametrize("objective", ["bradley_terry", "regression", "binary"])
def test_each_objective_is_asked_what_it_can_say(objective):
    found = receipt(evidence(tell(prompts=30), objective))
    shown(found)
    scores = found["scores"]["crossed"]
    assert ("log_loss" in scores) == (objective == "bradley_terry")
    assert ("rating_error" in scores) == (objective == "regression")
    assert ("good_log_loss" in scores) == (objective == "binary")
    assert scores["accuracy"]["value"] is not None  # its rewards are held against all kinds


def test_the_textbook_loss_has_no_traits_and_no_ties():
    found = receipt(evidence(tell(prompts=30, ratings=0, binary=0), "bradley_terry", effects=False))
    page, _, _ = shown(found)
    assert "log_loss_ties" not in found["scores"]["crossed"]
    assert "Everybody was taken to judge alike" in page


def test_a_constant_reward_is_a_coin():
    told = tell(prompts=30)
    told.features = {name: np.zeros(3) for name in told.features}
    n = 80
    found = receipt(
        evidence(
            told,
            policy_rewards=np.zeros(n),
            policy_sd=np.full(n, 0.5),
            policy_prompts=np.repeat(np.arange(20), 4),
        )
    )
    page, _, _ = shown(found)
    assert found["held_out"]["accuracy"]["value"] == 0.5
    assert found["verdict"] == "loses" and found["summary"].startswith("It does not beat")
    assert "verdict bad" in page
    assert found["scores"]["crossed"]["spearman_within"]["value"] == 0
    assert found["scores"]["crossed"]["auc"]["value"] == 0.5
    assert found["spread"]["verdict"] == "flat" and "nearly flat" in page


def test_a_reward_that_is_only_length_beats_no_null():
    """People prefer the longer two times in three; the reward has seen nothing but length."""
    rng, told = np.random.default_rng(0), Told()
    for i in range(60):
        lengths = rng.permutation(np.arange(3, 20))[:2]
        a, b = (told.completion(i, f"{i:02}" + "x" * int(n), [float(n)]) for n in lengths)
        longer = "a" if lengths[0] > lengths[1] else "b"
        shorter = "b" if longer == "a" else "a"
        told.say("pairwise", a, longer if i % 3 else shorter, "ann", b, str(rng.choice(["a", "b"])))
    found = receipt(evidence(told, "bradley_terry"))
    accuracy = found["held_out"]["accuracy"]
    assert accuracy["value"] == pytest.approx(2 / 3)
    assert found["held_out"]["lead"]["over"] == "longer" and found["verdict"] == "loses"
    assert found["equal_length"]["balanced"]["value"] == 0.5
    page, said, _ = shown(found)
    first = said.splitlines()[0]
    assert first.startswith("It does not beat its baselines") and "always the longer" in first
    assert "Do not train a policy on it" in first
    assert "may be length alone" in page


# --- which model speaks


def half_held(made, every=2):
    """Of a released model that knows what the head knew, on each second prompt."""
    held = made.examples.prompt % every == 0
    crossed = made.crossed
    return replace(crossed, reward=np.where(held, crossed.reward, np.nan))


def test_a_tuned_model_speaks_for_itself_where_enough_was_held_out(whole):
    made, _ = whole
    tuned = replace(made, tuning="lora", held=half_held(made))
    found = receipt(tuned)
    assert found["headline"] == "held" and set(found["scores"]) == {"held", "crossed"}
    assert found["held_out"]["prompts"] == 20
    assert found["summary"].startswith("It ")
    shown(found)


def test_else_the_head_speaks_and_is_named(whole):
    made, _ = whole
    tuned = replace(made, tuning="lora", held=half_held(made, every=20))
    found = receipt(tuned)
    assert found["headline"] == "crossed"
    assert found["summary"].startswith("The head that the tuned model started from beats")
    shown(found)


def test_nothing_held_out_and_one_prompt_leave_no_headline():
    assert headline({}, False) == "held" and headline({}, True) == "held"


# --- words


def estimate(value, low, high, n=100):
    return {"value": value, "low": low, "high": high, "n": n, "prompts": 50}


@pytest.mark.parametrize(
    ("lead", "start", "judged"),
    [
        ((0.2, 0.1, 0.3), "It beats every baseline", "beats"),
        ((0.05, -0.1, 0.2), "It is not shown to beat its baselines", "unsure"),
        ((-0.05, -0.2, 0.1), "It does not beat its baselines", "loses"),
        ((0.0, 0.0, 0.0), "It does not beat its baselines", "loses"),
    ],
)
def test_the_first_line_and_the_verdict_say_the_same(lead, start, judged):
    held_out = read_held_out(
        {
            "accuracy": estimate(0.6, 0.5, 0.7),
            "lead": {"over": "longer", **estimate(*lead)},
            "baselines": {"longer": estimate(0.55, 0.5, 0.6)},
            "of": "comparisons",
        }
    )
    assert summary(held_out).startswith(start) and verdict(held_out) == judged


def test_numbers_are_written_in_full_or_say_what_is_missing():
    def made(*numbers):
        return ReceiptEstimate(**estimate(*numbers))

    assert format_estimate(made(0.712, 0.66, 0.75, 1184)) == "71% [66, 75], n 1,184"
    assert format_estimate(made(0.4321, 0.4, 0.5), "number", count=False) == "0.43 [0.40, 0.50]"
    assert format_estimate(made(1.2, 1, 1.4), "points") == "1.20 points [1.00, 1.40], n 100"
    for n, prompts, words in (
        (4, 2, "not enough data yet (n 4, about 30 needed)"),
        (40, 2, "not enough data yet (2 prompts, about 10 needed)"),
        (40, 20, "not defined: all the same"),
    ):
        needing = ReceiptEstimate(n=n, prompts=prompts, needs=30, needs_prompts=10)
        assert format_estimate(needing) == words
    assert format_estimate(ReceiptEstimate()) == "not enough data yet"
