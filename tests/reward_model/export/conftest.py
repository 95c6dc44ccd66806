"""One reward model and one export of it, for all tests of this folder."""

from __future__ import annotations

import importlib.util
import json

import pytest

from reward_model.export import parity_routes
from reward_model.export.folder import export
from tests.support.handmade import make_reward

RECEIPT = {"summary": "Right in 70%.", "policy": "?"}


@pytest.fixture(scope="session")
def run(tiny_model, tmp_path_factory):
    """A run with the papers of a real one, which name folders of this machine."""
    folder = make_reward(tmp_path_factory.mktemp("made") / "runs" / "reward-1", tiny_model)
    papers = RECEIPT | {"policy": str(tiny_model), "folder": str(folder / "adapter")}
    (folder / "receipt.json").write_text(json.dumps(papers))
    (folder / "receipt.html").write_text(f"<p>made in {folder}</p>")
    (folder / "README.md").write_text(f"---\ntags:\n- x\n---\n\n# Card\n\nOn {tiny_model}.\n")
    return folder


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """The whole way, a fresh process included."""
    out = tmp_path_factory.mktemp("exported") / "out"
    export(run, out, lambda outcome: None)
    return out


@pytest.fixture
def in_process(monkeypatch):
    """The export's script loads here: a fresh process takes seconds to load transformers."""

    def ask(folder, rows, plans):
        spec = importlib.util.spec_from_file_location("exported_script", folder / "score.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        return [[script.head_output([rows[i] for i in b]) for b in plan] for plan in plans]

    monkeypatch.setattr(parity_routes, "ask_fresh_process", ask)
