"""Five families of chat models: a text never gives a control token, and else all is the template's.

Texts are made up, with what the families' control tokens are spelled like strewn in.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data.schema import Prompt, make_prompt
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.render import render, render_prompt
from tests.reward_model.chat.families import FAMILIES, make_tokenizer

MARKS = sorted({t for f in FAMILIES.values() for t in (*f.special, *f.plain) if t.strip()})
TORN = ["<|im_", "end|>", "<start_of", "<s", "/INST]", "</think>", "\n\n", "▁", "<0x0A>"]
spelled = st.lists(
    st.one_of(st.sampled_from(MARKS), st.sampled_from(TORN), st.text(max_size=6)), max_size=6
).map("".join)
asked = spelled.filter(lambda text: text.strip())
few = settings(max_examples=60, derandomize=True, deadline=None)
family_names = pytest.mark.parametrize("name", FAMILIES)


@cache
def tokenizer_of(name: str):
    return make_tokenizer(FAMILIES[name])


def template_ids(tokenizer, prompt: Prompt, completion: str, **how):
    turns = [*(m.as_dict() for m in prompt.messages), {"role": "assistant", "content": completion}]
    return tokenizer.apply_chat_template(turns, return_dict=False, **how)


def controls(form, ids):
    return [i for i in ids if i in form.control_ids]


@family_names
@given(question=asked, answer=spelled, finished=st.booleans())
@few
def test_no_text_gives_a_control_token(name, question, answer, finished):
    tokenizer = tokenizer_of(name)
    form = chat_format(tokenizer)
    plain = render(tokenizer, make_prompt("Why?"), "So.", finished)
    hostile = render(tokenizer, make_prompt(question), answer, finished)
    assert controls(form, hostile.ids) == controls(form, plain.ids)
    assert controls(form, render_prompt(tokenizer, make_prompt(question))) == controls(
        form, render_prompt(tokenizer, make_prompt("Why?"))
    )


@family_names
@given(question=asked, answer=spelled)
@few
def test_other_texts_give_the_templates_own_ids(name, question, answer):
    tokenizer = tokenizer_of(name)
    form = chat_format(tokenizer)
    assume(not form.controls.search(question) and not form.controls.search(answer))
    prompt = make_prompt(question)
    whole = template_ids(tokenizer, prompt, answer)
    assert render(tokenizer, prompt, answer, True).ids == whole
    if answer.strip():
        cut = render(tokenizer, prompt, answer, False).ids
        assert cut == template_ids(tokenizer, prompt, answer, continue_final_message=True)
    start = render_prompt(tokenizer, prompt)
    turns = [m.as_dict() for m in prompt.messages]
    assert start == tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=False
    )


@family_names
def test_spelled_marks_are_read_as_the_characters_they_are(name):
    tokenizer = tokenizer_of(name)
    marks = chat_format(tokenizer).tokenizer.chat_control_tokens
    text = f"What does {' or '.join(marks)} mean?"
    (said,) = (tokenizer.decode(render_prompt(tokenizer, make_prompt(t))) for t in [text])
    assert text in said


@family_names
def test_a_user_cannot_forge_a_turn(name):
    """The text between two turns, put into one, is not two turns."""
    tokenizer = tokenizer_of(name)
    form = chat_format(tokenizer)
    honest = make_prompt(
        [
            {"role": "user", "content": "Say hi."},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "Rate yourself"},
        ]
    )
    text = form.text(as_turns(honest))
    forged = make_prompt(text[text.index("Say hi.") : text.index("yourself")] + "yourself")
    assert form.text(as_turns(forged)) == text
    ids = [render(tokenizer, p, "10", True).ids for p in (forged, honest)]
    assert ids[0] != ids[1]
    assert len(controls(form, ids[0])) < len(controls(form, ids[1]))


def as_turns(prompt: Prompt):
    return [m.as_dict() for m in prompt.messages]


@family_names
def test_turns_end_as_the_template_ends_them(name):
    tokenizer, family = tokenizer_of(name), FAMILIES[name]
    form = chat_format(tokenizer)
    end = tokenizer.convert_tokens_to_ids(family.end)
    assert form.end == end and form.ends_turn
    text = render(tokenizer, make_prompt("Why?"), "So.", True)
    assert text.completion[len(text.completion) - text.behind - 1] == end
    cut = render(tokenizer, make_prompt("Why?"), "So.", False)
    assert end not in cut.completion and not cut.behind
    assert text.prompt == cut.prompt == render_prompt(tokenizer, make_prompt("Why?"))
    assert form.ends([7]) == list(dict.fromkeys([end, 7, tokenizer.eos_token_id]))


@family_names
@pytest.mark.parametrize("nothing", ["", " ", "\n\n"])
def test_an_answer_cut_before_its_first_word_is_the_prompt(name, nothing):
    text = render(tokenizer_of(name), make_prompt("Why?"), nothing, False)
    assert text.ids == render_prompt(tokenizer_of(name), make_prompt("Why?"))


@family_names
def test_a_system_turn_is_written_or_refused(name):
    prompt = make_prompt(
        [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Sky?"}]
    )
    tokenizer = tokenizer_of(name)
    if name == "gemma":
        with pytest.raises(ValueError, match=r"refuses the prompt 'Sky\?'.*system, user.*System"):
            render_prompt(tokenizer, prompt)
    else:
        assert "Rhyme." in tokenizer.decode(render(tokenizer, prompt, "Blue.", True).ids)


def test_added_words_and_blanks_are_texts_like_any_other():
    """Gemma's vocabulary has line breaks and HTML as tokens of their own."""
    tokenizer = tokenizer_of("gemma")
    prompt = make_prompt("One\n\ntwo <table>")
    ids = render_prompt(tokenizer, prompt)
    for word in ("\n\n", "<table>"):
        assert tokenizer.convert_tokens_to_ids(word) in ids
    form = chat_format(tokenizer)
    assert tokenizer.convert_tokens_to_ids("<unused7>") in form.control_ids
