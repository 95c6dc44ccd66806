"""What is saved after a training is tried before it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from reward_model.language_model.loading import load_model
from reward_model.language_model.origin import find_origin
from reward_model.model_checks import saving
from reward_model.model_checks.saving import check_saving
from tests.reward_model.model_checks.odd_models import edit_json, variant

CONTRADICTIONS = [
    {"do_sample": False, "temperature": 0.6, "top_p": 0.9},
    {"temperature": 0.6},
    {"do_sample": False, "top_k": 20},
    {"do_sample": True, "temperature": -1.0},
    {"num_beams": 1, "early_stopping": True, "length_penalty": 2.0},
]


@pytest.mark.parametrize("changes", CONTRADICTIONS)
def test_a_generation_config_that_contradicts_itself_is_mended_for_saving(
    tiny_model: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "generation_config.json", changes)
    model = load_model(find_origin(str(folder)), torch.float32)
    model.generation_config.pad_token_id = 0  # as a trainer changes it
    model.save_pretrained(tmp_path / "saved")
    again = GenerationConfig.from_pretrained(tmp_path / "saved")
    assert again.eos_token_id == 2


@pytest.mark.parametrize(
    "changes", [{"num_return_sequences": 4}, {"cache_implementation": "unheard-of"}]
)
def test_one_that_transformers_does_not_load_is_refused(
    tiny_model: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "generation_config.json", changes)
    with pytest.raises(ValueError, match=f"{next(iter(changes))}.*correct that in its generation_"):
        load_model(find_origin(str(folder)), torch.float32)


def test_what_was_mended_is_told(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "generation_config.json", CONTRADICTIONS[0])
    model = load_model(find_origin(str(folder)), torch.float32)
    assert (model.generation_config.do_sample, model.generation_config.temperature) == (True, 0.6)
    assert "do_sample is now true" in capsys.readouterr().out


def test_sampling_parameters_in_config_json_are_saved_where_they_belong(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_json(folder / "config.json", {"temperature": 0.5, "do_sample": True})
    (folder / "generation_config.json").unlink()
    model = load_model(find_origin(str(folder)), torch.float32)
    model.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").temperature == 0.5


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    check_saving(tmp_path, 2**30)
    with pytest.raises(ValueError, match=r"takes 3.0 GiB.* 1.0 GiB free: free some space"):
        check_saving(tmp_path, 3 * 2**30)


def test_a_configuration_that_cannot_be_saved_is_told_before(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.generation_config.temperature = -1.0
    with pytest.raises(ValueError, match=r"could not be saved after training.*correct its"):
        check_saving(tmp_path, 0, model=model)
    assert list(tmp_path.iterdir()) == []
