"""The parity certificate: green on what is right, red on every way of getting it wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from reward_model.export import parity_routes
from reward_model.export.folder import export
from reward_model.export.parity import certificate_line, certify, plans, require_green, tolerance
from reward_model.export.probes import hard_probes
from reward_model.language_model.views import View
from reward_model.scoring.kept_answers import keep_probes, kept_probes
from reward_model.scoring.scorer import Scorer
from tests.reward_model.chat.families import make_family
from tests.support.handmade import JUDGED, MAX_TOKENS, make_reward

ROUTES = {
    "trainer", "scorer", "grpo", "trained", "reloaded",
    "apply_chat_template", "pipeline",
    "/score", "/classify, token ids", "/classify, text", "/classify, messages", "/get_reward",
}  # fmt: skip
SOME = {"trained", "apply_chat_template", "pipeline", "/classify, text", "/get_reward"}
"""Routes that cannot express every probe."""


def test_every_route_gives_the_trained_reward(exported):
    certificate = json.loads((exported / "certificate.json").read_text())
    assert certificate["green"] and certificate["within_1e-5"]
    assert {check["road"] for check in certificate["roads"]} == ROUTES
    probes, bound = certificate["probes"], certificate["tolerance"]
    assert probes["judged"] == len(JUDGED) and probes["hard"] >= 12 and probes["cut_to_fit"] >= 2
    assert bound == tolerance(certificate["reward_sd"], certificate["own_rounding"]) < 1e-4
    for check in certificate["roads"]:
        if check["road"] in SOME:
            assert check["n"] >= len(JUDGED) and check["n"] < 3 * probes["n"]
        else:
            assert check["n"] == 3 * probes["n"]
        assert check["max_difference"] < bound and check["passed"]
        in_units = check["max_difference"] / certificate["reward_sd"]
        assert check["max_difference_in_reward_units"] == pytest.approx(in_units)
    assert certificate["dtype"] == "float32" and certificate["device"] in ("cpu", "cuda")
    assert "12 routes give the trained rewards" in certificate_line(certificate)
    require_green(certificate)


def test_it_says_what_it_was_made_of(exported, run):
    certificate = json.loads((exported / "certificate.json").read_text())
    facts = json.loads((run / "origin.json").read_text())
    assert certificate["tokenizer"] == facts["tokenizer"]
    assert list(certificate["weights"]) == ["model.safetensors"]
    assert all(len(h) == 64 for h in [*certificate["weights"].values(), certificate["template"]])
    assert certificate["versions"].keys() == {"torch", "transformers", "peft"}
    text = json.dumps(certificate)
    assert not any(c.text and c.text in text for c in JUDGED), "judged texts are private"


@pytest.mark.parametrize(
    ("tuning", "view"),
    [("head", None), ("full", View((1, 2), True)), ("lora", View((1,), True))],
)
def test_whatever_was_tuned_and_read_it_is_green(tuning, view, tiny_model, in_process, tmp_path):
    run = make_reward(tmp_path / "reward-1", tiny_model, tuning, view)
    certificate = export(run, tmp_path / "out", lambda outcome: None)
    assert certificate["within_1e-5"]
    assert {check["road"] for check in certificate["roads"]} == ROUTES


@pytest.mark.parametrize("name", ["gemma", "llama3", "mistral", "phi"])
def test_every_make_of_model_scores_as_trained_when_it_is_called_as_everybody_does(
    name, in_process, tmp_path
):
    """Turns end with another token than the tokenizer's; a text begins with a token of its own."""
    base = make_family(tmp_path / "model", name)
    out = tmp_path / "out"
    certificate = export(make_reward(tmp_path / "reward-1", base), out, lambda outcome: None)
    assert certificate["within_1e-5"]
    assert {check["road"] for check in certificate["roads"]} == ROUTES
    tokenizer = AutoTokenizer.from_pretrained(out)
    turns = [{"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue."}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text)["input_ids"]
    assert ids == tokenizer.apply_chat_template(turns, return_dict=False)
    assert ids == Scorer.load(out).render("Sky?", "Blue.", True).ids


def test_a_model_trained_earlier_is_certified_as_it_was_trained(
    run, exported, in_process, tmp_path
):
    """It reads no line break behind end-of-turn, so everybody's call is not certified for it."""
    earlier = shutil.copytree(run, tmp_path / "reward-0")
    facts = json.loads((run / "origin.json").read_text())
    del facts["reads"]
    (earlier / "origin.json").write_text(json.dumps(facts))
    (earlier / "probes.json").unlink()
    certificate = export(earlier, tmp_path / "out", lambda outcome: None)
    assert certificate["green"]
    roads = {check["road"] for check in certificate["roads"]}
    assert roads == ROUTES - {"trained", "apply_chat_template", "pipeline"}
    before, now = (Scorer.load(folder) for folder in (tmp_path / "out", exported))
    assert before.render("Why?", "So.", True).ids == now.render("Why?", "So.", True).ids[:-1]
    assert "trained before" in (tmp_path / "out" / "README.md").read_text()


# --- defects


def _pad_is_what_the_template_ends_with(run, out):
    line_break = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]["Ċ"]
    pads = {
        "config.json": ("pad_token_id", line_break),
        "tokenizer_config.json": ("pad_token", "Ċ"),
    }
    for name, (key, value) in pads.items():
        facts = json.loads((out / name).read_text())
        (out / name).write_text(json.dumps(facts | {key: value}))


def _end_of_turn_is_dropped(run, out):
    code = (out / "score.py").read_text()
    broken = code.replace("continue_final_message=not finished", "continue_final_message=True")
    assert broken != code
    (out / "score.py").write_text(broken)


def _end_of_turn_after_what_was_cut(run, out):
    code = (out / "score.py").read_text()
    broken = code.replace('row.get("finished", True)', "True")
    assert broken != code
    (out / "score.py").write_text(broken)


def _another_text_begins_twice(run, out):
    """What a tokenizer does that puts a token before every text, as Llama's."""
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    bos = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    texts = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "single": [bos, texts[0]], "pair": [bos, *texts],
        "special_tokens": {"<|im_start|>": {
            "id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]
        }},
    }  # fmt: skip
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))


def _weights_in_bfloat16(run, out):
    weights = load_file(out / "model.safetensors")
    cut = {name: w.bfloat16().float() for name, w in weights.items()}
    save_file(cut, out / "model.safetensors", {"format": "pt"})


def _adapter_left_out(run, out):
    """What a merge gives that forgets the adapter: one layer as it was before."""
    weights = load_file(out / "model.safetensors")
    plain = load_file(json.loads((run / "origin.json").read_text())["model"] + "/model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(weights[name], plain[name])
    weights[name] = plain[name]
    save_file(weights, out / "model.safetensors", {"format": "pt"})


def _template_changed(run, out):
    template = out / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant\n", "assistant "))


def _head_not_saved(run, out):
    """The trainer's live head is not the one in its folder."""
    kept = json.loads((run / "probes.json").read_text())
    for row in kept["probes"]:
        row["raw"] += 0.01
    (run / "probes.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("defect", "route"),
    [
        (_pad_is_what_the_template_ends_with, "reloaded"),
        (_end_of_turn_is_dropped, "reloaded"),
        (_end_of_turn_after_what_was_cut, "reloaded"),
        (_another_text_begins_twice, "pipeline"),
        (_weights_in_bfloat16, "apply_chat_template"),
        (_adapter_left_out, "/get_reward"),
        (_head_not_saved, "trained"),
    ],
)
def test_a_defect_turns_it_red(defect, route, run, exported, in_process, tmp_path):
    broken_run = shutil.copytree(run, tmp_path / "run")
    broken = shutil.copytree(exported, tmp_path / "out")
    defect(broken_run, broken)
    certificate = certify(broken_run, broken)
    assert not certificate["green"] and not certificate["within_1e-5"]
    passed = {check["road"]: check["passed"] for check in certificate["roads"]}
    assert not passed[route]
    assert passed["trainer"] and passed["scorer"] and passed["grpo"]
    with pytest.raises(ValueError, match=r"not the rewards that were trained.*nothing was written"):
        require_green(certificate)


def test_another_template_is_refused(run, exported, in_process, tmp_path):
    broken = shutil.copytree(exported, tmp_path / "out")
    _template_changed(run, broken)
    with pytest.raises(ValueError, match="another tokenizer or chat template"):
        certify(run, broken)


# --- the parts


def test_a_network_that_disagrees_with_itself_across_batches_is_red(
    run, exported, in_process, monkeypatch
):
    """The allowance for rounding is measured text by text: it hides no fault of batching."""
    right = parity_routes.trainer

    def leaky(*given):
        route = right(*given)
        return lambda completions: route(completions) + 1e-3 * (len(completions) - 1)

    monkeypatch.setattr(parity_routes, "trainer", leaky)
    certificate = certify(run, exported)
    passed = {check["road"]: check["passed"] for check in certificate["roads"]}
    assert not passed["trainer"] and passed["scorer"]


def test_the_tolerance_is_in_reward_units_unless_they_magnify_rounding():
    assert tolerance(0.01) == tolerance(1.0) == 1e-5
    assert tolerance(3.0) == pytest.approx(3e-5)
    assert tolerance(1.0, rounding=1e-6) == 1e-5
    assert tolerance(1.0, rounding=1e-5) == pytest.approx(4e-5)
    assert tolerance(1.0, rounding=1.0) == pytest.approx(1e-3)


def test_plans_take_every_probe_once_in_each_way():
    one, three, mixed = plans(35)
    assert {len(b) for b in one} == {1} and {len(b) for b in three} == {2, 3}
    assert [len(b) for b in mixed] == [16, 16, 3]
    for plan in (one, three, mixed):
        assert sorted(i for batch in plan for i in batch) == list(range(35))
    assert [i for batch in mixed for i in batch] != list(range(35))


def test_hard_probes_hold_what_is_easily_got_wrong(run):
    scorer = Scorer.load(run, torch.float32)
    tokenizer = scorer.tokenizer
    probes = hard_probes(tokenizer, MAX_TOKENS)
    texts = [scorer.render(p.prompt, p.text, p.finished) for p in probes]
    assert any(not t.completion for t in texts)
    ended = tokenizer("<|im_end|>\n", add_special_tokens=False)["input_ids"]
    assert any(t.completion == ended for t in texts)
    assert sum(t.truncated for t in texts) == 2
    assert {m.role for p in probes for m in p.prompt.messages} == {"system", "user", "assistant"}
    spelt = next(p for p in probes if "stand in this text" in p.text)
    assert tokenizer.eos_token in spelt.text and tokenizer.pad_token in spelt.text


def test_what_the_trainer_gave_is_kept_with_its_precision(tmp_path):
    many = JUDGED * 5
    keep_probes(tmp_path, many, np.arange(30.0), torch.bfloat16)
    completions, raw, dtype = kept_probes(tmp_path)
    assert dtype == "bfloat16" and len(completions) == len(raw) == 12
    assert raw[0] == 0 and raw[-1] == 29
    assert [c.text for c in completions] == [many[int(i)].text for i in raw]
    assert [c.finished for c in completions] == [many[int(i)].finished for i in raw]
    assert kept_probes(tmp_path / "none")[0] == []
