"""One renderer: what a reward model is trained on is what it is asked about, on every path."""

from __future__ import annotations

import pytest

from data.schema import Completion, make_prompt
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.generation import completion_from, draw, end_tokens
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import fingerprint, render, render_prompt
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer
from tests.reward_model.chat.families import FAMILIES, make_family, make_tokenizer
from tests.support.tiny import make_tiny

PROMPT = make_prompt("What is a good answer?")


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(find_origin(str(tiny_model)))


def test_pad_is_not_end_of_turn(tokenizer):
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_end_of_turn_only_where_the_completion_ended(tokenizer):
    whole = render(tokenizer, PROMPT, "A short one.", finished=True)
    cut = render(tokenizer, PROMPT, "A short one.", finished=False)
    (line_break,) = tokenizer("\n")["input_ids"]  # the template writes it behind the end
    assert whole.completion == [*cut.completion, tokenizer.eos_token_id, line_break]
    assert (whole.behind, cut.behind) == (1, 0)
    assert whole.prompt == cut.prompt == render_prompt(tokenizer, PROMPT)


def test_the_template_decides_the_prompt(tokenizer):
    text = tokenizer.decode(render_prompt(tokenizer, PROMPT))
    assert text == "<|im_start|>user\nWhat is a good answer?<|im_end|>\n<|im_start|>assistant\n"


def test_long_texts_keep_the_completion_and_lose_the_prompts_beginning(tokenizer):
    full = render(tokenizer, PROMPT, "A short one.", finished=True)
    limit = len(full.completion) + 3
    cut = render(tokenizer, PROMPT, "A short one.", finished=True, max_tokens=limit)
    assert cut.truncated and not full.truncated
    assert cut.completion == full.completion
    assert cut.prompt == full.prompt[-3:]
    assert len(cut.ids) == limit


def test_a_completion_longer_than_the_limit_loses_its_end(tokenizer):
    cut = render(tokenizer, PROMPT, "friendly " * 50, finished=True, max_tokens=10)
    assert len(cut.ids) == 10 and tokenizer.eos_token_id not in cut.completion


def test_an_empty_completion_is_only_its_end_of_turn(tokenizer):
    ended = render(tokenizer, PROMPT, "", finished=True).completion
    assert tokenizer.decode(ended) == "<|im_end|>\n"
    assert render(tokenizer, PROMPT, "", finished=False).completion == []


def test_control_tokens_spelt_in_a_text_are_text(tokenizer):
    """No answer ends in its middle, and padding that is spelt out is read as any text."""
    said = "It ends a turn: <|im_end|> closes what <|im_start|> opened.<|endoftext|>"
    spelt = render(tokenizer, PROMPT, said, finished=True)
    specials = [i for i in spelt.completion if i in tokenizer.all_special_ids]
    assert specials == [tokenizer.eos_token_id]
    assert tokenizer.decode(spelt.completion) == said + "<|im_end|>\n"
    cut = render(tokenizer, PROMPT, said, finished=False)
    assert tokenizer.decode(cut.completion) == said


def test_a_model_trained_earlier_reads_as_it_was_trained(tokenizer):
    """Prompt and completion apart, the tokenizer's end behind, control tokens as they are."""
    said = "\n\nA short one. <|im_end|>"
    ids = tokenizer(said, add_special_tokens=False)["input_ids"]
    start = render_prompt(tokenizer, PROMPT)
    for finished in (True, False):
        text = render(tokenizer, PROMPT, said, finished, apart=True)
        assert text.prompt == start
        assert text.completion == ids + [tokenizer.eos_token_id] * finished
    padded = render(tokenizer, PROMPT, "So.<|endoftext|>", False, apart=True)
    assert padded == render(tokenizer, PROMPT, "So.", False, apart=True)


def test_sampled_tokens_become_text_without_their_control_tokens(tokenizer):
    """Text that looks like a control token stays; marks of thinking stay too."""
    spelt = render(tokenizer, PROMPT, "I write <|im_end|> here", finished=False).completion
    end, start = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    sampled = completion_from(tokenizer, PROMPT, [start, *spelt, end], [end])
    assert sampled == Completion(PROMPT, "I write <|im_end|> here", True)
    assert not completion_from(tokenizer, PROMPT, spelt, [end]).finished
    thinking = make_tokenizer(FAMILIES["chatml"])
    thinking.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = thinking("<think>hm</think>So.<|im_end|>", add_special_tokens=False)["input_ids"]
    ends = chat_format(thinking).ends([])
    assert completion_from(thinking, PROMPT, ids, ends).written == "<think>hm</think>So."


def test_a_turns_end_that_is_not_flagged_special_ends_a_sample_and_is_no_text(tmp_path):
    """Gemma's make: the tokenizer's end of sequence is another token."""
    origin = find_origin(str(make_family(tmp_path / "gemma", "gemma")))
    gemma, model = load_tokenizer(origin), load_model(origin)
    ends = end_tokens(model, gemma)
    assert set(gemma.convert_ids_to_tokens(ends)) == {"<end_of_turn>", "<eos>"}
    ids = gemma("Blue.<end_of_turn>", add_special_tokens=False)["input_ids"]
    assert completion_from(gemma, PROMPT, ids, ends) == Completion(PROMPT, "Blue.", True)


def test_every_path_gives_the_same_ids(tokenizer, tiny_model, reward_folder):
    """Training, the Scorer, and the reward function of GRPO read the same token ids."""
    scorer = Scorer.load(reward_folder)
    drawn = draw(load_model(find_origin(str(tiny_model))), tokenizer, [PROMPT] * 4, 6)
    for completion in [*drawn, Completion(PROMPT, "A short one.", True)]:
        trained = render(tokenizer, PROMPT, completion.text, completion.finished)
        assert scorer.render(PROMPT, completion.text, completion.finished).ids == trained.ids
        seen = []
        reward = GrpoReward(_spy(scorer, seen), [tokenizer.eos_token_id], clip=5.0)
        sampled = trained.completion[: len(trained.completion) - trained.behind]
        ids = sampled or [0]
        reward(
            prompts=[[m.as_dict() for m in PROMPT.messages]],
            completions=[[{"role": "assistant", "content": completion.text}]],
            completion_ids=[ids],
        )
        assert seen == [trained.ids]


def test_fingerprint_tells_tokenizers_and_templates_apart(tokenizer, tmp_path):
    other = load_tokenizer(find_origin(str(make_tiny(tmp_path / "other", vocabulary=320))))
    assert fingerprint(other) != fingerprint(tokenizer)
    before = fingerprint(tokenizer)
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = template + " "
        assert fingerprint(tokenizer) != before
    finally:
        tokenizer.chat_template = template


class _spy:
    """A scorer that notes the ids it is asked about."""

    def __init__(self, scorer: Scorer, seen: list[list[int]]) -> None:
        self.scorer, self.seen = scorer, seen

    def __getattr__(self, name):
        return getattr(self.scorer, name)

    def score_groups(self, prompts, completions, finished, size):
        for p, c, f in zip(prompts, completions, finished, strict=True):
            self.seen.append(self.scorer.render(p, c, f).ids)
        return self.scorer.score_groups(prompts, completions, finished, size)
