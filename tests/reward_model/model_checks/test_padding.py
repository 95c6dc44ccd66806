"""The pad token: never content, never structure, always inside the embedding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data.schema import make_prompt
from reward_model.language_model.generation import generate_shared
from reward_model.language_model.loading import (
    load_model,
    load_scorers_tokenizer,
    load_tokenizer,
)
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render, render_prompt
from tests.reward_model.model_checks.odd_models import (
    add_tokens,
    edit_json,
    edit_tokenizer,
    variant,
)
from tests.support.tiny import TEXT, make_tiny

HEADER = "<|start_header_id|>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant\n\n{% endif %}"
)


def make_bare(folder: Path, *more: str, extra_rows: int = 0, **named: str) -> Path:
    """A model whose tokenizer has no pad, as Llama 3 comes: bos, eos, a header, and `more`."""
    special = ["<|begin_of_text|>", "<|eot_id|>", HEADER, *more]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator([TEXT], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", **named
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast) + extra_rows, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def pad_of(folder: Path) -> str:
    return str(load_tokenizer(find_origin(str(folder))).pad_token)


@pytest.mark.parametrize(
    ("more", "pad"),
    [
        (["<|end_of_text|>", "<|reserved_special_token_0|>"], "<|reserved_special_token_0|>"),
        (["<unused0>", "<unused1>"], "<unused0>"),
        (
            ["<|finetune_right_pad_id|>", "<|reserved_special_token_0|>"],
            "<|finetune_right_pad_id|>",
        ),
        (["<|placeholder1|>"], "<|placeholder1|>"),
        (["<|fim_pad|>", "<|reserved_0|>"], "<|fim_pad|>"),
        (["<|padding|>"], "<|padding|>"),
    ],
)
def test_a_tokenizer_without_pad_takes_a_token_that_nothing_writes(
    tmp_path: Path, more: list[str], pad: str
) -> None:
    assert pad_of(make_bare(tmp_path / "m", *more)) == pad


@pytest.mark.parametrize("declared", ["<|begin_of_text|>", "<|eot_id|>", HEADER, "a", None])
def test_structure_and_words_never_pad(tmp_path: Path, declared: str | None) -> None:
    """The declared pad is the text's beginning, its end, of the template, or a word."""
    named = {"pad_token": declared} if declared else {}
    folder = make_bare(tmp_path / "m", "<|reserved_special_token_7|>", **named)
    assert pad_of(folder) == "<|reserved_special_token_7|>"


@pytest.mark.parametrize("declared", [None, "<|begin_of_text|>", "<|eot_id|>", HEADER, "a"])
def test_without_any_such_token_the_model_is_refused(tmp_path: Path, declared: str | None) -> None:
    named = {"pad_token": declared} if declared else {}
    folder = make_bare(tmp_path / "m", **named)
    with pytest.raises(ValueError, match=r"no token to pad with.*resize_token_embeddings"):
        load_tokenizer(find_origin(str(folder)))


def test_a_reward_model_made_before_reads_with_the_pad_it_had(tmp_path: Path) -> None:
    origin = find_origin(str(make_bare(tmp_path / "m")))
    assert load_scorers_tokenizer(origin, None).pad_token == "<|begin_of_text|>"
    assert load_scorers_tokenizer(origin, HEADER).pad_token == HEADER


def test_a_pad_beyond_the_embedding_gives_way(tmp_path: Path, tiny_model: Path) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_tokenizer(folder, lambda t: t.add_special_tokens({"pad_token": "[PAD]"}))
    tokenizer = load_tokenizer(find_origin(str(folder)))
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.convert_tokens_to_ids("[PAD]") == 340  # the model has rows 0 to 339


def test_an_added_token_with_a_row_pads(tmp_path: Path) -> None:
    folder = make_bare(tmp_path / "m", extra_rows=8)
    add_tokens(folder, "[PAD]")
    assert pad_of(folder) == "[PAD]"


def test_a_template_that_needs_a_token_without_a_row_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    add_tokens(folder, "<|turn|>")
    edit_tokenizer(folder, lambda t: setattr(t, "chat_template", f"<|turn|>{t.chat_template}"))
    with pytest.raises(ValueError, match=r"no row for, first '<\|turn\|>' \(340; .* 0 to 339"):
        load_tokenizer(find_origin(str(folder)))


def test_the_tokenizer_of_a_larger_model_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    folder, other = variant(tiny_model, tmp_path / "m"), make_tiny(tmp_path / "o", vocabulary=320)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ValueError, match="take the tokenizer that belongs to the model"):
        load_tokenizer(find_origin(str(folder)))


@pytest.mark.parametrize("yields", [True, False])
def test_unk_pads_only_where_no_text_yields_it(tmp_path: Path, yields: bool) -> None:
    """A vocabulary of words reads what it lacks as unk; one of bytes never does."""
    folder = make_bare(tmp_path / "m", "<unk>", unk_token="<unk>")
    if yields:
        model = {"type": "WordLevel", "unk_token": "<unk>"}
        words = {"<|begin_of_text|>": 0, "<|eot_id|>": 1, HEADER: 2, "<unk>": 3, "x": 4, "y": 5}
        edit_json(
            folder / "tokenizer.json",
            {"model": model | {"vocab": words}, "pre_tokenizer": {"type": "Whitespace"}},
        )
        with pytest.raises(ValueError, match="no token to pad with"):
            load_tokenizer(find_origin(str(folder)))
    else:
        assert pad_of(folder) == "<unk>"


def test_the_pad_a_model_was_released_with_stays(tmp_path: Path, tiny_model: Path) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "generation_config.json", {"eos_token_id": [2, 0]})
    edit_tokenizer(folder, lambda t: setattr(t, "pad_token", "<|endoftext|>"))
    assert pad_of(folder) == "<|endoftext|>"


def test_the_pad_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    """Whatever strips padding leaves a rendered text as it is."""
    folder = make_bare(tmp_path / "m", "<|reserved_special_token_0|>")
    tokenizer = load_tokenizer(find_origin(str(folder)))
    text = render(tokenizer, make_prompt("Why?"), "So.", finished=True)
    assert text.ids[0] == tokenizer.bos_token_id
    assert tokenizer.pad_token_id not in text.ids


def test_sampling_with_the_chosen_pad_equals_sampling_without_padding(tmp_path: Path) -> None:
    folder = make_bare(tmp_path / "m", "<|reserved_special_token_0|>")
    origin = find_origin(str(folder))
    model, tokenizer = load_model(origin, torch.float32), load_tokenizer(origin)
    config = GenerationConfig(
        do_sample=False, max_new_tokens=6, eos_token_id=1, pad_token_id=tokenizer.pad_token_id
    )
    texts = ("A good question?", "Why?", "Where are the tulips planted at dusk?")
    prompts = [render_prompt(tokenizer, make_prompt(text)) for text in texts]
    together = generate_shared(model, prompts, config)
    assert together == [generate_shared(model, [prompt], config)[0] for prompt in prompts]
