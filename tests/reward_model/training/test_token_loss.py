"""The language-model loss on better completions: right by hand, and gone from what is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from reward_model import train as reward_train
from reward_model.config import RewardSettings
from reward_model.dataset.examples import collect
from reward_model.evaluation.cross_validation import Model
from reward_model.language_model.classifier import completion_states, with_head
from reward_model.language_model.render import Rendered
from reward_model.language_model.views import View
from reward_model.scoring.kept_answers import PROBES, kept_probes, reproduce
from reward_model.scoring.scorer import Scorer
from reward_model.training.token_loss import last_states, output_layer, times_better, token_loss
from tests.support.tiny import make_tiny
from tests.support.training import SMALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


def test_it_is_the_causal_models_own_loss_on_the_completion(folder) -> None:
    causal = AutoModelForCausalLM.from_pretrained(folder)
    texts = [
        Rendered([5, 6, 7], [8, 9, 10, 11]),
        Rendered([5, 6, 7], [12, 13], behind=1),
        Rendered([9], [14, 15, 16]),
        Rendered([9], []),
    ]
    wanted = []
    for text in texts:
        logp = causal(input_ids=torch.tensor([text.ids])).logits[0].detach().log_softmax(-1)
        start, learned = len(text.prompt), len(text.completion) - text.behind
        steps = [-logp[start + i - 1, text.completion[i]] for i in range(learned)]
        wanted.append(float(torch.stack(steps).mean()) if steps else 0.0)
    output = output_layer(causal)
    view = View((1,), mean=True)
    network = with_head(causal, 2, view, whole=True)
    with last_states(network) as passes:
        completion_states(network, texts, 2, view)
    assert token_loss(output, passes, texts, 2).tolist() == pytest.approx(wanted, abs=1e-5)
    with last_states(network) as passes:
        completion_states(network, texts[3:], 2, view)
    assert token_loss(output, passes, texts[3:], 2).tolist() == [0.0]


def test_a_layer_read_in_the_whole_body_is_that_of_the_cut_one(folder) -> None:
    texts, view = [Rendered([5, 6, 7], [8, 9]), Rendered([5], [4, 4, 4])], View((1,), mean=True)
    whole, short = (
        with_head(AutoModelForCausalLM.from_pretrained(folder), 2, view, whole=keep)
        for keep in (True, False)
    )
    assert len(whole.base_model.layers) == 2 and len(short.base_model.layers) == 1
    assert torch.allclose(
        completion_states(whole, texts, 2, view), completion_states(short, texts, 2, view)
    )


def test_a_model_that_bends_its_logits_is_refused(folder) -> None:
    causal = AutoModelForCausalLM.from_pretrained(folder)
    causal.lm_head.register_forward_hook(lambda module, given, out: None)
    assert output_layer(causal) is causal.lm_head
    forward = causal.forward

    def bent(*args, **options):
        out = forward(*args, **options)
        out.logits = torch.tanh(out.logits)
        return out

    causal.forward = bent
    with pytest.raises(ValueError, match="use --lm-weight 0"):
        output_layer(causal)


def test_better_is_what_won_or_was_called_good() -> None:
    a, b, c = (Completion(make_prompt("Why?"), text) for text in "abc")
    said = [
        (Task("pairwise", a, b), "a"), (Task("pairwise", a, c), "b"),
        (Task("pairwise", b, c), "tie"),
        (Task("binary", a), "good"), (Task("binary", b), "bad"), (Task("scalar", c), "9"),
    ]  # fmt: skip
    examples = collect(
        [Judgement(i, task, "ann", Answer(v), "a", "") for i, (task, v) in enumerate(said)]
    )
    assert times_better(Model().joint(examples)).tolist() == [2, 0, 1]
    assert times_better(Model("bradley_terry").joint(examples)).tolist() == [1, 0, 1]
    assert times_better(Model("regression").joint(examples)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("tuning", "dtype"),
    [("lora", torch.bfloat16), ("full", torch.float32), ("full", torch.bfloat16)],
)
def test_what_is_saved_with_it_scores_as_what_was_trained(
    trained, one_view, tuning, dtype, monkeypatch
) -> None:
    monkeypatch.setattr("reward_model.training.reading.choose_dtype", lambda: (dtype, str(dtype)))
    monkeypatch.setattr(
        reward_train, "better_on_held_out", lambda inputs, heads, t: (inputs, t, {})
    )
    settings = RewardSettings(
        policy=trained.ids["sft"], tuning=tuning, lora=SMALL, learning_rate=1e-3, lm_weight=0.5,
        max_tokens=300,
    )  # fmt: skip
    name = f"with lm {tuning} {dtype}"
    trained.run("reward", reward_train.train, settings, name=name)
    losses = [row["lm_loss"] for row in trained.metrics(name) if "lm_loss" in row]
    assert losses and losses[-1] < losses[0]
    scorer = Scorer.load(trained.folder(name), torch.float32)
    assert scorer.model.config.num_hidden_layers == 1
    again = reproduce(trained.folder(name), scorer)
    assert again is not None and again.same
    probes = kept_probes(trained.folder(name))[0]
    kept = json.loads((trained.folder(name) / PROBES).read_text())["probes"]
    found = scorer.raw_of(probes)
    assert np.allclose(found, [row["raw"] for row in kept], atol=0.05)  # bfloat16 may have trained
