"""The training verbs as a user runs them: right and wrong, stopped and killed.

What can be stopped or killed runs as a process of its own, all else in this one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import grpo.__main__
from data import runs
from data.schema import Answer, Completion, Task, make_prompt
from data.store import Store
from grpo.__main__ import main
from tests.support.commands import assert_refused, command
from tests.support.training import fill

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TINY_GRPO = (
    "--prompts-per-step", "2", "--group-size", "4", "--sampling.max-new-tokens", "8",
    "--learning-rate", "1e-3",
)  # fmt: skip


def copy_of(trained, folder):
    """A workspace of its own with all that was trained, for a test that changes it."""
    shutil.copytree(trained.workspace / "runs", folder / "runs")
    with trained.store.database.write():
        shutil.copy(trained.workspace / "store.db", folder)
        wal = trained.workspace / "store.db-wal"
        if wal.exists():
            shutil.copy(wal, folder)
    return folder


# --- the loop


def test_the_loop_end_to_end(tiny_model, tmp_path, one_view):
    outcome = command(
        "grpo", "loop", "--workspace", tmp_path, "--model", tiny_model,
        "--judgements", "240", "--sample.per-prompt", "3", "--sample.limit", "60",
        "--sample.sampling.max-new-tokens", "6", "--train.sampling.max-new-tokens", "6",
        "--train.steps", "3", "--train.pessimism", "0",
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    for word in ("SFT", "GRPO", "difference", "true utility", "KL to SFT", "report with plots"):
        assert word in outcome.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    (seed,) = report["seeds"]
    assert seed["compare"]["win_rates"]["true utility"]["n"] > 0
    assert all(seed["judgements"][kind] > 0 for kind in ("binary", "scalar", "pairwise"))
    page = (tmp_path / "report.html").read_text()
    assert page.count("Plotly.newPlot") >= 4
    assert "<script src" not in page and "<link" not in page
    assert_refused(
        command("grpo", "loop", "--workspace", tmp_path, "--model", tiny_model), "store already"
    )


@pytest.mark.parametrize(
    "verb", ["pretrain", "sft", "sample", "train", "evaluate", "export", "loop"]
)
def test_every_policy_verb_has_help_and_is_documented(verb, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["grpo", verb, "--help"])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code and "--workspace" in capsys.readouterr().out
    assert verb in (grpo.__main__.__doc__ or "")
    assert (
        f"python -m grpo {verb}" in (Path(__file__).parents[2] / "docs/operations.md").read_text()
    )


# --- wrong input


def test_an_unknown_model_is_named(tmp_path):
    with Store.open(tmp_path) as store:
        fill(store)
    assert_refused(
        command("grpo", "sft", "--workspace", tmp_path, "--model", "no/such-model"),
        "no/such-model",
        "local model folder",
    )
    with Store.open(tmp_path) as store:
        (run,) = store.runs.list()
        assert run.status == "failed" and "no/such-model" in run.message
        assert store.content.counts().demonstrations == 60


def test_no_judgements_and_no_policy_are_said(tmp_path):
    with Store.open(tmp_path) as store:
        fill(store)
    reward = command("reward_model", "train", "--workspace", tmp_path)
    policy = command("grpo", "train", "--workspace", tmp_path)
    assert_refused(reward, "no judgements for objective joint", "collect some")
    assert_refused(policy, "no finished SFT run")


def test_fewer_than_twenty_comparisons_are_refused(tmp_path):
    with Store.open(tmp_path) as store:
        person = store.people.add("ann", "annotator")
        tasks = [
            Task("pairwise", Completion(p, "one"), Completion(p, "two"))
            for p in (make_prompt(f"q{i}") for i in range(7))
        ]
        store.ledger.add_tasks(tasks)
        import random

        for i in range(7):
            held = store.ledger.claim(person, random.Random(i))
            store.ledger.submit(person, held.id, Answer("a"), str(i))
    assert_refused(
        command("reward_model", "train", "--workspace", tmp_path),
        "7 judgements that tell completions apart",
        "collect 13 more",
    )


def test_settings_out_of_range_are_refused_before_anything_loads(tmp_path):
    wrong = {
        "lora rank 0": ("grpo", "sft", "--lora.rank", "0"),
        "patience -1": ("grpo", "pretrain", "--patience", "-1"),
        "group size 1": ("grpo", "train", "--group-size", "1"),
        "top p 2": ("grpo", "sample", "--sampling.top-p", "2"),
        "none.jsonl": ("reward_model", "score", "--run", "x", "--file", "none.jsonl"),
    }
    for said, words in wrong.items():
        assert_refused(command(*words, "--workspace", tmp_path), said)


# --- scoring and evaluating from the shell


def test_score_and_evaluate(trained, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "Why?", "completion": "Because."}\n')
    run = trained.ids["reward"]
    bad = tmp_path / "bad.jsonl"
    bad.write_text(file.read_text() + '{"prompt": "", "completion": ""}')
    known = ("--workspace", trained.workspace, "--run", run)
    scored = command("reward_model", "score", *known, "--file", file)
    wrong = command("reward_model", "score", *known, "--file", bad)
    judged = command("reward_model", "evaluate", *known, "--out", tmp_path / "receipt")
    assert scored.returncode == 0, scored.stderr
    assert isinstance(json.loads(scored.stdout)["reward"], float)
    assert_refused(wrong, "bad.jsonl:2", "prompt has no text")
    assert judged.returncode == 0, judged.stderr
    then, now = (
        trained.reports["reward"],
        json.loads((tmp_path / "receipt/receipt.json").read_text()),
    )
    assert now["summary"] in judged.stdout and "receipt.html" in judged.stdout
    assert {p.name for p in (tmp_path / "receipt").iterdir()} == {
        "receipt.html", "receipt.json", "README.md",
    }  # fmt: skip
    same_figures(then, now)


def same_figures(then, now):
    """The head's own to the last bit, for its features are kept; the network's to rounding."""
    for key in ("judgements", "dropped", "ceiling", "headline", "learning"):
        assert now[key] == then[key], key
    again = {c["annotator"]: c for c in now["annotators"]}
    for one in then["annotators"]:
        other = again[one["annotator"]]
        assert one["judgements"] == other["judgements"]
        for name, trait in one["traits"].items():
            assert other["traits"][name]["value"] == pytest.approx(trait["value"], abs=1e-6)
    assert now["scores"]["crossed"] == then["scores"]["crossed"]
    assert set(now["scores"]["held"]) == set(then["scores"]["held"])
    for name, figure in then["scores"]["held"].items():
        again = now["scores"]["held"][name]
        assert again["n"] == figure["n"]
        if figure["value"] is not None:
            assert again["value"] == pytest.approx(figure["value"], abs=0.05), name
    assert now["spread"]["verdict"] == then["spread"]["verdict"]
    assert now["reward_mean"] == then["reward_mean"] and now["reward_sd"] == then["reward_sd"]


# --- stopped and killed


def start_grpo(workspace, *words):
    child = subprocess.Popen(
        [sys.executable, "-m", "grpo", "train", "--workspace", str(workspace), *TINY_GRPO, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    run_id = child.stdout.readline().split()[-1]
    folder = runs.runs_folder(workspace) / run_id
    deadline = time.monotonic() + 120
    while len(runs.metrics(folder)) < 2:
        assert time.monotonic() < deadline and child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    return child, run_id, folder


def wait_for_step(folder, step):
    deadline = time.monotonic() + 120
    while not (rows := runs.metrics(folder)) or rows[-1]["step"] < step:
        assert time.monotonic() < deadline, runs.log_tail(folder)
        time.sleep(0.05)


@pytest.fixture
def after_step(monkeypatch):
    """Has something done within this process after one step of a run, or any later one."""
    from grpo.trainer.callback import GrpoCallback

    step_ends = GrpoCallback.on_step_end

    def arrange(step, act):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                act()
            return step_ends(self, args, state, control, **kwargs)

        monkeypatch.setattr(GrpoCallback, "on_step_end", on_step_end)

    return arrange


def test_kill_9_and_the_stop_verb_leave_what_goes_on(trained, tmp_path, after_step):
    workspace = copy_of(trained, tmp_path)
    child, killed_id, killed = start_grpo(workspace, "--steps", "300", "--save-every", "2")
    wait_for_step(killed, 5)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    reached = runs.metrics(killed)[-1]["step"]

    def stop():
        with Store.open(workspace) as store:
            assert store.runs.get(killed_id).status == "died"
            assert store.content.counts() == trained.store.content.counts()
            again = store.runs.list("grpo")[0].id
        words = ("grpo", "stop", "--run", again, "--workspace", workspace)
        stopped = command(*words)
        assert stopped.returncode == 0 and "stops at its next step" in stopped.stdout

    after_step(reached, stop)
    words = ("--workspace", workspace, *TINY_GRPO, "--resume", killed_id)
    outcome = command("grpo", "train", *words)
    assert outcome.returncode == 130, outcome.stderr
    resumed = runs.runs_folder(workspace) / outcome.stdout.split()[1]
    kept = runs.metrics(resumed)
    assert [m["step"] for m in kept] == list(range(1, len(kept) + 1))
    assert reached <= len(kept) < 300
    for lost, row in zip(
        runs.metrics(killed), kept, strict=False
    ):  # done again, to the same figures
        assert _figures(lost) == _figures(row)
    for name, said in ((resumed.name, "is not running"), ("none", "'none' unknown")):
        assert_refused(command("grpo", "stop", "--run", name, "--workspace", workspace), said)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_a_run_after_its_step(trained, tmp_path, after_step, sent):
    """Sent by this process to itself; what was stopped goes on from there."""
    workspace = copy_of(trained, tmp_path)
    after_step(2, lambda: os.kill(os.getpid(), sent))
    outcome = command("grpo", "train", "--workspace", workspace, *TINY_GRPO, "--steps", "4")
    run_id = outcome.stdout.split()[1]
    assert outcome.returncode == 130 and f"--resume {run_id}" in outcome.stderr
    folder = runs.runs_folder(workspace) / run_id
    last = runs.metrics(folder)[-1]["step"]
    assert 2 <= last <= 3 and (folder / f"checkpoint-{last}").is_dir()
    with Store.open(workspace) as store:
        assert store.runs.get(run_id).status == "stopped"
    words = ("--workspace", workspace, *TINY_GRPO, "--resume", run_id)
    resumed = command("grpo", "train", *words)
    assert resumed.returncode == 0, resumed.stderr
    done = runs.metrics(runs.runs_folder(workspace) / resumed.stdout.split()[1])
    assert [m["step"] for m in done] == [1, 2, 3, 4]


def _figures(row):
    return {k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")}


# --- a full disk


@pytest.fixture
def small_disk(tmp_path, request):
    """A file system of 4 MB (or as parametrized), or a skip where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={getattr(request, 'param', '4m')}",
            "tmpfs",
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_what_was_stored_stays(small_disk, tmp_path, tiny_model):
    with Store.open(small_disk) as store:
        fill(store)
    big = tmp_path / "big.jsonl"
    big.write_text(
        "".join(json.dumps({"type": "prompt", "prompt": f"{i} " + "x" * 900}) + "\n"
                for i in range(6000))
    )  # fmt: skip
    assert_refused(command("data", "import", big, "--workspace", small_disk), "disk is full")
    with Store.open(small_disk) as store:
        assert store.content.counts().prompts == 60
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"0" * 4096)
        except OSError:
            pass
    assert_refused(
        command("grpo", "sft", "--workspace", small_disk, "--model", tiny_model), "disk is full"
    )
    filler.unlink()
    with Store.open(small_disk) as store:
        assert store.content.counts().demonstrations == 60


@pytest.mark.parametrize("small_disk", ["32m"], indirect=True)
def test_a_disk_that_fills_up_ends_grpo_cleanly(trained, small_disk):
    """A checkpoint does not fit any more: one line says so, and the whole ones before it stay."""
    workspace = copy_of(trained, small_disk)
    room = shutil.disk_usage(workspace).free - 400_000
    (small_disk / "filler").write_bytes(b"0" * room)
    outcome = command(
        "grpo", "train", "--workspace", workspace, *TINY_GRPO, "--steps", "90", "--save-every", "1"
    )
    assert_refused(outcome, "disk is full")
    folder = runs.runs_folder(workspace) / outcome.stdout.split()[1]
    assert runs.metrics(folder)
    assert all((p / "generation_window.pt").is_file() or p == max(folder.glob("checkpoint-*"))
               for p in folder.glob("checkpoint-*"))  # fmt: skip
