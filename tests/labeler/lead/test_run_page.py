"""The page of a GRPO run: what it says of the run's files, whole, missing, old or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data import runs
from data.runs import files, samples_of
from data.store.run_rows import Run
from grpo.config import PolicySettings
from labeler.jobs import Site
from labeler.lead import forms, grpo_tab, snapshot
from labeler.lead.live import Live
from labeler.lead.views import grpo_charts, grpo_run, home
from labeler.lead.views.grpo_charts import ChartInputs
from labeler.rendering import short
from tests.support.grpo_run import BASELINE, HOSTILE, check, preflight, sample, step, verdict, write
from tests.support.labeler_helpers import open_store


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(open_store(tmp_path), tmp_path, "smollm2-135m")


@pytest.fixture
def run(site: Site) -> Run:
    runs.new_run(site.store, site.workspace, "grpo", {"kl_target": 6.0})
    return site.store.runs.list("grpo")[0]


def test_the_worst_comes_first_with_its_number_and_what_to_type(run: Run) -> None:
    change = {"kl_weight": 0.08, "sampling.max_new_tokens": 160, "missing": False}
    html = grpo_run.diagnosis_html(
        run,
        [
            verdict("all-well", "fine"),
            verdict("truncation", "watch", metric="truncated", value=0.4, threshold=0.15),
            verdict("kl-runaway", "stop", change=change, samples=[sample(3, completion="Ha ha.")]),
        ],
        7,
    )
    places = [html.index(f"This is {name}.") for name in ("kl-runaway", "truncation", "all-well")]
    assert places == sorted(places)
    assert "KL, nats per answer <b>9.4</b>, threshold 6 · since step 3 · Ziegler 2019" in html
    for typed in ("--kl-weight 0.08", "--sampling.max-new-tokens 160", "--no-missing"):
        assert f"<code>{typed}</code>" in html
    or_earlier = grpo_run.diagnosis_html(run, [verdict("kl", "stop", or_earlier=True)], 7)
    assert "at least since step 3" in or_earlier and "at least" not in html
    assert "at step 7" in html and "Show 1 answer that it rests on" in html and "Ha ha." in html
    assert html.count("Do this.") == 2  # nothing is to be done about what is fine


def test_verdicts_of_older_runs_still_show(site: Site, run: Run) -> None:
    old = [{"level": "watch", "text": "KL is flat."}, {"level": "odd", "text": "What?"}, "no"]
    write(site.folder(run.id), report={"verdicts": old}, metrics=[step(1)])
    found = snapshot.take(site).verdicts(run)
    assert len(found) == 2
    html = grpo_run.diagnosis_html(run, found, 1)
    assert "KL is flat." in html and "What?" in html and "threshold" not in html
    write(site.folder(run.id), verdicts=[verdict("new", "fine")])
    assert [v["name"] for v in snapshot.take(site).verdicts(run)] == ["new"]


def test_nothing_is_said_too_early(run: Run) -> None:
    assert grpo_run.diagnosis_html(run, [], 0) == ""
    assert grpo_run.diagnosis_html(None, [], 4) == ""
    assert "Too few steps" in grpo_run.diagnosis_html(run, [], 4)


def test_checks_are_one_line_unless_one_wants_a_look(run: Run) -> None:
    passed = grpo_run.preflight_html(run, preflight(check("Trains"), check("Same reference")))
    assert "2 checks passed" in passed and "<details" in passed and " open" not in passed
    assert "about 12.6 s a step · 8 min in all · 2.13 GiB of memory" in passed
    bad = preflight(check("Trains"), check("Spread", "warn"), check("KL", "fail"))
    shown = grpo_run.preflight_html(run, bad)
    assert "1 failed, 1 to look at, 1 passed" in shown and " open>" in shown
    assert shown.index("KL") < shown.index("Spread") < shown.index("Trains")
    assert shown.count("Collect more.") == 2
    assert grpo_run.preflight_html(run, {}) == grpo_run.preflight_html(None, bad) == ""


def test_a_run_that_failed_its_checks_says_so(site: Site, run: Run) -> None:
    write(site.folder(run.id), preflight=preflight(check("KL at the start", "fail")))
    site.store.runs.end(run.id, "failed", "preflight: KL at the start is 0.3")
    now = snapshot.take(site)
    ended = now.runs[0]
    assert "preflight: KL at the start is 0.3" in home.run_card(now, ended, "")
    assert "1 check failed" in grpo_run.preflight_html(ended, now.preflight(ended))
    assert not now.has_checkpoint(ended)


def test_completions_stand_by_prompt_the_best_first(run: Run) -> None:
    rows = [
        sample(5, completion="bad", reward=-1.0, advantage=-1.2),
        sample(5, completion="good", reward=2.0, advantage=1.2),
        sample(5, "Who?\nSay more.", completion="flat", advantage=0.0, dropped=True),
        sample(5, "Who?\nSay more.", completion="long", advantage=0.0, finished=False),
    ]
    html = grpo_run.step_html(run, rows)
    assert "Answers of step 5" in html and html.index("good") < html.index("bad")
    assert html.count('class="group"') == 2 and "2 answers · mean reward 0.50" in html
    assert "dropped</span>" in html and "cut off" in html and "2.00</b> ± 0.20" in html
    assert 'advantage down"><i style="left:0.0%;width:50.0%"' in html
    assert grpo_run.step_html(run, []) == grpo_run.step_html(None, rows) == ""


def test_a_step_of_thousands_shows_some_and_counts_the_rest(run: Run) -> None:
    rows = [sample(1, f"Question {n // 40}?") for n in range(40 * 30)]
    html = grpo_run.step_html(run, rows)
    assert html.count('class="drawn"') == grpo_run.MOST_GROUPS * grpo_run.MOST_ANSWERS
    assert "(6 more prompts)" in html and "(8 more answers)" in html


def test_hostile_words_are_only_read(run: Run) -> None:
    everything = verdict(HOSTILE, HOSTILE, text=HOSTILE, metric=HOSTILE, source=HOSTILE)
    everything |= {"action": HOSTILE, "change": {HOSTILE: HOSTILE}, "value": HOSTILE}
    bad = sample(1, HOSTILE, completion=HOSTILE, reward=HOSTILE, advantage=HOSTILE, sd=HOSTILE)
    everything |= {"samples": [bad, "no"], "step": HOSTILE, "threshold": HOSTILE}
    html = grpo_run.diagnosis_html(run, [everything], 1)
    checks = [check(HOSTILE, HOSTILE, value=HOSTILE, need=HOSTILE, remedy=HOSTILE)]
    html += grpo_run.preflight_html(run, {"checks": checks, "memory_gib": HOSTILE})
    html += grpo_run.step_html(run, [bad, bad | {"prompt": [{"role": HOSTILE}]}])
    html += grpo_run.samples_html([{"prompt": HOSTILE, "before": HOSTILE}], "Before", "After")
    assert "<img" not in html and "<script" not in html and "alert(1)" in html


@pytest.mark.parametrize("text", ["", "[1", '{"checks": 3}', "[]", "null", '{"checks": [4]}'])
def test_half_written_files_break_no_page(site: Site, run: Run, text: str) -> None:
    for name in ("preflight.json", "verdicts.json", "report.json", "samples.jsonl"):
        (site.folder(run.id) / name).write_text(text)
    now = snapshot.take(site)
    assert grpo_run.preflight_html(run, now.preflight(run)) == ""
    assert now.verdicts(run) == [] and now.samples(run) == []


def test_metrics_are_read_again_only_when_they_grow(site: Site, run: Run) -> None:
    now = snapshot.take(site)
    assert now.metrics(run) == now.metrics(None) == []
    write(site.folder(run.id), metrics=[step(1)])
    first = now.metrics(run)
    assert now.metrics(run) is first
    write(site.folder(run.id), metrics=[step(2)])
    assert [row["step"] for row in now.metrics(run)] == [1, 2]


@pytest.mark.parametrize("wide", [1, 300])
def test_a_step_is_found_without_reading_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: int
) -> None:
    steps = [n for n in range(1, 2001) if n % 7 for _ in range(n % 3 + 1)]
    rows = [sample(n, completion="é" * (n % wide)) for n in steps]
    write(tmp_path, samples=rows)
    read: list[object] = []
    whole = json.loads
    monkeypatch.setattr(files.json, "loads", lambda line: read.append(line) or whole(line))
    for n in (1, 2, 6, 999, 1998):
        read.clear()
        assert samples_of(tmp_path, n) == [row for row in rows if row["step"] == n]
        assert len(read) < 60
    assert samples_of(tmp_path, 7) == samples_of(tmp_path, 6)
    assert samples_of(tmp_path, 0) == []
    assert samples_of(tmp_path) == samples_of(tmp_path, 9999) == rows[-steps.count(2000) :]
    with (tmp_path / "samples.jsonl").open("a") as stream:
        stream.write('{"step": 2001, "prompt": "Wh')
    assert samples_of(tmp_path)[-1]["step"] == 2000
    assert samples_of(tmp_path / "nowhere") == []


def told(*rows: dict[str, Any], **config: Any) -> ChartInputs:
    return ChartInputs(rows, config, BASELINE)


def test_charts_tell_the_spreads_and_the_units_apart() -> None:
    rows = (step(1), step(2, model_reward=0.9))
    reward = grpo_charts.reward_chart(told(*rows))
    names = ["of all answers", "within a group", "mean", "reward model"]
    assert [line.name for line in reward.data] == names
    assert len(grpo_charts.reward_chart(told(step(1))).data) == 3
    kl = grpo_charts.kl_chart(told(*rows, kl_target=6.0))
    assert "1 nats an answer, 0.02 a token" in kl.layout.title.text
    assert list(kl.data[0].customdata) == [0.01, 0.02] and kl.layout.shapes[0].y0 == 6.0


def test_the_entropy_target_is_a_share_of_the_start() -> None:
    chart = grpo_charts.entropy_chart(told(step(1), entropy_target=0.5))
    assert [shape.y0 for shape in chart.layout.shapes] == [1.3, 0.65]
    assert not grpo_charts.entropy_chart(ChartInputs([step(1)], {}, {})).layout.shapes


def test_a_verdict_is_marked_in_the_chart_of_its_metric() -> None:
    verdicts = [verdict("a", "stop", metric="grad_norm", step=4), verdict("b", "fine"), {}]
    reading = ChartInputs([step(1)], {}, {}, verdicts)
    marked = [len(grpo_charts.drawn(chart, reading).layout.shapes) for chart in grpo_charts.MAIN]
    assert marked == [0, 0, 0, 1]


def test_charts_take_whatever_lines_there_are() -> None:
    rows: list[dict[str, Any]] = [{}, {"step": 1}, step(2, kl=None, reward_mean=float("nan"))]
    for chart in (*grpo_charts.MAIN, *grpo_charts.MORE):
        grpo_charts.drawn(chart, ChartInputs(rows, {"kl_target": "x"}, {"entropy": "y"}, [{}]))
    clipped = grpo_charts.MORE[-1]
    assert not grpo_charts.has_data(clipped, rows)
    assert grpo_charts.has_data(clipped, [step(1, clip_ratio=0.1)])


def test_the_step_shown_can_be_chosen_and_walked(site: Site, run: Run) -> None:
    write(site.folder(run.id), metrics=[step(1), step(2), step(4)])
    live = Live(site)
    live._names = ["grpo", grpo_tab.STEP]

    def walk(shown: str, way: int) -> str:
        return grpo_tab.neighbour_step(live, [run.id, shown], way)

    assert [walk("", -1), walk("2", -1), walk("1", -1)] == ["2", "1", "1"]
    assert [walk("1", 1), walk("3", 1), walk("4", 1), walk("x", 1)] == ["2", "4", "", ""]
    assert grpo_tab.chosen_step({grpo_tab.STEP: "1,200"}) == 1200
    for typed in ("", "newest", "-1", "1.5", "9" * 30):
        assert grpo_tab.chosen_step({grpo_tab.STEP: typed}) is None


def test_rare_choices_stand_in_a_fold_and_count(site: Site) -> None:
    import gradio as gr

    with gr.Blocks():
        made = forms.fields("grpo", forms.GRPO)
    inside = [isinstance(field.parent.parent, gr.Accordion) for field in made]
    assert inside == [bool(choice.group) for choice in forms.GRPO]
    values = [getattr(field, "value", None) for field in made]
    asked = forms.chosen(site, "grpo", forms.GRPO, values)
    assert PolicySettings(**asked) == PolicySettings()


def test_numbers_of_any_size_are_short() -> None:
    values = (0.00001234, 0.5, 9.4, 1234.5, None, True, "x")
    assert [short(v) for v in values] == ["1.23e-05", "0.5", "9.4", "1,234", "–", "–", "–"]
