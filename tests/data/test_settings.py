"""Settings that a command line spells and reads again."""

from __future__ import annotations

import json
from pathlib import Path

from data.settings import as_arguments, as_config


def test_settings_survive_the_command_line() -> None:
    """The browser starts a run by spelling its settings as arguments."""
    import tyro

    from grpo.config import PolicySettings, SftSettings
    from reward_model.config import LoraSettings, RewardSettings

    for settings in (
        SftSettings(model="some/model", lora=LoraSettings(rank=4, targets="mlp"), seed=7),
        RewardSettings(objective="regression", learning_rate=1e-5),
        PolicySettings(steps=3, workspace=Path("a b")),
    ):
        read = tyro.cli(type(settings), args=as_arguments(settings))
        assert read == settings
        assert json.loads(json.dumps(as_config(settings)))
