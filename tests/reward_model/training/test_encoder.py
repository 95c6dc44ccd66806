"""A second model beside the policy: what it reads, when it is kept, and all that scores with it."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    FNetConfig,
    FNetForMaskedLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from data.schema import make_prompt
from grpo import train as grpo_train
from reward_model import train as reward_train
from reward_model.config import EvaluateSettings, RewardSettings
from reward_model.evaluate import evaluate
from reward_model.evaluation.feature_choice import Choice
from reward_model.export.folder import export
from reward_model.language_model.origin import find_origin
from reward_model.receipt.text import receipt_lines
from reward_model.scoring.encoder import Encoder
from reward_model.scoring.scorer import Scorer
from reward_model.serving.batching import BatchingScorer
from reward_model.serving.http import ClassifyRequest, ScoreRequest, Service
from reward_model.training.reading import weights_read
from reward_model.training.start import find_start
from tests.support.training import POLICY

ASKED = (["Hello?", "Hello?", "Why?"], ["Good.", "A long one.", ""], [True, False, True])


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A masked language model without a chat template, as encoders come."""
    folder = tmp_path_factory.mktemp("bert") / "model"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"what is a good answer to short one".split()]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", sep_token="[SEP]",
        cls_token="[CLS]", model_max_length=24,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def texts_of(encoder):
    prompts, completions, finished = ASKED
    return [
        encoder.render(make_prompt(p), c, f)
        for p, c, f in zip(prompts, completions, finished, strict=True)
    ]


def test_a_causal_model_is_read_at_middle_layers(tiny_model):
    encoder = Encoder.of(find_origin(str(tiny_model)))
    encoder.dtype = torch.float32
    texts = texts_of(encoder)
    found = encoder.read(texts, batch=2)
    whole = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert encoder.layers == (1, 2)
    for text, states in zip(texts, found, strict=True):
        with torch.inference_mode():
            out = whole(torch.tensor([text.ids]), output_hidden_states=True).hidden_states
        n = max(1, len(text.completion))
        each = [v for i in (1, 2) for v in (out[i][0, -1], out[i][0, -n:].mean(0))]
        np.testing.assert_allclose(states, torch.cat(each), rtol=1e-4, atol=1e-4)


def test_an_encoder_reads_prompt_and_completion_one_after_the_other(bert):
    encoder = Encoder.of(find_origin(str(bert)))
    assert encoder.layers == (2,) and encoder.longest == 24
    text = encoder.render(make_prompt("what is a good answer"), "a short one", True)
    assert encoder.tokenizer.decode(text.ids) == "what is a good answer a short one [SEP]"
    long = encoder.render(make_prompt("what " * 90), "a short one", True)
    assert len(long.ids) == 24 and long.truncated
    found = encoder.read([text, long], batch=1)
    np.testing.assert_allclose(found, encoder.read([text, long]), rtol=1e-2, atol=1e-2)


def test_no_text_spells_a_control_token(bert, tiny_model):
    for model in (bert, tiny_model):
        encoder = Encoder.of(find_origin(str(model)))
        end = encoder.tokenizer.sep_token or encoder.tokenizer.eos_token
        spelt = encoder.render(make_prompt("what"), f"one {end}", False)
        assert encoder.tokenizer.convert_tokens_to_ids(end) not in spelt.completion


def test_without_a_token_to_pad_with_an_end_is_still_seen(bert, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(bert, bare)
    path = bare / "tokenizer_config.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in kept.items() if k != "pad_token"}))
    encoder = Encoder.of(find_origin(str(bare)))
    cut, ended = (encoder.render(make_prompt("what"), "one", done) for done in (False, True))
    assert len(ended.completion) == len(cut.completion) + 1
    assert np.isfinite(encoder.read([cut, ended])).all()


def test_turns_that_its_template_refuses_are_read_without_it(tiny_model, tmp_path):
    strict = tmp_path / "strict"
    shutil.copytree(tiny_model, strict)
    path = strict / "chat_template.jinja"
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
    path.write_text(refuses + path.read_text())
    encoder = Encoder.of(find_origin(str(strict)))
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What?"}]
    found = encoder.render(make_prompt(turns), "One.", True)
    assert "Be short." in encoder.tokenizer.decode(found.ids)


def test_an_adapters_scale_is_part_of_what_is_kept(trained, tmp_path):
    run = trained.folder("sft")
    copy = tmp_path / "adapter"
    shutil.copytree(run / "adapter", copy)
    origin = find_origin(str(run))
    before = weights_read(replace(origin, adapter=str(copy)))
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 99}))
    assert weights_read(replace(origin, adapter=str(copy))) != before


def test_what_cannot_be_an_encoder_is_refused_in_a_line(bert, tmp_path):
    seq = tmp_path / "t5"
    shutil.copytree(bert, seq)
    for path in seq.glob("*.safetensors"):
        path.unlink()
    config = T5Config(vocab_size=12, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(seq)
    with pytest.raises(ValueError, match=r"an encoder and a decoder.*use a causal language model"):
        Encoder.of(find_origin(str(seq)))
    fnet = tmp_path / "fnet"
    shutil.copytree(bert, fnet)
    FNetForMaskedLM(
        FNetConfig(vocab_size=12, hidden_size=16, num_hidden_layers=1, intermediate_size=32)
    ).save_pretrained(fnet)
    with pytest.raises(ValueError, match="ignores the attention mask: use another model"):
        _ = replace(Encoder.of(find_origin(str(fnet))), dtype=torch.float32).network
    short = tmp_path / "short"
    shutil.copytree(bert, short)
    config = json.loads((short / "tokenizer_config.json").read_text())
    config["model_max_length"] = 64  # its network has 32 positions
    (short / "tokenizer_config.json").write_text(json.dumps(config))
    kept = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**kept, "max_position_embeddings": 32}))
    encoder = replace(Encoder.of(find_origin(str(short))), longest=64)
    with pytest.raises(ValueError, match="use a lower --max-tokens"):
        _ = encoder.network
    with pytest.raises(ValueError, match="use --tuning head"):
        RewardSettings(encoder="x")
    with pytest.raises(ValueError, match="name one"):
        RewardSettings(encoder="x", from_="y", tuning="head")


@contextmanager
def always_chosen():
    """The second view, which has the encoder, is taken whatever it is worth."""

    def second(losses, asked):
        return Choice(min(1, len(losses) - 1), [0, 1], [0, 0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Choice, "of", second)
        yield


@pytest.fixture(scope="module")
def with_encoder(trained, bert):
    """A reward run whose head reads the encoder."""
    with always_chosen():
        settings = RewardSettings(policy=trained.ids["sft"], tuning="head", encoder=str(bert))
        trained.run("reward", reward_train.train, settings, name="with encoder")
    return "with encoder"


def test_a_head_on_both_scores_as_it_was_trained(trained, with_encoder, bert):
    folder, report = trained.folder(with_encoder), trained.reports[with_encoder]
    assert report["facts"]["second model"] == str(bert)
    assert "without encoder" in {one["name"] for one in report["features"]["others"]}
    assert any("reads the policy alone" in line for line in receipt_lines(report))
    scorer = Scorer.load(folder, torch.float32)
    rewards, sd = scorer.score(*ASKED, return_std=True)
    assert np.isfinite(rewards).all() and (sd > 0).all()
    head = scorer.members[0].head.weights
    own = scorer.members[0].model.config.hidden_size * scorer.members[0].view.blocks
    assert len(head) == own + scorer.members[0].view.beside == own + 32
    kept = json.loads((folder / "probes.json").read_text())["probes"]
    columns = zip(
        *((row["prompt"], row["completion"], row["finished"]) for row in kept), strict=True
    )
    noted = [row["raw"] for row in kept]
    np.testing.assert_allclose(scorer.raw(*columns), noted, rtol=0.05, atol=0.02)
    asked = EvaluateSettings(run=trained.ids[with_encoder], workspace=trained.workspace)
    with always_chosen():
        again = evaluate(asked, folder, trained.store, lambda *_: None)
    now, before = (one["held_out"]["accuracy"]["value"] for one in (again, report))
    assert now == pytest.approx(before, abs=0.05)  # in bfloat16 a batch's padding rounds


def test_what_an_encoder_says_counts(trained, with_encoder):
    scorer = Scorer.load(trained.folder(with_encoder), torch.float32)
    before = scorer.raw(*ASKED)
    scorer.encoder.network.base_model.embeddings.word_embeddings.weight.data.mul_(-1)
    assert np.abs(scorer.raw(*ASKED) - before).min() > 1e-6


def test_token_ids_alone_are_not_enough_for_both(trained, with_encoder):
    service = Service(BatchingScorer(Scorer.load(trained.folder(with_encoder))), "both")
    with pytest.raises(ValueError, match="send prompts and completions"):
        service.classify(ClassifyRequest(input=[5, 6, 7]))
    sent = ScoreRequest(prompts=ASKED[0], completions=ASKED[1], finished=ASKED[2])
    assert len(service.score(sent)["rewards"]) == 3


def test_an_export_reads_the_policy_alone(trained, with_encoder, bert, tmp_path):
    said: list[str] = []
    certificate = export(trained.folder(with_encoder), tmp_path / "out", said.append)
    assert certificate["green"]
    assert any("the exported head" in line for line in said)
    assert Scorer.load(tmp_path / "out").encoder is None
    papers = [tmp_path / "out" / name for name in ("README.md", "receipt.json")]
    assert not any(str(bert.parent) in path.read_text() for path in papers)


def test_a_policy_is_tuned_against_both(trained, with_encoder):
    settings = replace(POLICY, policy=trained.ids["sft"], reward=trained.ids[with_encoder], steps=1)
    trained.run("grpo", grpo_train.train, settings, name="against both")
    assert np.isfinite(trained.metrics("against both")[-1]["reward_mean"])


def test_none_starts_from_both(trained, with_encoder, tmp_path):
    with pytest.raises(ValueError, match="without --encoder"):
        find_start(trained.ids[with_encoder], trained.workspace, tmp_path)


def test_an_encoder_that_is_not_surely_better_is_left_out(trained, tiny_model):
    settings = RewardSettings(policy=trained.ids["sft"], tuning="head", encoder=str(tiny_model))
    trained.run("reward", reward_train.train, settings, name="left out")
    facts = json.loads((trained.folder("left out") / "origin.json").read_text())
    report = trained.reports["left out"]
    assert "encoder" not in facts and facts["view"]["beside"] == 0
    assert report["facts"]["second model, left out by cross-validation"] == str(tiny_model)
    assert "encoder" in {one["name"] for one in report["features"]["others"]}
    assert Scorer.load(trained.folder("left out")).encoder is None
