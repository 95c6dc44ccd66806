"""How many tokens a model reads, and which prompts leave room for an answer."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import (
    BloomConfig,
    Gemma3Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from data.schema import Prompt, make_prompt
from reward_model.chat.chat_format import PromptRefused
from reward_model.model_checks.context import (
    context_length,
    prompts_taken,
    prompts_that_fit,
    require_known,
    require_length,
)


def rope(kind: str, **more: Any) -> LlamaConfig:
    return LlamaConfig(
        max_position_embeddings=512, rope_scaling={"rope_type": kind, "rope_theta": 1e4, **more}
    )


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (LlamaConfig(max_position_embeddings=512), 512),
        (GPT2Config(n_positions=128), 128),
        (MistralConfig(max_position_embeddings=512, sliding_window=64), 512),
        (Gemma3Config(text_config={"max_position_embeddings": 4096, "sliding_window": 8}), 4096),
        (rope("yarn", factor=4.0, original_max_position_embeddings=512), 2048),
        (rope("yarn", factor=4.0, original_max_position_embeddings=128), 512),
        (rope("dynamic", factor=2.0), 1024),
        (rope("linear", factor=2.0), 512),
        (
            rope(
                "llama3", factor=32.0, original_max_position_embeddings=128,
                low_freq_factor=1.0, high_freq_factor=4.0,
            ),
            512,
        ),
    ],
)  # fmt: skip
def test_the_length_that_a_configuration_states(config: Any, length: int) -> None:
    assert context_length(config) == length


@pytest.mark.parametrize(("stated", "length"), [(2048, 2048), (int(1e30), None), (1e30, None)])
def test_the_tokenizers_limit_counts_where_the_model_states_none(
    tiny_tokenizer: PreTrainedTokenizerFast, stated: float, length: int | None
) -> None:
    tiny_tokenizer.model_max_length = stated
    config = BloomConfig()
    assert context_length(config, tiny_tokenizer) == length
    assert context_length(LlamaConfig(max_position_embeddings=512), tiny_tokenizer) == 512


def test_prompts_without_room_for_an_answer_are_left_out_and_counted() -> None:
    prompts = [make_prompt("x" * n) for n in (10, 40, 41, 99)]
    found = prompts_that_fit(prompts, lambda p: [0] * len(p.text), 50, 10, "m")
    assert [len(p.text) for p in found.prompts] == [10, 40]
    assert found.counted == {"prompts longer than 40 tokens (m reads 50, less 10 of an answer)": 2}
    assert "2 prompts longer than 40 tokens" in found.sentence
    every = prompts_that_fit(prompts, lambda p: [0] * 10**6, None, 10, "m")
    assert (every.prompts, every.counted, every.sentence) == (prompts, {}, "")


def test_prompts_that_the_template_refuses_are_left_out_and_counted() -> None:
    """Whatever their length; where it takes none, what it says of the first."""
    prompts = [make_prompt("x" * n) for n in (10, 40, 41, 99)]

    def tokens_of(prompt: Prompt) -> list[int]:
        if len(prompt.text) in (10, 99):
            raise PromptRefused([m.as_dict() for m in prompt.messages], ValueError("No."))
        return [0] * len(prompt.text)

    found = prompts_that_fit(prompts, tokens_of, 50, 10, "m")
    assert [len(p.text) for p in found.prompts] == [40]
    assert found.sentence == (
        "Left out: 1 prompts longer than 40 tokens (m reads 50, less 10 of an answer);"
        " 2 prompts that m's chat template refuses (user: No.)."
    )
    assert prompts_taken(prompts * 2, tokens_of, "m").ids == {p.id for p in prompts[1:3]}
    with pytest.raises(PromptRefused, match=r"refuses the prompt 'xxxxxxxxxx' .*\(No\.\)"):
        prompts_taken(prompts[:1], tokens_of, "m")
    assert prompts_that_fit(prompts[:1], tokens_of, 50, 10, "m", or_none=True).prompts == []


def test_where_no_prompt_fits_the_remedy_is_said() -> None:
    prompts = [make_prompt("Why?")]
    with pytest.raises(ValueError, match=r"all 1 are prompts longer than 40 .*max-new-tokens"):
        prompts_that_fit(prompts, lambda p: [0] * 41, 50, 10, "m")
    with pytest.raises(ValueError, match=r"max new tokens 50 not allowed: m reads at most 50"):
        prompts_that_fit(prompts, lambda p: [0], 50, 50, "m")


def test_texts_longer_than_the_model_reads_are_refused() -> None:
    require_length(512, 512, "m")
    require_length(512, None, "m")
    with pytest.raises(ValueError, match="max tokens 513 not allowed: m reads at most 512"):
        require_length(513, 512, "m")


def test_a_token_without_a_row_is_named(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    require_known([[0, 339], []], 340, tiny_tokenizer)
    with pytest.raises(ValueError, match=r"'<\|im_end\|>' \(token 2\), and .* 0 to 1 only"):
        require_known([[0], [1, 2]], 2, tiny_tokenizer)
