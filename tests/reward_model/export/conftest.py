"""One reward model and one export of it, for all tests of this folder."""

from __future__ import annotations

import json

import pytest

from reward_model.export import fresh_process, parity_routes
from reward_model.export.folder import export
from tests.support.handmade import make_reward
from tests.support.training import made_once

RECEIPT = {"summary": "Right in 70%.", "policy": "?"}


@pytest.fixture(scope="session")
def run(tiny_model, tmp_path_factory):
    """A run with the papers of a real one, which name folders of this machine."""

    def make(place):
        folder = make_reward(place / "runs" / "reward-1", tiny_model)
        papers = RECEIPT | {"policy": str(tiny_model), "folder": str(folder / "adapter")}
        (folder / "receipt.json").write_text(json.dumps(papers))
        (folder / "receipt.html").write_text(f"<p>made in {folder}</p>")
        (folder / "README.md").write_text(f"---\ntags:\n- x\n---\n\n# Card\n\nOn {tiny_model}.\n")

    return made_once(tmp_path_factory, "made", make) / "runs" / "reward-1"


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """The whole way, a fresh process included."""
    return made_once(tmp_path_factory, "out", lambda out: export(run, out, lambda outcome: None))


@pytest.fixture
def in_process(monkeypatch):
    """The export's script loads here: a fresh process takes seconds to load transformers."""
    monkeypatch.setattr(parity_routes, "ask_fresh_process", fresh_process.answer)
