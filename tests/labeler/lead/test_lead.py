"""The lead pages: what they say of a project, what they start, and what they refuse."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from data import Store, runs
from data.exports import FORMATS
from data.schema import Answer, Demonstration, Document, make_prompt
from grpo.config import PolicySettings, SftSettings
from labeler import jobs
from labeler.jobs import Site
from labeler.lead import data_tab, forms, snapshot
from labeler.lead.live import Live
from labeler.lead.next_step import next_step
from labeler.lead.pages import launch_from_form
from labeler.lead.run_buttons import stop_button
from labeler.lead.views import charts, home
from labeler.rating import actions
from labeler.rendering import plain_number, refusal
from labeler.serve import prepare
from reward_model.config import RewardSettings
from tests.support.commands import command
from tests.support.content import add_content
from tests.support.labeler_helpers import add_comparisons, add_person, add_tasks, open_store

HERE = "http://127.0.0.1:8000/v1"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(open_store(tmp_path), tmp_path, "smollm2-135m")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], dict[str, Any]]]:
    """What would have been launched."""
    seen: list[tuple[str, list[str], dict[str, Any]]] = []

    def record(store: Store, workspace: Path, kind: str, arguments: list[str], config: Any) -> str:
        seen.append((kind, list(arguments), dict(config)))
        return f"{kind}-run"

    monkeypatch.setattr(runs, "launch", record)
    return seen


def ended_run(site: Site, kind: str, report: dict[str, Any] | None = None, **config: Any) -> str:
    run_id = runs.new_run(site.store, site.workspace, kind, config)
    if report is not None:
        (site.folder(run_id) / "report.json").write_text(json.dumps(report))
    site.store.runs.end(run_id, "finished", "")
    return run_id


def values(kind: str, choices: Any, **changes: Any) -> list[Any]:
    """A form's values as it is first shown, with changes by path."""
    found = []
    for choice in choices:
        owner, name = forms._settings_of(kind, choice.path)
        default = "" if choice.runs or choice.beside else getattr(owner, name)
        there = "_there" if choice.beside else ""
        found.append(changes.get(choice.path.replace(".", "_") + there, default))
    return found


def demonstrate(site: Site) -> None:
    add_content(site.store, [Demonstration(make_prompt("Hello?"), "Hi.")])


def test_sft_is_started_with_what_was_chosen(site: Site, started: Any) -> None:
    demonstrate(site)
    chosen = values("sft", forms.SFT, lora_rank=4, lora_targets="mlp", epochs=1)
    assert launch_from_form(site, "sft", forms.SFT, chosen) == "sft-run"
    ((kind, arguments, config),) = started
    assert (kind, arguments[:2]) == ("sft", ["grpo", "sft"])
    assert arguments[arguments.index("--lora.rank") + 1] == "4"
    assert arguments[arguments.index("--workspace") + 1] == str(site.workspace)
    assert site.store.url not in arguments  # it may hold a password; the environment carries it
    assert config["lora"]["targets"] == "mlp" and config["model"] == "smollm2-135m"


def test_what_is_started_may_go_on_from_a_run(site: Site, started: Any) -> None:
    demonstrate(site)
    below = ended_run(site, "pretrain")
    launch_from_form(site, "sft", forms.SFT, values("sft", forms.SFT, model=below, tuning="full"))
    ((_, arguments, config),) = started
    assert (config["model"], config["tuning"]) == (below, "full")
    assert arguments[arguments.index("--patience") + 1] == "2"


def test_adapter_fields_are_there_for_adapters_only() -> None:
    hanging = {c.path: c.only for c in forms.SFT if c.only}
    assert set(hanging) == {"lora.rank", "lora.alpha", "lora.targets", "lora.dropout"}
    assert set(hanging.values()) == {("tuning", ("lora", "qlora"))}


@pytest.mark.parametrize(
    ("kind", "choices", "command"),
    [
        ("pretrain", forms.PRETRAIN, ["grpo", "pretrain"]),
        ("reward", forms.REWARD, ["reward_model", "train"]),
        ("grpo", forms.GRPO, ["grpo", "train"]),
        ("compare", forms.COMPARE, ["grpo", "evaluate"]),
        ("sample", forms.SAMPLE, ["grpo", "sample"]),
    ],
)
def test_every_form_starts_its_command(site, started, kind, choices, command) -> None:
    demonstrate(site)
    add_content(site.store, [Document("Bread rises.")])
    add_comparisons(site.store, add_person(site.store, "ann"), 20)
    for needed in ("sft", "reward", "grpo"):
        ended_run(site, needed)
    launch_from_form(site, kind, choices, values(kind, choices))
    assert started[0][1][:2] == command
    if kind == "compare":
        assert started[0][2]["policy"].startswith("grpo-")


@pytest.mark.parametrize(
    ("kind", "choices", "changes", "reason"),
    [
        ("sft", forms.SFT, {"lora_rank": 0}, "lora rank 0 not allowed: use 1 or more"),
        ("sft", forms.SFT, {"lora_rank": None}, "LoRA rank is empty"),
        ("sft", forms.SFT, {"lora_rank": 2.5}, "2.5 is not a number that fits"),
        ("sft", forms.SFT, {"lora_rank": "x"}, "'x' is not a number that fits"),
        ("sft", forms.SFT, {"learning_rate": float("nan")}, "nan is not a number"),
        ("sft", forms.SFT, {"lora_targets": "lm_head"}, "use attention, mlp, all"),
        ("sft", forms.SFT, {"epochs": -1}, "use 0 or more"),
        ("sft", forms.SFT, {"epochs": 0}, "epochs 0"),
        ("sft", forms.SFT, {"tuning": "head"}, "use lora, qlora, full"),
        ("sft", forms.SFT, {"lora_dropout": 1}, "dropout 1.0 not allowed"),
        ("sft", forms.SFT, {"model": "pretrain-none"}, "'pretrain-none' is not there"),
        ("pretrain", forms.PRETRAIN, {}, "no documents yet: import some"),
        ("pretrain", forms.PRETRAIN, {"patience": 1.5}, "1.5 is not a number that fits"),
        ("reward", forms.REWARD, {"objective": "bt"}, "use joint, bradley_terry, regression"),
        ("reward", forms.REWARD, {"effects": "yes"}, "'yes' not allowed: tick it"),
        ("reward", forms.REWARD, {"policy": "sft-none"}, "'sft-none' is not there"),
        ("reward", forms.REWARD, {}, "20 more are needed"),
        ("reward", forms.REWARD, {"objective": "regression"}, "0 1-10 ratings are too few"),
        ("grpo", forms.GRPO, {}, "no fine-tuned policy yet"),
        ("grpo", forms.GRPO, {"group_size": 1}, "group size 1|no fine-tuned"),
        ("compare", forms.COMPARE, {}, "launch GRPO first"),
        ("sample", forms.SAMPLE, {}, None),
        ("sample", forms.SAMPLE, {"endpoint": HERE, "policy_there": "m", "mix": "all"}, None),
        ("sample", forms.SAMPLE, {"endpoint": HERE}, "Model at the endpoint is empty"),
        ("sample", forms.SAMPLE, {"policy_there": "m"}, "Model at the endpoint goes with"),
        ("sample", forms.SAMPLE, {"endpoint": "here", "policy_there": "m"}, "'here' is no address"),
        ("sample", forms.SAMPLE, {"endpoint": HERE, "policy_there": "-m"}, "begin with a dash"),
        ("sample", forms.SAMPLE, {"mix": "a, --store"}, "begin with a dash"),
        ("sample", forms.SAMPLE, {"across": 1.5}, r"across 1\.5 not allowed"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    site: Site, started: Any, kind: str, choices: Any, changes: Any, reason: str | None
) -> None:
    if reason is None:
        add_content(site.store, [make_prompt("Hello?")])
        launch_from_form(site, kind, choices, values(kind, choices, **changes))
        assert len(started) == 1
        return
    demonstrate(site)
    with pytest.raises(ValueError, match=reason) as error:
        launch_from_form(site, kind, choices, values(kind, choices, **changes))
    assert len(str(error.value).splitlines()) == 1
    assert started == []
    shown = refusal(error.value)
    assert 'role="alert"' in shown


def test_an_endpoint_is_sampled_from_by_the_name_it_gives(site: Site, started: Any) -> None:
    demonstrate(site)
    asked = values(
        "sample", forms.SAMPLE, endpoint=f" {HERE} ", policy_there="their-model", mix="a, b c"
    )
    launch_from_form(site, "sample", forms.SAMPLE, asked)
    ((_, arguments, config),) = started
    assert (config["endpoint"], config["policy"]) == (HERE, "their-model")
    assert config["mix"] == ["a", "b c"]
    at = arguments.index("--mix")
    assert arguments[at + 1 : at + 3] == ["a", "b c"] and arguments[at + 3].startswith("--")


def test_a_reward_model_is_trained_as_the_form_says(site: Site, started: Any) -> None:
    add_comparisons(site.store, add_person(site.store, "ann"), 20)
    asked = values("reward", forms.REWARD, scalar="gaussian", effects=False, tuning="head")
    launch_from_form(site, "reward", forms.REWARD, asked)
    ((_, arguments, config),) = started
    assert (config["objective"], config["scalar"], config["tuning"]) == (
        "joint",
        "gaussian",
        "head",
    )
    assert config["effects"] is False and "--no-effects" in arguments


def test_too_few_judgements_are_named(site: Site, started: Any) -> None:
    add_comparisons(site.store, add_person(site.store, "ann"), 7)
    with pytest.raises(ValueError, match=r"^7 judgements are .* joint: 13 more are needed.* rate$"):
        jobs.start(site, "reward")
    with pytest.raises(ValueError, match=r"^7 comparisons .* 13 more are needed"):
        jobs.start(site, "reward", objective="bradley_terry")


def test_judgements_of_all_kinds_count_together() -> None:
    some = {"pairwise": 8, "scalar": 7, "binary": 5}
    assert jobs.missing_judgements(some, "joint") == ""
    said = jobs.missing_judgements(some, "binary")
    assert said.startswith("5 good-or-bad judgements are too few") and "15 more" in said
    assert said.endswith("or choose objective joint")
    assert "1 more" in jobs.missing_judgements({**some, "binary": 4}, "joint")


def test_all_kinds_count_on_the_home_page(site: Site) -> None:
    ann = add_person(site.store, "ann")
    add_comparisons(site.store, ann, 3)
    add_tasks(site.store, "binary", 5)
    for _ in range(5):
        task = actions.look(site.store, ann).tasks[0]
        actions.submit(site.store, ann, task.assignment_id, Answer("good"), task.token)
    step = next_step(snapshot.facts_of(snapshot.take(site)))
    assert step.title == "12 more judgements needed for a reward model."


def test_one_run_of_a_kind_at_a_time(site: Site, started: Any) -> None:
    demonstrate(site)
    site.store.runs.add("sft-old", "sft", {})
    with pytest.raises(ValueError, match="running already"):
        jobs.start(site, "sft")
    assert started == []


def test_only_a_stopped_grpo_run_resumes(site: Site, started: Any) -> None:
    run_id = runs.new_run(site.store, site.workspace, "grpo", {})
    with pytest.raises(ValueError, match="only a stopped or died run"):
        jobs.resume(site, run_id)
    site.store.runs.end(run_id, "stopped", "")
    jobs.resume(site, run_id)
    assert started[0][2]["resume"] == run_id
    with pytest.raises(ValueError, match="no GRPO run"):
        jobs.resume(site, "nope")


def test_what_a_stop_means_is_said_while_it_lasts(site: Site) -> None:
    site.store.runs.add("reward-1", "reward", {})
    live = Live(site)
    with gr.Blocks():
        stop_button(live, "reward-stop", lambda now, _: now.find("reward-1"))

    def shown() -> tuple[bool, str]:
        now = snapshot.take(site)
        button, notice = (part.make(now, {}).draw() for part in live._parts)
        return button["visible"], notice

    assert shown() == (True, "")
    jobs.stop(site, "reward-1")
    assert not shown()[0] and "nothing of this model is kept" in shown()[1]
    site.store.runs.end("reward-1", "stopped", "stopped as asked")
    assert shown() == (False, "")


def test_stop_asks_the_run(site: Site) -> None:
    site.store.runs.add("grpo-1", "grpo", {})
    jobs.stop(site, "grpo-1")
    run = site.store.runs.get("grpo-1")
    assert run is not None and run.stop_requested
    with pytest.raises(ValueError, match="choose a run"):
        jobs.stop(site, "")


def test_a_new_project_says_what_comes_first(site: Site) -> None:
    now = snapshot.take(site)
    assert next_step(snapshot.facts_of(now)).goal == "data"
    pages = (
        home.flow_html(now) + home.running_html(now) + home.people_html(now) + home.runs_html(now)
    )
    for words in ("none trained yet", "Nothing has been run yet", "Nobody yet"):
        assert words in pages


REWARD_REPORT = {
    "summary": "71% right",
    "judgements": {"pairwise": 120},
    "held_out": {
        "accuracy": {"value": 0.71, "low": 0.66, "high": 0.75, "n": 184},
        "spearman": None,
        "baselines": {"longer": {"value": 0.58, "low": 0.5, "high": 0.65, "n": 184}},
    },
    "dropped": {"ties": 0, "empty": 2},
}


def test_accuracy_stands_beside_its_baseline(site: Site) -> None:
    ended_run(site, "reward", REWARD_REPORT)
    now = snapshot.take(site)
    flow = home.flow_html(now)
    assert "71%" in flow and "[66, 75], n 184" in flow and "always the longer: 58%" in flow
    assert not snapshot.facts_of(now).loses
    ended_run(site, "reward", {**REWARD_REPORT, "verdict": "loses"})
    assert snapshot.facts_of(snapshot.take(site)).loses


def test_a_receipt_is_framed_once_its_run_has_finished(site: Site) -> None:
    run_id = runs.new_run(site.store, site.workspace, "reward", {})
    for name in ("receipt.html", "README.md"):
        (site.folder(run_id) / name).write_text("<p>71% right")
    now = snapshot.take(site)
    assert home.receipt_frame(now, now.runs[0]) == ""
    site.store.runs.end(run_id, "finished", "")
    now = snapshot.take(site)
    shown = home.receipt_frame(now, now.newest("reward"))
    assert f'src="../receipts/{run_id}/receipt.html"' in shown
    assert f'href="../receipts/{run_id}/README.md"' in shown and "receipt.json" not in shown
    assert f"export --workspace {site.workspace} --run {run_id} --out" in shown
    assert home.receipt_frame(now, None) == ""


@pytest.mark.parametrize("n", [0, 3, 19])
def test_a_small_n_is_no_figure(n: int) -> None:
    assert "not enough data yet" in home.ShownShare(1.0, 0.3, 1.0, n).percent
    assert "not enough data yet" in home.ShownShare().percent
    assert home.ShownShare(0.71, 0.66, 0.75, 184).percent == "71% [66, 75], n 184"


def test_reports_may_lack_anything(site: Site) -> None:
    for report in ({}, {"summary": "x"}, {"held_out": None}, {"held_out": {"accuracy": None}}):
        home.compare_html(report)
        run_id = ended_run(site, "reward", report)
        assert run_id in home.runs_html(snapshot.take(site))
        home.flow_html(snapshot.take(site))


def test_a_broken_report_breaks_no_page(site: Site) -> None:
    run_id = ended_run(site, "compare", {})
    (site.folder(run_id) / "report.json").write_text("{ not json")
    assert "Policy" in home.flow_html(snapshot.take(site))


def test_the_winner_and_its_interval(site: Site) -> None:
    grpo = ended_run(site, "grpo", {})
    report = {
        "win_rates": {"reward": {"value": 0.64, "low": 0.57, "high": 0.71, "n": 96}},
        "rows": [
            {"measure": "reward", "reference": 0.0, "policy": 1.2, "difference": 1.2,
             "low": 1.0, "high": 1.4, "n": 96}
        ],
    }  # fmt: skip
    ended_run(site, "compare", report, policy=grpo)
    now = snapshot.take(site)
    assert "64%" in home.flow_html(now) and "[57, 71], n 96" in home.flow_html(now)
    assert "[1.00, 1.40]" in home.compare_html(report)
    assert snapshot.facts_of(now).compared


def test_a_failed_run_shows_its_last_words(site: Site) -> None:
    run_id = runs.new_run(site.store, site.workspace, "sft", {})
    (site.folder(run_id) / "log.txt").write_text("out of <memory>\n")
    site.store.runs.end(run_id, "failed", "no memory")
    now = snapshot.take(site)
    card = home.run_card(now, now.runs[0], "")
    assert "failed" in card and "no memory" in card and "out of &lt;memory&gt;" in card


def test_progress_tells_how_far_and_how_long(site: Site) -> None:
    site.store.runs.add("grpo-1", "grpo", {})
    site.store.runs.update("grpo-1", status="running", done=14, total=40, message="step 14")
    run = site.store.runs.get("grpo-1")
    assert run is not None
    html = home.progress_html(run)
    assert "14 of 40" in html and "left" in html and 'aria-valuenow="35"' in html


def test_a_stage_without_a_count_shows_no_share(site: Site) -> None:
    site.store.runs.add("reward-1", "reward", {})
    site.store.runs.update(
        "reward-1", status="running", done=0, total=1, message="cross-validating"
    )
    run = site.store.runs.get("reward-1")
    assert run is not None
    html = home.progress_html(run)
    assert "busy" in html and "cross-validating" in html and "0 of 1" not in html
    site.store.runs.update("reward-1", done=3, total=400, message="reading 400 completions")
    run = site.store.runs.get("reward-1")
    assert run is not None
    html = home.progress_html(run)
    assert "3 of 400" in html and "left" not in html  # the stages before it took the time


def test_the_loss_takes_whatever_lines_there_are() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": None},
        {"step": 3, "validation_loss": 1.5},
        {},
    ]
    assert [list(line.x) for line in charts.loss_chart(rows).data] == [[1], [3]]
    assert len(charts.loss_chart([]).data[0].x) == 0


def test_the_models_of_an_ensemble_are_apart_in_the_chart() -> None:
    rows = [{"step": step, "loss": 1.0} for step in (1, 2, 1, 2)]
    assert list(charts.loss_chart(rows).data[0].x) == [1, 2, None, 1, 2]


def test_people_are_added_with_a_link(site: Site) -> None:
    shown, said = data_tab.add_person(site, "http://here", "bob", "annotator")
    assert shown["value"].startswith("http://here/welcome?token=")
    assert "bob was added" in said
    again, said = data_tab.add_person(site, "http://here", "bob", "annotator")
    assert again["value"] != shown["value"] and "set a new password" in said
    assert "role" in data_tab.add_person(site, "", "eve", "admin")[1]
    assert "not allowed" in data_tab.add_person(site, "", None, "lead")[1]


@pytest.fixture
def imported(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the page says of a file that was sent, its child process run in this one."""

    def launch(store: Store, workspace: Path, kind: str, words: list[str], config: Any) -> str:
        run_id = runs.new_run(store, workspace, kind, config, alone=True)
        command(words[0], *words[1:], "--run-id", run_id)
        return run_id

    def said(name: str, text: str = "", who: object = None, details: str = "") -> str:
        (site.workspace / name).write_text(text)
        refused = data_tab.import_sent(site, str(site.workspace / name), who, details)
        return refused or data_tab.import_html(snapshot.take(site))

    monkeypatch.setattr(runs, "launch", launch)
    return said


def test_import_names_the_bad_line(site: Site, imported: Callable[..., str]) -> None:
    assert data_tab.import_html(snapshot.take(site)) == ""
    ok = '{"type": "prompt", "prompt": "ok?"}\n'
    said = imported("bad.jsonl", ok + '{"type": "prompt", "prompt": ""}\n')
    assert "Nothing was imported: bad.jsonl:2: " in said
    assert site.store.content.counts().prompts == 0
    assert str(site.workspace) not in said
    assert "1 new" in imported("good one.jsonl", ok)
    assert "No file" in data_tab.import_sent(site, None)
    named = '{"type": "completion", "prompt": "ok?", "completion": "I am ChatGPT."}\n'
    assert "1 completion names its maker" in imported("named.jsonl", named)
    assert list((site.workspace / "incoming").iterdir()) == []


def test_an_import_can_be_watched_and_stopped(site: Site) -> None:
    run_id = runs.new_run(site.store, site.workspace, "import", {"file": "x.jsonl"})
    site.store.runs.update(run_id, status="running", message="12,000 rows read")
    html = data_tab.import_html(snapshot.take(site))
    assert "x.jsonl" in html and "12,000 rows read" in html
    with pytest.raises(ValueError, match="going on already"):
        (site.workspace / "y.jsonl").write_text("{}")
        jobs.start_import(site, site.workspace / "y.jsonl")
    assert list((site.workspace / "incoming").iterdir()) == []
    jobs.stop(site, run_id)
    assert command("data", "import", "none", "--workspace", site.workspace).returncode == 2


def test_an_import_that_is_asked_to_stop_keeps_nothing(
    site: Site, imported: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.Recorder, "stop_requested", True)
    assert "stopped" in imported("in.jsonl", '{"type": "prompt", "prompt": "ok?"}\n')
    assert site.store.content.counts().prompts == 0


def test_what_was_sent_for_an_import_that_died_is_removed(site: Site) -> None:
    (site.workspace / "in.jsonl").write_text("x")
    runs.take_in(site.workspace, site.workspace / "in.jsonl")
    add_content(site.store, [make_prompt("Hello?")])
    site.store.runs.add("sample-1", "sample", {})
    prepare(site)
    assert not (site.workspace / "incoming").exists()
    assert (site.workspace / "in.jsonl").exists()


def test_exports_are_offered_in_every_format(site: Site) -> None:
    said = data_tab.export(site, "trl-preference")
    assert "href" not in said and "No pairwise judgements" in said
    add_comparisons(site.store, add_person(site.store, "ann"), 3)
    said = data_tab.export(site, "trl-preference")
    assert "Ready to download: " in said and "../exports/coach-trl-preference.zip" in said
    with zipfile.ZipFile(site.workspace / "exports" / "coach-trl-preference.zip") as packed:
        names = packed.namelist()
    assert {"coach-trl-preference/README.md", "coach-trl-preference/manifest.json"} < set(names)
    said = data_tab.export(site, "exchange")
    assert "../exports/coach.jsonl" in said and "3 judgement" in said
    for wrong in ("../../etc", ["exchange"], None):
        said = data_tab.export(site, wrong)
        assert "href" not in said and "unknown: use exchange" in said
    assert sorted(data_tab.EXPORTS.values()) == sorted(FORMATS)


def test_import_takes_other_files_and_a_name(site: Site, imported: Callable[..., str]) -> None:
    sent = "in.csv", "prompt,completion,label\nq,x,true\n"
    assert "in.csv:2: nobody is named who judged: say who judged" in imported(*sent)
    assert "as TRL unpaired preference, CSV" in imported(*sent, " ann ")
    assert site.store.ledger.by_annotator()["ann"] == 1


def test_what_else_a_file_does_not_say_is_said_beside_it(
    site: Site, imported: Callable[..., str]
) -> None:
    sent = (
        "in.jsonl",
        '{"type": "judgement", "kind": "scalar", "prompt": "q", "completion": "x",'
        ' "value": 5, "annotator": "Jose"}\n',
        "",
    )
    said = imported(*sent, "--scale 1..5 --people Jose=José")
    assert "1 judgement lines, 1 new" in said
    (judged,) = site.store.ledger.judgements()
    assert (judged.answer.value, judged.annotator) == ("10", "José")
    for words, remedy in (
        ("--scale five", "write WORST..BEST"),
        ("--people Jose", "write NAME=NEW"),
        ("--skip-bad /etc/x", "not understood: write settings of coach import"),
        ("'", "not understood"),
        ("--tyro-write-completion bash " + str(site.workspace / "written"), "not understood"),
        ("--", "not understood"),
    ):
        assert remedy in imported(*sent, words)


def test_guidelines_get_versions(site: Site) -> None:
    assert "Version 1" in data_tab.save_guidelines(site, "Be kind.")
    assert "Version 2" in data_tab.save_guidelines(site, "Be kinder.")
    assert "no text" in data_tab.save_guidelines(site, " ")


def test_help_is_the_settings_own() -> None:
    assert "alpha / rank" in forms.field_help(jobs.DEFAULTS["sft"].lora.__class__, "alpha")
    for kind, choices in (
        *(("grpo", forms.GRPO), ("reward", forms.REWARD), ("sft", forms.SFT)),
        ("pretrain", forms.PRETRAIN),
    ):
        for choice in choices:
            owner, name = forms._settings_of(kind, choice.path)
            assert forms.field_help(type(owner), name)
    with pytest.raises(KeyError):
        forms.field_help(SftSettings, "nope")
    assert RewardSettings().objective and PolicySettings().steps


def test_figures_in_words() -> None:
    assert (plain_number(1234), plain_number(0.5), plain_number(None), plain_number(True)) == (
        "1,234",
        "0.50",
        "–",
        "–",
    )


def test_open_tasks_are_counted(site: Site) -> None:
    add_tasks(site.store, "scalar", 3)
    assert "Judgements still wanted</td><td>3" in home.data_html(snapshot.take(site))
