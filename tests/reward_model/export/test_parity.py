"""The parity certificate: green on what is right, red on every way of getting it wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reward_model.export.folder import export
from reward_model.export.parity import certify, check, plans, tolerance, verdict
from reward_model.scoring.probes import hard_probes, keep_probes, kept_probes
from reward_model.scoring.scorer import Scorer
from tests.support.handmade import JUDGED, MAX_TOKENS, make_reward

ROADS = {
    "trainer", "scorer", "grpo", "trained", "reloaded",
    "/score", "/classify, token ids", "/classify, messages", "/get_reward",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    return make_reward(tmp_path_factory.mktemp("made") / "reward-1", tiny_model)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    export(run, out, lambda road: None)
    return out


def test_every_road_gives_the_trained_reward(exported, run):
    certificate = json.loads((exported / "certificate.json").read_text())
    assert certificate["green"] and certificate["within_1e-5"]
    assert {leg["road"] for leg in certificate["roads"]} == ROADS
    probes = certificate["probes"]
    assert probes["judged"] == len(JUDGED) and probes["hard"] >= 12 and probes["cut_to_fit"] >= 2
    for leg in certificate["roads"]:
        ways = 1 if leg["road"] == "trained" else 3
        assert leg["n"] == ways * (len(JUDGED) if leg["road"] == "trained" else probes["n"])
        assert leg["max_difference"] < 1e-5
        assert leg["max_difference_in_reward_units"] < 1e-5
    assert certificate["dtype"] == "float32" and certificate["device"] in ("cpu", "cuda")
    assert "roads give the trained rewards" in verdict(certificate)
    check(certificate)


def test_it_says_what_it_was_made_of(exported, run):
    certificate = json.loads((exported / "certificate.json").read_text())
    facts = json.loads((run / "origin.json").read_text())
    assert certificate["tokenizer"] == facts["tokenizer"]
    assert list(certificate["weights"]) == ["model.safetensors"]
    assert all(len(h) == 64 for h in [*certificate["weights"].values(), certificate["template"]])
    assert certificate["versions"].keys() == {"torch", "transformers", "peft"}
    text = json.dumps(certificate)
    assert not any(c.text and c.text in text for c in JUDGED), "judged texts are private"


def test_a_trained_model_has_a_green_certificate(reward_folder, tmp_path):
    certificate = export(reward_folder, tmp_path / "out", lambda road: None)
    assert certificate["green"], certificate


@pytest.mark.parametrize("tuning", ["head", "full"])
def test_whatever_was_tuned_it_is_green(tuning, tiny_model, tmp_path):
    run = make_reward(tmp_path / "reward-1", tiny_model, tuning)
    certificate = export(run, tmp_path / "out", lambda road: None)
    assert certificate["within_1e-5"]
    assert {leg["road"] for leg in certificate["roads"]} == ROADS


# --- defects


def _pad_is_end_of_turn(run, out):
    for name in ("config.json", "tokenizer_config.json"):
        facts = json.loads((out / name).read_text())
        key = "pad_token_id" if name == "config.json" else "pad_token"
        facts[key] = facts[key.replace("pad", "eos")]
        (out / name).write_text(json.dumps(facts))


def _end_of_turn_is_dropped(run, out):
    code = (out / "score.py").read_text()
    broken = code.replace("after = [*after, tokenizer.eos_token_id]", "pass")
    assert broken != code
    (out / "score.py").write_text(broken)


def _end_of_turn_after_what_was_cut(run, out):
    code = (out / "score.py").read_text()
    broken = code.replace('if row.get("finished", True):', "if True:")
    assert broken != code
    (out / "score.py").write_text(broken)


def _weights_in_bfloat16(run, out):
    weights = load_file(out / "model.safetensors")
    cut = {name: w.bfloat16().float() for name, w in weights.items()}
    save_file(cut, out / "model.safetensors", {"format": "pt"})


def _side_car_left_out(run, out):
    """What a merge gives that forgets the side-car: one layer as it was before."""
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
    ("defect", "road"),
    [
        (_pad_is_end_of_turn, "reloaded"),
        (_end_of_turn_is_dropped, "reloaded"),
        (_end_of_turn_after_what_was_cut, "reloaded"),
        (_weights_in_bfloat16, "/score"),
        (_side_car_left_out, "/get_reward"),
        (_head_not_saved, "trained"),
    ],
)
def test_a_defect_turns_it_red(defect, road, run, exported, tmp_path):
    broken_run = shutil.copytree(run, tmp_path / "run")
    broken = shutil.copytree(exported, tmp_path / "out")
    defect(broken_run, broken)
    certificate = certify(broken_run, broken)
    assert not certificate["green"] and not certificate["within_1e-5"]
    passed = {leg["road"]: leg["passed"] for leg in certificate["roads"]}
    assert not passed[road]
    assert passed["trainer"] and passed["scorer"] and passed["grpo"]
    with pytest.raises(ValueError, match=r"not the rewards that were trained.*nothing was written"):
        check(certificate)


def test_another_template_is_refused_before_anything_is_compared(run, exported, tmp_path):
    broken = shutil.copytree(exported, tmp_path / "out")
    _template_changed(run, broken)
    with pytest.raises(ValueError, match="another tokenizer or chat template"):
        certify(run, broken)


# --- the parts


def test_a_network_that_disagrees_with_itself_across_batches_is_red(run, exported, monkeypatch):
    """The allowance for rounding is measured text by text: it hides no fault of batching."""
    from reward_model.export import parity_routes

    right = parity_routes.trainer

    def leaky(*given):
        road = right(*given)
        return lambda completions: road(completions) + 1e-3 * (len(completions) - 1)

    monkeypatch.setattr(parity_routes, "trainer", leaky)
    certificate = certify(run, exported)
    passed = {leg["road"]: leg["passed"] for leg in certificate["roads"]}
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
    assert any(t.completion == [tokenizer.eos_token_id] for t in texts)
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
