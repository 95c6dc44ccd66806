"""One renderer: what a reward model is trained on is what it is asked about, on every path."""

from __future__ import annotations

import pytest

from data.schema import Completion, make_prompt
from grpo.config import SamplingSettings
from grpo.sampling.local import draw
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import fingerprint, render, render_prompt
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer
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
    assert whole.completion == [*cut.completion, tokenizer.eos_token_id]
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
    assert render(tokenizer, PROMPT, "", finished=True).completion == [tokenizer.eos_token_id]
    assert render(tokenizer, PROMPT, "", finished=False).completion == []


def test_padding_spelt_at_the_end_is_not_read(tokenizer):
    """Whatever loads a classifier reads it at the last token that is no padding."""
    spelt = render(tokenizer, PROMPT, "A short one.<|endoftext|><|endoftext|>", finished=False)
    assert spelt == render(tokenizer, PROMPT, "A short one.", finished=False)
    ended = render(tokenizer, PROMPT, "A short one.<|endoftext|>", finished=True)
    assert ended.completion[-2:] == [tokenizer.pad_token_id, tokenizer.eos_token_id]
    room = len(spelt.ids) + 2
    cut = render(tokenizer, PROMPT, "A short one.<|endoftext|>" + " more" * 99, True, room)
    assert cut.completion[-1] != tokenizer.pad_token_id


def test_every_path_gives_the_same_ids(tokenizer, tiny_model, reward_folder):
    """Training, the Scorer, and the reward function of GRPO read the same token ids."""
    scorer = Scorer.load(reward_folder)
    drawn = draw(
        load_model(find_origin(str(tiny_model))),
        tokenizer,
        [PROMPT] * 4,
        SamplingSettings(max_new_tokens=6),
    )
    for completion in [*drawn, Completion(PROMPT, "A short one.", True)]:
        trained = render(tokenizer, PROMPT, completion.text, completion.finished)
        assert scorer.render(PROMPT, completion.text, completion.finished).ids == trained.ids
        seen = []
        reward = GrpoReward(_spy(scorer, seen), [tokenizer.eos_token_id], clip=5.0)
        ids = [*trained.completion] or [0]
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

    def score_groups(self, prompts, completions, finished, size):
        for p, c, f in zip(prompts, completions, finished, strict=True):
            self.seen.append(self.scorer.render(p, c, f).ids)
        return self.scorer.score_groups(prompts, completions, finished, size)
