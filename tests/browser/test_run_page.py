"""The page of a GRPO run in a real browser, on a run's folder that grows under its eyes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from data import Store, runs
from tests.support.browser import Server, needs_chromium, open_grpo, sign_in, violations
from tests.support.grpo_run import HOSTILE, check, preflight, sample, step, verdict, write
from tests.support.labeler_helpers import add_person, add_tasks

pytestmark = needs_chromium
ALL_CHARTS_FIT = """() => {
  const charts = [...document.querySelectorAll(".js-plotly-plot")].filter((c) => c.offsetWidth);
  const width = (chart) => Number(chart.querySelector(".main-svg").getAttribute("width"));
  return charts.length > 4 && charts.every((c) => Math.abs(width(c) - c.offsetWidth) < 2);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("run")
    with Store.open(workspace) as store:
        add_tasks(store, "binary", 1)
        add_person(store, "lena", "lead")
    running = Server(workspace)
    running.start()
    yield running
    running.kill()


def test_a_run_is_followed_live(page: Any, server: Server) -> None:
    with Store.open(server.workspace) as store:
        run_id = runs.new_run(store, server.workspace, "grpo", {"kl_target": 6.0})
        ahead = "2999-01-01T00:00:00+00:00"  # no process is behind it: it lives by its heartbeat
        store.runs.update(run_id, status="running", heartbeat=ahead, done=3, total=40)
    folder = runs.runs_folder(server.workspace) / run_id
    drawn = [sample(n, "Why?", completion=f"Said at {n}.") for n in (1, 2, 3) for _ in range(4)]
    found = [verdict("kl-runaway", "watch", samples=[sample(3, completion=HOSTILE)])]
    checks = preflight(check("Trains"), check("Spread of rewards", "warn"))
    lines = [step(n) for n in (1, 2, 3)]
    write(folder, metrics=lines, samples=drawn, verdicts=found, preflight=checks)
    sign_in(page, server, "lena")
    open_grpo(page)
    page.wait_for_selector(f"#grpo-run >> text={run_id}")
    page.wait_for_selector("#grpo-preflight >> text=Collect more.")
    page.click("#grpo-verdicts summary")
    page.wait_for_selector("#grpo-verdicts .pair >> text=alert(1)")
    page.click("#step-earlier")
    page.wait_for_selector("#grpo-drawn >> text=Said at 2.")
    worse = [verdict("kl-runaway", "stop", samples=found[0]["samples"], text="KL ran off.")]
    write(folder, metrics=[step(4)], samples=[sample(4)], verdicts=worse)
    page.wait_for_selector("#grpo-verdicts >> text=KL ran off.")
    page.wait_for_selector("#grpo-verdicts >> text=at step 4")
    assert page.is_visible("#grpo-verdicts .pair")  # what was unfolded stays so
    assert page.is_visible("#grpo-drawn >> text=Said at 2.")
    page.click("text=More curves")
    page.wait_for_selector("#more-curves .js-plotly-plot:visible")
    page.click("role=tab[name='Home']")  # charts that are fed while nobody sees them
    write(folder, metrics=[step(5), step(6)])
    page.click("role=tab[name='Policy']")
    page.wait_for_selector("#grpo-verdicts >> text=at step 6")
    page.wait_for_function(ALL_CHARTS_FIT)
    page.click("#grpo-advanced >> text=Advanced")
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    page.wait_for_function(ALL_CHARTS_FIT)
    with Store.open(server.workspace) as store:
        store.runs.end(run_id, "stopped", "")
