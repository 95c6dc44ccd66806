"""Templates that lose text or tell no turns apart are refused before anything is spent."""

from __future__ import annotations

import pytest

from data.schema import make_prompt
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.render import render, render_prompt, require_thinking
from tests.reward_model.chat.families import FAMILIES, make_tokenizer

START = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
CONTENT = "{{ m['content'] }}"
CLOSE = "<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PARTS = (
    "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}"
)
BAD = {
    "no system's turn": (
        "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
        + CONTENT + CLOSE + OPEN,
        "leaves out the text of turn 1, the system's",
    ),
    "the last turn alone": (
        "{% set m = messages[-1] %}<|im_start|>{{ m['role'] }}\n" + CONTENT + "<|im_end|>\n" + OPEN,
        "leaves out the text of turn 1, the user's",
    ),
    "no assistant's text": (
        START + "{% if m['role'] != 'assistant' %}" + CONTENT + "{% endif %}" + CLOSE + OPEN,
        "leaves out the text of turn 2, the assistant's",
    ),
    "twice": (START + CONTENT + CONTENT + CLOSE + OPEN, "user's turn more than once"),
    "backwards": (
        "{% for m in messages | reverse %}<|im_start|>{{ m['role'] }}\n" + CONTENT + CLOSE + OPEN,
        "moves the text of turn 2, the assistant's",
    ),
    "cut": (START + "{{ m['content'][:3] }}" + CLOSE + OPEN, "leaves out the text of turn 1"),
    "no generation prompt": (START + CONTENT + CLOSE, "writes no generation prompt: '<|im_start|>"),
    "another generation prompt": (
        START + CONTENT + CLOSE + OPEN.replace("assistant", "bot"),
        "yet begins the assistant's turn of a whole conversation with",
    ),
    "no conversations": (
        "{{ raise_exception('for completion only') }}",
        "refuses a conversation of user and assistant (for completion only)",
    ),
    "another shape": ("{{ messages.text + 1 }}", "refuses a conversation of user and assistant"),
}  # fmt: skip


@pytest.fixture
def tokenizer():
    return make_tokenizer(FAMILIES["chatml"])


@pytest.mark.parametrize(("template", "words"), BAD.values(), ids=BAD)
def test_a_template_that_is_no_good_is_refused_in_one_line(tokenizer, template, words):
    tokenizer.chat_template = template
    with pytest.raises(ValueError) as refused:
        chat_format(tokenizer)
    said = str(refused.value)
    assert words in said and "\n" not in said and "chat_template in its tokenizer's files" in said


def test_contents_are_given_in_parts_where_the_template_wants_them_so(tokenizer):
    tokenizer.chat_template = START + PARTS + CLOSE + OPEN
    text = render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    assert tokenizer.decode(text.ids) == (
        "<|im_start|>user\nSky?<|im_end|>\n<|im_start|>assistant\nBlue.<|im_end|>\n"
    )
    assert tokenizer.decode(render(tokenizer, make_prompt("Sky?"), "Bl", False).completion) == "Bl"
    spelled = render(tokenizer, make_prompt("<|im_end|>?"), "Blue.", True)
    assert spelled.ids.count(chat_format(tokenizer).end) == 2


def test_a_template_that_begins_to_think_is_told_and_scores_what_it_writes(tokenizer):
    tokenizer.chat_template = START + CONTENT + CLOSE + OPEN.replace("\n{%", "\n<think>\n{%")
    form = chat_format(tokenizer)
    assert "'<think>'" in form.note and "demonstrations" in form.note
    prompt = make_prompt("Sky?")
    assert tokenizer.decode(render_prompt(tokenizer, prompt)).endswith("assistant\n<think>\n")
    text = render(tokenizer, prompt, "Blue.", True)
    assert tokenizer.decode(text.ids).endswith("<|im_start|>assistant\nBlue.<|im_end|>\n")
    assert not chat_format(make_tokenizer(FAMILIES["chatml"])).note


def test_thinking_is_to_be_kept_only_where_the_template_keeps_it(tokenizer):
    require_thinking(tokenizer)
    answer = "{{ m['content'].split('</think>')[-1] }}"
    tokenizer.chat_template = START + answer + CLOSE + OPEN
    with pytest.raises(ValueError, match="use --thinking answer"):
        require_thinking(tokenizer)


def test_a_template_that_closes_empty_thinking_is_fine(tokenizer):
    """As Qwen 3 writes the last answer; what it does to earlier thinking is its own."""
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}{% set c = m['content'].split('</think>')[-1] %}"
        "{% if loop.last %}<think>\n\n</think>\n\n{% endif %}{{ c }}{% else %}{{ m['content'] }}"
        "{% endif %}<|im_end|>\n{% endfor %}" + OPEN
    )
    assert not chat_format(tokenizer).note
    turns = [
        {"role": "user", "content": "Sky?"},
        {"role": "assistant", "content": "<think>hm</think>Blue."},
        {"role": "user", "content": "Sea?"},
    ]
    text = render(tokenizer, make_prompt(turns), "Green.", True)
    said = tokenizer.decode(text.ids)
    assert "hm" not in said and said.endswith("<think>\n\n</think>\n\nGreen.<|im_end|>\n")
    for finished in (True, False):  # never an error in the middle of a run
        odd = render(tokenizer, make_prompt("Sky?"), "one</think>two", finished)
        assert "two" in tokenizer.decode(odd.completion)
        assert (odd.completion[-1:] == [chat_format(tokenizer).end]) is False


def test_a_turn_that_only_the_next_one_ends(tokenizer):
    """As in GLM's template: the end is the beginning of the user's next turn."""
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}" + OPEN
    )
    form = chat_format(tokenizer)
    assert not form.ends_turn and form.end == tokenizer.convert_tokens_to_ids("<|im_start|>")
    whole = render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    assert tokenizer.decode(whole.completion) == "Blue." and whole.behind == 0


def test_what_mistral_does_with_a_system_turn_is_told_where_it_loses_one(tokenizer):
    """Its later templates write the system's text only where a user's turn is the last."""
    tokenizer.chat_template = (
        "{% set told = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
        "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
        "{% if loop.last and m['role'] == 'user' %}{{ told }}\n{% endif %}" + CONTENT + CLOSE + OPEN
    )
    assert render(tokenizer, make_prompt("Sky?"), "Blue.", True)
    turns = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Sky?"}]
    with pytest.raises(ValueError, match=r"leaves out the text of turn 1.*'Rhyme\.'"):
        render_prompt(tokenizer, make_prompt(turns))


def test_a_tokenizer_that_makes_a_mark_of_plain_text_reads_it_with_a_blank():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[UNK]", "<eos>", "user", "assistant", "Sky?", "Blue.", ":", "<", "eos>"]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<eos>", unk_token="[UNK]", pad_token="[UNK]"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} <eos> {% endfor %}"
        "{% if add_generation_prompt %}assistant : {% endif %}"
    )
    text = render(tokenizer, make_prompt("Sky? <eos> assistant : Blue."), "Blue.", True)
    assert text.ids.count(tokenizer.eos_token_id) == 2
