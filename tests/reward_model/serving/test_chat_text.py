"""Texts and token ids read back as the messages that they were written from."""

from __future__ import annotations

import pytest

from data.schema import make_prompt
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render
from reward_model.scoring.scorer import Scorer
from reward_model.serving.chat_text import ChatText, chat_text
from tests.reward_model.chat.families import FAMILIES, make_tokenizer
from tests.support import tiny

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it raining?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And tomorrow?"},
]


def in_template(tokenizer, turns):
    return chat_format(tokenizer).text(turns, opened=True)


def test_the_seam_between_prompt_and_completion_is_kept(tmp_path):
    """Where the two grow together, one text is other tokens than the model was trained on."""
    grown = tiny.TEXT + "a\n\n\nb" * 60
    tokenizer = load_tokenizer(find_origin(str(tiny.make_tiny(tmp_path / "model", text=grown))))
    chat = ChatText(tokenizer, None)
    assert chat.opening == "<|im_start|>assistant\n"
    start = in_template(tokenizer, [{"role": "user", "content": "Why?"}])
    text = start + "\n\nSo.<|im_end|>"
    wanted = render(tokenizer, make_prompt("Why?"), "\n\nSo.", True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids[: len(tokenizer(start)["input_ids"])] != tokenizer(start)["input_ids"]
    assert chat.read_text(text) == chat.read_text(text, start) == chat.read_ids(ids) == wanted
    assert chat.read_text(text + "\n") == chat.read_ids(wanted.ids) == wanted
    spelt = start + "I write <|im_start|>assistant\n\n\nhere."
    read = chat.read_text(spelt, start)
    assert read.ids == tokenizer(spelt, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(read.completion).startswith("I write")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("finished", [True, False])
def test_every_familys_own_text_is_read_as_its_messages(name, finished):
    """As text or as ids, whole or as sampled tokens end, with padding around it."""
    tokenizer = make_tokenizer(FAMILIES[name])
    chat, turns = ChatText(tokenizer, 96), [{"role": "user", "content": "Sky?"}]
    whole = [*turns, {"role": "assistant", "content": "Blue."}]
    wanted = render(tokenizer, make_prompt("Sky?"), "Blue.", finished, 96)
    how = {} if finished else {"continue_final_message": True}
    text = tokenizer.apply_chat_template(whole, tokenize=False, **how)
    ids = tokenizer.apply_chat_template(whole, return_dict=False, **how)
    start, pad = in_template(tokenizer, turns), str(tokenizer.pad_token)
    sampled = chat.format.up_to_end(text)
    for read in (
        chat.read_chat(whole, finished),
        chat.read_text(text),
        chat.read_text(text, start),
        chat.read_text(sampled, start),
        chat.read_text(pad + text + pad),
        chat.read_ids(ids),
        chat.read_ids([tokenizer.pad_token_id, *ids, tokenizer.pad_token_id]),
        chat.read_ids(tokenizer(sampled, add_special_tokens=False)["input_ids"]),
    ):
        assert read.ids == wanted.ids
    end = FAMILIES[name].end * finished
    if name != "mistral":  # it puts a blank before an answer
        assert chat.read_text("Sky?Blue." + end, "Sky?").ids == wanted.ids


def test_a_blank_before_the_end_is_read_where_the_template_writes_one(tiny_model):
    """Llama 2's: sampled tokens have none."""
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
    )
    chat, wanted = ChatText(tokenizer, None), render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    start = "[INST] Sky? [/INST]"
    for text in (start + " Blue.<|im_end|>", start + " Blue. <|im_end|>"):
        assert chat.read_text(text) == chat.read_text(text, start) == wanted


def test_a_template_that_begins_to_think_is_read(tiny_model):
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    tokenizer.chat_template = tiny.TEMPLATE.replace("assistant\n{%", "assistant\n<think>\n{%")
    chat, turns = ChatText(tokenizer, None), [{"role": "user", "content": "Sky?"}]
    whole = [*turns, {"role": "assistant", "content": "Blue."}]
    text = tokenizer.apply_chat_template(whole, tokenize=False)
    assert chat.read_text(text) == render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    opened = in_template(tokenizer, turns)
    read = chat.read_text(opened + "hm</think>Blue.<|im_end|>", opened)
    assert read == render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    whole = ChatText(tokenizer, None, thinking="whole")
    read = whole.read_text(opened + "hm</think>Blue.<|im_end|>", opened)
    assert tokenizer.decode(read.ids).endswith("<think>\nhm</think>Blue.<|im_end|>\n")


def test_a_model_trained_earlier_reads_texts_and_ids_as_before(scorer):
    """Its line break behind end-of-turn is not read, and the prompt is tokenised by itself."""
    earlier = Scorer(scorer.members, scorer.tokenizer, max_tokens=96, apart=True)
    chat, turns = chat_text(earlier), [{"role": "user", "content": "Sky?"}]
    whole = [*turns, {"role": "assistant", "content": "\n\nBlue."}]
    wanted = earlier.render("Sky?", "\n\nBlue.", True)
    assert wanted.completion[-1] == scorer.tokenizer.eos_token_id
    start, text = (
        in_template(scorer.tokenizer, turns),
        scorer.tokenizer.apply_chat_template(whole, tokenize=False),
    )
    ids = scorer.tokenizer(text, add_special_tokens=False)["input_ids"]
    for read in (
        chat.read_chat(whole, True),
        chat.read_text(text),
        chat.read_text(text.removesuffix("\n"), start),
        chat.read_text("Sky?\n\nBlue.<|im_end|>", "Sky?"),
    ):
        assert read.ids == wanted.ids
    assert chat.read_ids(ids).ids == ids[:-1]


TEMPLATES = {
    "llama 3": "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}<|endoftext|>\n\n"
    "{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|endoftext|>\n\n{% endif %}",
    "gemma": "{% for m in messages %}<|im_start|>"
    "{{ 'model' if m['role'] == 'assistant' else 'user' }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}",
    "mistral, without an opening": "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ m['content'] }}<|im_end|>{% else %}[INST]{{ m['content'] }}[/INST]{% endif %}{% endfor %}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("finished", [True, False])
def test_a_text_is_read_as_its_messages_in_any_template(tiny_model, template, finished):
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    tokenizer.chat_template = template
    tokenizer.bos_token = "<|im_start|>"
    chat = ChatText(tokenizer, 96)
    turns = [*CHAT[1:], {"role": "assistant", "content": " Two\nplain sentences."}]
    wanted = render(tokenizer, make_prompt(turns[:-1]), turns[-1]["content"], finished, 96).ids
    text = in_template(tokenizer, turns[:-1]) + turns[-1]["content"] + "<|im_end|>" * finished
    assert chat.read_text(text).ids == chat.read_chat(turns, finished).ids == wanted
    assert chat.read_ids(wanted).ids == wanted
    if finished:
        assert chat.read_text(tokenizer.apply_chat_template(turns, tokenize=False)).ids == wanted
