"""A reasoning model's thinking: kept, and neither scored nor trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data.exports import export
from data.imports import import_file
from data.schema import (
    Answer,
    Completion,
    Demonstration,
    Generation,
    Record,
    Task,
    make_prompt,
)
from data.splits import split_of
from data.store import Store
from data.store.content import insert_demonstrations
from data.store.history import insert_records
from data.texts.intake import taken
from grpo.config import SampleSettings, SftSettings
from grpo.evaluate import policy_kl
from grpo.run import execute
from grpo.sample import sample
from grpo.sampling import local
from grpo.sft import train
from reward_model.language_model.generation import completion_from, opened_thinking
from reward_model.language_model.render import render_prompt
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.kept_answers import keep_probes, kept_probes
from reward_model.scoring.scorer import Scorer
from tests.grpo.sampling.test_endpoint import draw, fake, fill, settings
from tests.support.endpoint import Fake, Reply
from tests.support.handmade import make_reward
from tests.support.tiny import TEMPLATE, make_tiny

__all__ = ["fake"]  # a fixture
PROMPT = make_prompt("Hi")
THOUGHT = "<think>\nA greeting, so I greet.\n</think>\n\n"
LAST_OF_THINKING = "m['content'].split('</think>')[-1]"
OPENS = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


@pytest.mark.parametrize(
    "reply",
    [
        Reply("<think>I greet</think>Hello"),
        Reply("I greet</think>Hello"),
        Reply("I greet\n</think>\n\nHello"),
        Reply("Hello", more={"reasoning_content": "I greet"}),
        Reply("Hello", more={"reasoning_text": "I greet"}),
        Reply("Hello", more={"reasoning": {"content": "I greet"}}),
        Reply("Hello", more={"reasoning_details": [{"type": "x", "text": "I greet"}]}),
        Reply([{"type": "reasoning", "summary": [{"text": "I greet"}]}, {"text": "Hello"}]),
        Reply(
            [
                {"type": "redacted_thinking", "data": "x"},
                {"type": "thinking", "thinking": "I greet"},
                {"type": "text", "text": "Hello"},
            ]
        ),
        Reply("Hello", more={"reasoning": "I greet", "reasoning_content": None}),
        Reply([{"type": "thinking", "thinking": "I greet"}, {"type": "text", "text": "Hello"}]),
    ],
)
def test_what_an_endpoint_s_model_thinks_is_kept_apart(
    store: Store, fake: Fake, tmp_path: Path, reply: Reply
) -> None:
    fill(store, 3)
    fake.answer = lambda n, body: reply
    report = draw(store, tmp_path, settings(fake))
    assert (report["completions"], report["thinking"], report["names_maker"]) == (6, 6, 0)
    for generation in store.content.generations("their-model"):
        made = generation.completion
        assert (made.thinking, made.text, made.finished) == ("I greet", "Hello", True)
    assert store.content.questions()  # annotators are asked


@pytest.mark.parametrize(
    "reply",
    [
        Reply("<think>Well, I", reason="length"),
        Reply("<think>Well, I", reason="stop"),
        Reply(None, reason="length", more={"reasoning_content": "Well, I"}),
    ],
)
def test_thinking_without_an_end_is_unfinished(
    sqlite_store: Store, fake: Fake, tmp_path: Path, reply: Reply
) -> None:
    fill(sqlite_store, 2)
    fake.answer = lambda n, body: reply
    report = draw(sqlite_store, tmp_path, settings(fake))
    assert (report["completions"], report["finished"], report["without_answer"]) == (4, 0, 4)
    assert "4 stopped before any answer: give more --sampling.max-new-tokens" in report["summary"]
    made = sqlite_store.content.generations()[0].completion
    assert (made.thinking, made.text, made.finished) == ("Well, I", "", False)


def test_an_export_brings_it_back(store: Store, sqlite_store: Store, tmp_path: Path) -> None:
    made = Completion(PROMPT, f"{THOUGHT}Hello")
    store.content.add_generations([Generation(made, "m"), Generation(Completion(PROMPT, ""), "m")])
    export(store, tmp_path / "one.jsonl")
    with Store.open(tmp_path / "other") as other:
        import_file(other, tmp_path / "one.jsonl")
        found = {g.completion.id for g in other.content.generations()}
        export(other, tmp_path / "two.jsonl")
    assert made.id in found
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def tokenizer_of(folder: Path, template: str = TEMPLATE) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny(folder))
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_that_opens_the_thinking_is_heard(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, OPENS)
    opened = opened_thinking(tokenizer)
    assert opened == "<think>" and opened_thinking(tokenizer_of(tmp_path)) == ""
    closed = TEMPLATE.replace("assistant\n{% e", "assistant\n<think>\n\n</think>\n\n{% e")
    assert opened_thinking(tokenizer_of(tmp_path, closed)) == ""
    end = tokenizer.eos_token_id

    def said(text: str, *more: int) -> Completion:
        tokens = [*tokenizer(text, add_special_tokens=False)["input_ids"], *more]
        return completion_from(tokenizer, PROMPT, tokens, [end], opened)

    whole = said("I greet</think>Hello", end)
    assert (whole.thinking, whole.text, whole.finished) == ("I greet", "Hello", True)
    cut = said("I gre")
    assert (cut.thinking, cut.text, cut.finished) == ("I gre", "", False)
    mute = said("I greet", end)
    assert (mute.text, mute.finished) == ("", False)


def test_kl_is_measured_on_what_was_sampled(tmp_path: Path) -> None:
    """Also where the template writes finished turns without their thinking."""
    tokenizer = tokenizer_of(tmp_path, OPENS.replace("m['content']", LAST_OF_THINKING))
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    read: list[list[int]] = []

    def watched(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        read.append(input_ids[0, : int(attention_mask[0].sum())].tolist())
        return model(input_ids=input_ids, attention_mask=attention_mask)

    tokens = [*tokenizer("I greet</think>Hello", add_special_tokens=False)["input_ids"]]
    tokens.append(tokenizer.eos_token_id)
    end, opened = [tokenizer.eos_token_id], opened_thinking(tokenizer)
    answer = completion_from(tokenizer, PROMPT, tokens, end, opened)
    policy: Any = Mock(side_effect=watched, device=model.device)
    assert policy_kl(policy, model, tokenizer, [answer]) == pytest.approx([0], abs=1e-6)
    assert read == [render_prompt(tokenizer, PROMPT) + tokens]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("scorer")
    return Scorer.load(make_reward(folder / "reward", make_tiny(folder / "tiny"), "head"))


def rewards(scorer: Scorer, *texts: str, finished: bool = True) -> list[float]:
    found: list[float] = scorer.score(["Hi"] * len(texts), texts, [finished] * len(texts)).tolist()
    return found


def test_an_earlier_reward_model_reads_the_whole_as_it_did(scorer: Scorer) -> None:
    scorer = replace(scorer, thinking="whole", apart=True)  # as where its folder notes nothing
    reward = GrpoReward(scorer, [7], clip=9.0, opened="<think>")
    text = "I greet</think>Hello"
    given = reward([[{"role": "user", "content": "Hi"}]], [text], [[1, 7]])
    assert given == rewards(scorer, text) != rewards(scorer, "Hello")


def test_a_reward_model_of_the_whole_gets_the_tag_that_the_template_wrote(scorer: Scorer) -> None:
    scorer = replace(scorer, thinking="whole", apart=False)
    reward = GrpoReward(scorer, [7], clip=9.0, opened="<think>")
    given = reward([[{"role": "user", "content": "Hi"}]], ["I greet</think>Hello"], [[1, 7]])
    assert given == rewards(scorer, "<think>\nI greet</think>Hello")
    assert given != rewards(scorer, "I greet</think>Hello")


def test_the_answer_alone_is_scored(scorer: Scorer) -> None:
    text = f"{THOUGHT}Hello"
    made = [Completion(PROMPT, text), Completion(PROMPT, "Hello")]
    scorer = replace(scorer, thinking="whole")
    whole = rewards(scorer, text)
    assert scorer.rewards_of(made[:1]).tolist() == whole != rewards(scorer, "Hello")
    alone = replace(scorer, thinking="answer")
    assert rewards(alone, text) == rewards(alone, "Hello") == rewards(scorer, "Hello")
    assert alone.rewards_of(made[:1]).tolist() == alone.rewards_of(made[1:]).tolist()
    assert rewards(alone, "<think>Well") == rewards(scorer, "", finished=False)


def test_probes_are_what_every_route_reads_alike(tmp_path: Path) -> None:
    """A text that only the whole model reads with its thinking is no probe of an export."""
    made = [Completion(PROMPT, f"{THOUGHT}Hello"), Completion(PROMPT, "Hello", False)]
    raw = np.array([1.0, 2.0])
    keep_probes(tmp_path, made, raw, torch.float32, "answer")
    assert [c.written for c in kept_probes(tmp_path)[0]] == ["Hello", "Hello"]
    keep_probes(tmp_path, made, raw, torch.float32, "whole")
    (left,), kept, _ = kept_probes(tmp_path)
    assert (left.finished, kept.tolist()) == (False, [2.0])


def test_grpo_s_reward_reads_the_answer_alone(scorer: Scorer) -> None:
    alone = replace(scorer, thinking="answer")
    reward = GrpoReward(alone, [7], clip=9.0, opened="<think>")

    def given(text: str, reward: GrpoReward = reward) -> list[float]:
        return reward([[{"role": "user", "content": "Hi"}]], [text], [[1, 7]])

    hello = rewards(scorer, "Hello")
    assert given("I greet</think>Hello") == given("So I do\n</think>\n\nHello") == hello
    assert given("It never ends") == rewards(scorer, "", finished=False)
    plain = GrpoReward(alone, [7], clip=9.0)
    assert given("<think>a</think>Hello", plain) == given("Hello", plain) == hello


def test_fine_tuning_learns_the_answer_alone(sqlite_store: Store, tmp_path: Path) -> None:
    asked = (make_prompt(f"Question {i}?") for i in range(60))
    prompts = [p for p in asked if split_of(p) == "train"][:10]
    texts = [f"{THOUGHT}Answer {i}." for i in range(9)] + ["<think>It never ends"]
    with sqlite_store.database.write() as connection:
        made = [Demonstration(p, t) for p, t in zip(prompts, texts, strict=True)]
        insert_demonstrations(connection, made)
    found = {}
    for thinking in ("answer", "whole"):
        chosen = SftSettings(
            workspace=tmp_path, model=str(make_tiny(tmp_path / "tiny")), thinking=thinking, epochs=1
        )
        outcome = execute("sft", train, chosen, sqlite_store)
        assert outcome.report is not None
        found[thinking] = outcome.report.as_json()
    assert found["answer"]["demonstrations"] == 9 and found["answer"]["thinking_not_learned"] == 10
    assert found["answer"]["left_out_thinking_alone"] == 1
    assert "the thinking of 10 left out" in found["answer"]["summary"]
    assert (found["whole"]["demonstrations"], found["whole"]["thinking_not_learned"]) == (10, 0)


def test_tables_for_trainers_hold_the_answer_alone(sqlite_store: Store, tmp_path: Path) -> None:
    a, b = Completion(PROMPT, f"{THOUGHT}Hello"), Completion(PROMPT, "<think>No.</think>Go")
    with sqlite_store.database.write() as connection:
        insert_records(connection, [Record(Task("pairwise", a, b, 0), "ann", Answer("a"))])
    export(sqlite_store, tmp_path / "rows.jsonl", "trl-preference")
    (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["chosen"][0]["content"] == "Hello" and row["rejected"][0]["content"] == "Go"


def test_a_local_model_s_texts_are_held_to_what_others_are(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it writes is stored on both engines, or left out and counted: an export reads again."""
    said = ["a\x00b", "Fine.", "", "<think>So.</think>Fine."]

    def drawn(model: Any, tokenizer: Any, prompts: Any, *_: Any, **__: Any) -> list[Completion]:
        return [Completion(p, *taken(said[i % 4], True)) for i, p in enumerate(prompts)]

    monkeypatch.setattr(local, "draw", drawn)
    fill(store, 3)
    chosen = SampleSettings(
        policy=str(make_tiny(tmp_path / "tiny")), workspace=tmp_path, overlap=0, tasks=20
    )
    outcome = execute("sample", sample, chosen, store)
    assert outcome.report is not None
    report = outcome.report.as_json()
    assert report["left_out"] == {"with characters that cannot be stored": 3}
    assert (report["completions"], report["without_answer"], report["thinking"]) == (9, 3, 3)
    assert len(store.content.generations()) == 9
    export(store, tmp_path / "all.jsonl")
    with Store.open(tmp_path / "other") as other:
        assert import_file(other, tmp_path / "all.jsonl").skipped == 0
