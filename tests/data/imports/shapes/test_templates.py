"""Texts that a model's chat template, or a transcript, has been put around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import load, record

ASKED = {
    "ChatML": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
    "Llama 3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>",
    "Llama 2": "<s>[INST] q [/INST]",
    "Mistral": "[INST] q [/INST]",
    "Gemma": "<bos><start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\n",
    "Gemma 4": "<|turn>user\nq<turn|>\n<|turn>model\n",
    "Granite": "<|start_of_role|>user<|end_of_role|>q<|end_of_text|>",
    "DeepSeek": "<\uff5cbegin\u2581of\u2581text\uff5c><\uff5cUser\uff5c>q<\uff5cAssistant\uff5c>",
}
ENDED = ["A<|im_end|>", "A</s>", "A<|eot_id|>\n", "A<end_of_turn>", "A<turn|>", "A<|endoftext|>"]


@pytest.mark.parametrize("model", ASKED)
def test_a_prompt_in_a_template_is_refused(sqlite_store: Store, tmp_path: Path, model: str) -> None:
    prompt = ASKED[model]
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "chosen": "A", "rejected": "B"},
        {"prompt": prompt, "completion": "A"},
        {"prompt": prompt},
        {"instruction": prompt, "output": "A"},
        record({"ok": "yes"}, {"prompt": prompt, "response": "A"}),
    ]
    for row in rows:
        with pytest.raises(ValueError, match=r"chat template .* lists of \{role, content\}"):
            load(sqlite_store, tmp_path, row, annotator="ann")


@pytest.mark.parametrize("answer", ENDED)
def test_an_answer_in_a_template_is_refused(
    sqlite_store: Store, tmp_path: Path, answer: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "q", "chosen": answer, "rejected": "B"},
        {"prompt": "q", "completion": answer},
        {"prompt": "q", "completion": answer, "label": True},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]},
        record({"ok": "yes"}, {"prompt": "q", "response": answer}),
    ]
    for row in rows:
        with pytest.raises(ValueError, match="chat template"):
            load(sqlite_store, tmp_path, row, annotator="ann")
    kept = {"type": "completion", "prompt": "q", "completion": answer}
    load(sqlite_store, tmp_path, kept)
    assert sqlite_store.content.texts() == [answer]


@pytest.mark.parametrize(
    "text",
    ["<b>bold</b>", "<s>old</s>", "Say <|im_end|> at the end.", "<html>", "[link]", "<think>\nx",
     "<|begin_of_thought|>x<|end_of_thought|>\nA", "<|channel|>analysis<|message|>x"],
)  # fmt: skip
def test_signs_of_other_sorts_are_text(sqlite_store: Store, tmp_path: Path, text: str) -> None:
    load(sqlite_store, tmp_path, {"prompt": "q", "completion": text})
    assert [made.text for made in sqlite_store.content.demonstrations()] == [text]


def test_a_document_in_a_template_is_told(sqlite_store: Store, tmp_path: Path) -> None:
    report = load(sqlite_store, tmp_path, {"text": ASKED["ChatML"] + "A<|im_end|>"})
    assert report.new == {"document": 1}
    assert any("kept as a text" in reason for reason in report.left_out)


@pytest.mark.parametrize("name", ["User", "Human", "### Human"])
def test_an_answer_ends_where_the_user_speaks_again(
    sqlite_store: Store, tmp_path: Path, name: str
) -> None:
    prompt, answer = "User: q\nAssistant:", f"A\n{name}: ok"
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "chosen": answer, "rejected": "B"},
        {"prompt": prompt, "completion": answer},
        {"prompt": prompt, "completion": answer, "label": True},
    ]
    for row in rows:
        with pytest.raises(ValueError, match="turns of both sides"):
            load(sqlite_store, tmp_path, row, annotator="ann")


@pytest.mark.parametrize(
    "talk",
    ["Nutzer: q\nAssistent: {}\nNutzer: mehr\nAssistent: x",
     "Usuario: q\nAsistente: {}\nUsuario: m\u00e1s\nAsistente: x",
     "<|start_of_role|>user<|end_of_role|>q<|end_of_text|>{}",
     "<|turn>user\nq<turn|>\n<|turn>model\n{}<turn|>"],
)  # fmt: skip
def test_a_pair_of_conversations_is_never_cut_at_a_guess(
    sqlite_store: Store, tmp_path: Path, talk: str
) -> None:
    row = {"chosen": talk.format("A"), "rejected": talk.format("B")}
    with pytest.raises(ValueError, match="in a spelling that is not read"):
        load(sqlite_store, tmp_path, row, annotator="ann")


def test_an_answer_that_is_missing_is_no_empty_demonstration(
    sqlite_store: Store, tmp_path: Path
) -> None:
    for asked, answer in (("prompt", "completion"), ("instruction", "output")):
        rows = ({asked: "q", answer: text} for text in ("x", None))
        with pytest.raises(ValueError, match=f"{answer} is missing: .* or leave the row out"):
            load(sqlite_store, tmp_path, *rows)
