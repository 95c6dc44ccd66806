"""Models that do not load: one line that says why and what to do, whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from reward_model.language_model import loading
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from tests.reward_model.model_checks.odd_models import POINTER, edit_json, edit_weights, variant
from tests.support.tiny import make_tiny

Change = Callable[[Path], object]


def write(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text)


def cut(name: str, size: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def remove(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def config(**changes: object) -> Change:
    return lambda folder: edit_json(folder / "config.json", changes)


def quantised(method: str) -> Change:
    return config(quantization_config={"quant_method": method, "bits": 4})


def in_shards(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")


def one_shard_missing(folder: Path) -> None:
    in_shards(folder)
    (folder / "model-00002-of-00006.safetensors").unlink()


def pickled(*more: object) -> Change:
    def change(folder: Path) -> None:
        weights = (
            load_file(folder / "model.safetensors") | {"more": more}
            if more
            else load_file(folder / "model.safetensors")
        )
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")

    return change


def another_size(folder: Path) -> None:
    other = make_tiny(folder.parent / "other", vocabulary=320)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())


def classifier(folder: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder)


def bert(folder: Path, named: bool = True) -> None:
    small = BertConfig(
        vocab_size=340, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    BertForMaskedLM(small).save_pretrained(folder)
    if not named:
        edit_json(folder / "config.json", {"architectures": None})


def t5(folder: Path) -> None:
    small = T5Config(vocab_size=340, d_model=16, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    T5ForConditionalGeneration(small).save_pretrained(folder)


REFUSED: dict[str, tuple[Change, str]] = {
    "pointer for weights": (write("model.safetensors", POINTER), "git lfs pull"),
    "pointer for tokenizer": (write("tokenizer.json", POINTER), "git lfs pull"),
    "pointer for config": (write("config.json", POINTER), "git lfs pull"),
    "pointer for generation config": (write("generation_config.json", POINTER), "git lfs pull"),
    "weights cut short": (cut("model.safetensors", 3000), "cut short.*download it again"),
    "weights' head cut": (cut("model.safetensors", 50), "cut short.*download it again"),
    "weights empty": (cut("model.safetensors", 0), "is empty.*download it again"),
    "tokenizer cut short": (cut("tokenizer.json", 500), "is not JSON.*download it again"),
    "config no JSON": (write("config.json", "{'a': 1}"), "is not JSON"),
    "config a list": (write("config.json", "[1]"), "no JSON object"),
    "config without kind": (config(model_type=None), "does not know its kind"),
    "kind unknown": (config(model_type="wonder"), "wonder.*a newer transformers"),
    "value of another type": (config(hidden_size="many"), "hidden_size.*correct that"),
    "heads that do not divide": (config(num_attention_heads=5), "attention heads.*correct that"),
    "shard missing": (one_shard_missing, "1 of 6 weight files.*model-00002-of-00006"),
    "no weights": (remove("model.safetensors"), "no weights.*save_pretrained"),
    "GGUF": (lambda f: (f / "model.safetensors").rename(f / "m.gguf"), "only m.gguf.*convert"),
    "pickled code": (pickled(Path("x")), "more than tensors.*model.safetensors"),
    "no tokenizer": (remove("tokenizer.json", "tokenizer_config.json"), "no tokenizer.*copy"),
    "no vocabulary": (remove("tokenizer.json"), "no tokenizer.*copy tokenizer.json"),
    "GPTQ": (quantised("gptq"), "quantised weights .gptq.*unquantised model"),
    "AWQ": (quantised("awq"), "quantised weights .awq.*unquantised model"),
    "bitsandbytes": (quantised("bitsandbytes"), "quantised weights .bitsandbytes"),
    "FP8": (quantised("fp8"), "quantised weights .fp8"),
    "code of its own": (
        config(model_type="wonder", auto_map={"AutoConfig": "wonder.Config"}),
        "own Python code, which is never run",
    ),
    "tokenizer with code": (
        lambda f: edit_json(
            f / "tokenizer_config.json",
            {"tokenizer_class": "Wonder", "auto_map": {"AutoTokenizer": ["wonder.Wonder", None]}},
        ),
        "own Python code, which is never run",
    ),
    "another size": (another_size, r"\(320, 32\), and \(340, 32\) by its config.json"),
    "layers missing": (config(num_hidden_layers=3), r"layers\.2\..* and 8 more.*random"),
    "head missing": (config(tie_word_embeddings=False), "no weights for lm_head.weight.*random"),
    "norm missing": (
        lambda f: edit_weights(f, lambda weights: weights.pop("model.norm.weight")),
        "no weights for model.norm.weight",
    ),
    "encoder": (bert, "BertForMaskedLM.*use a causal language model"),
    "encoder, unnamed": (lambda f: bert(f, named=False), "an encoder.*causal language model"),
    "encoder and decoder": (t5, "an encoder and a decoder.*causal language model"),
    "classifier": (classifier, "LlamaForSequenceClassification.*causal language model"),
    "no text": (config(model_type="vit", architectures=None), "use a causal language model"),
}  # fmt: skip


def load(folder: Path) -> None:
    origin = find_origin(str(folder))
    load_tokenizer(origin)
    load_model(origin, torch.float32)


@pytest.mark.parametrize("what", REFUSED)
def test_a_model_that_does_not_load_is_refused_in_one_line(
    tiny_model: Path, tmp_path: Path, what: str
) -> None:
    change, words = REFUSED[what]
    folder = variant(tiny_model, tmp_path / "m")
    change(folder)
    with pytest.raises(ValueError, match=words) as refused:
        load(folder)
    assert str(refused.value).isprintable()
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize("change", [in_shards, pickled(), remove("tokenizer_config.json")])
def test_other_ways_of_keeping_a_model_are_read(
    tiny_model: Path, tmp_path: Path, change: Change
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    template = (folder / "chat_template.jinja").read_text()
    change(folder)
    (folder / "chat_template.jinja").write_text(template)
    if not (folder / "tokenizer_config.json").is_file():
        load_model(find_origin(str(folder)), torch.float32)
        return
    load(folder)


def test_layers_that_the_configuration_leaves_out_are_told(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "config.json", {"num_hidden_layers": 1})
    load(folder)
    assert "9 weights in its files are not used, first model.layers.1." in capsys.readouterr().out


def test_a_file_that_may_not_be_read_is_named(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    real = Path.open

    def refuse(path: Path, *args: object, **named: object) -> object:
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"model\.safetensors.*Permission denied.*who may read"):
        find_origin(str(folder))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "too little memory.*smaller model"),
        (ImportError("needs `pip install optimum`"), "pip install optimum"),
        (ImportError("No module named 'sentencepiece'"), "pip install sentencepiece"),
        (KeyError("weird"), "use smollm2-135m, a local model folder"),
        (RuntimeError("two\nlines"), r"\(two lines\)"),
    ],
)
def test_whatever_a_library_raises_is_one_line(error: Exception, words: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with pytest.raises(ValueError, match=words) as refused:
        loading._load_named(fail, "m")
    assert str(refused.value).isprintable()


def test_a_folder_that_is_not_there_is_not_looked_for_at_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        find_origin(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"no model \(config.json.*adapter_config.json"):
        find_origin(str(tmp_path))


def test_a_reward_model_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(json.dumps({"objective": "joint", "model": "m"}))
    with pytest.raises(ValueError, match=r"is a reward model.*name a policy"):
        find_origin(str(tmp_path))
