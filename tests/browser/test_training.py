"""The lead's path in a real browser: every button trains something, on the tiny model.

A first start on an empty workspace, sampling while the page is used, then SFT, a reward model,
GRPO with its charts, a stop and a resume, and the comparison.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from data import Store, runs
from data.schema import Document
from data.simulated_annotators import simulate
from data.store.run_rows import Run
from tests.support.browser import Server, needs_chromium, open_grpo, sign_in
from tests.support.content import add_content
from tests.support.labeler_helpers import PASSWORD

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.support.tiny import make_tiny

    model = make_tiny(tmp_path_factory.mktemp("tiny") / "model", terse=True)
    running = Server(tmp_path_factory.mktemp("first"), "--model", str(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        running.start()
    yield running
    if running.process.poll() is None:
        running.kill()
    with Store.open(running.workspace) as store:
        for run in store.runs.list():
            if run.live and run.pid:
                os.killpg(run.pid, signal.SIGKILL)


def newest(server: Server, kind: str) -> Run:
    with Store.open(server.workspace) as store:
        return store.runs.list(kind)[0]


def wait_until(server: Server, kind: str, status: str = "finished") -> Run:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        run = newest(server, kind)
        if run.status == status:
            return run
        folder = runs.runs_folder(server.workspace) / run.id
        assert run.live or status == run.status, runs.log_tail(folder, 30)
        time.sleep(0.2)
    raise AssertionError(f"{kind} did not become {status}")


def started(page: Any, kind: str) -> None:
    page.click(f"#start-{kind}")
    page.wait_for_selector(f"#{kind}-notice [role=status]")


def fill(page: Any, name: str, value: str) -> None:
    page.fill(f"#{name} input", value)


def test_1_the_page_is_usable_while_completions_are_sampled(page: Any, server: Server) -> None:
    assert "importing the starter prompts" in server.said
    assert newest(server, "sample").kind == "sample"
    link = re.search(r"http://\S+/welcome\?token=\S+", server.said)
    assert link
    page.goto(link[0])
    page.fill("[name=name]", "lena")
    page.fill("[name=password]", PASSWORD)
    page.click("text=Set password")
    page.wait_for_selector("#flow .node")
    page.goto(f"{server.url}/label/")
    page.wait_for_selector("#task", timeout=90_000)
    assert newest(server, "sample").status in ("running", "finished")


def test_2_fine_tune_from_the_browser(page: Any, server: Server) -> None:
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='Policy']")
    fill(page, "sft-epochs", "1")
    started(page, "sft")
    page.goto("about:blank")  # one need not stay: an open page costs processor time
    run = wait_until(server, "sft")
    page.goto(f"{server.url}/lead/")
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='Policy']")
    page.wait_for_selector(f"#sft-run >> text={run.id}")
    page.wait_for_selector("#sft-run >> text=Fine-tuned on 163 demonstrations")


def test_2b_pretrain_on_documents_to_fine_tune_on_top(page: Any, server: Server) -> None:
    with Store.open(server.workspace) as store:
        add_content(store, [Document(f"Bread number {i} rises at dusk. " * 9) for i in range(40)])
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='Policy']")
    page.click("role=tab[name='Pretrain']")
    page.wait_for_selector("#pretrain-lora-rank")
    page.click("#pretrain-tuning label:has-text('full')")
    for name in ("rank", "alpha", "targets", "dropout"):
        page.wait_for_selector(f"#pretrain-lora-{name}", state="hidden")
    fill(page, "pretrain-max-tokens", "64")
    started(page, "pretrain")
    run = wait_until(server, "pretrain")
    assert (run.config["tuning"], run.config["max_tokens"]) == ("full", 64)
    page.wait_for_selector("#pretrain-run >> text=Pretrained on")
    page.wait_for_selector("#tab-pretrain .js-plotly-plot")
    page.click("role=tab[name='Fine-tune']")
    page.click("#sft-model input")
    page.click(f"role=option[name='{run.id}']")
    assert page.input_value("#sft-model input") == run.id


def test_3_train_the_reward_model(page: Any, server: Server) -> None:
    wait_until(server, "sample")
    with Store.open(server.workspace) as store:
        assert simulate(store, 200, annotators=3) == 200
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='Reward model']")
    page.click("#reward-tuning label:has-text('head')")
    page.wait_for_selector("#reward-lora-rank", state="hidden")
    started(page, "reward")
    head = wait_until(server, "reward")
    assert (head.config["tuning"], head.config["objective"]) == ("head", "joint")
    _read_receipt(page, head.id)
    page.click("#reward-tuning label:has-text('LoRA')")
    fill(page, "reward-lora-rank", "4")
    fill(page, "reward-epochs", "200")
    started(page, "reward")
    page.wait_for_selector("#reward-run >> text=/training . \\d+ of/", timeout=60_000)
    page.wait_for_selector("#tab-reward .js-plotly-plot:visible")
    page.reload()
    page.click("role=tab[name='Reward model']")
    _read_receipt(page, head.id)  # the model before it, while this one trains
    page.click("#reward-stop")
    assert wait_until(server, "reward", "stopped").id != head.id
    _read_receipt(page, _copied(server, head))
    page.click("#pick-reward input")
    page.click(f"[role=option] >> text={head.id}")
    _read_receipt(page, head.id)


def _copied(server: Server, run: Run) -> str:
    """A newer reward model, which is this one."""
    with Store.open(server.workspace) as store:
        again = runs.new_run(store, server.workspace, run.kind, run.config)
        folder = runs.runs_folder(server.workspace)
        shutil.copytree(folder / run.id, folder / again, dirs_exist_ok=True)
        store.runs.end(again, "finished", run.message)
    return again


def _read_receipt(page: Any, run_id: str) -> None:
    """The receipt is there, in full height, and it is this run's."""
    page.wait_for_selector(f"#reward-receipt code >> text={run_id}")
    frame = page.wait_for_selector(f"#reward-receipt iframe[src*='{run_id}']")
    inside = frame.content_frame()
    inside.wait_for_selector("text=/baseline/i")
    page.wait_for_function(
        "f => f.contentDocument.documentElement.scrollHeight <= f.clientHeight", arg=frame
    )
    assert inside.locator("script").count() == 0


def test_4_launch_grpo_watch_stop_and_resume(page: Any, server: Server) -> None:
    sign_in(page, server, "lena")
    open_grpo(page)
    fill(page, "grpo-steps", "400")
    fill(page, "grpo-group-size", "4")
    fill(page, "grpo-learning-rate", "0.001")
    started(page, "grpo")
    page.wait_for_selector("#grpo-stop:visible", timeout=60_000)
    page.wait_for_selector("#tab-grpo .js-plotly-plot:visible", timeout=60_000)
    run = newest(server, "grpo")
    page.reload()  # in the middle of the run
    open_grpo(page)
    page.wait_for_selector("#grpo-preflight >> text=/\\d+ (checks )?passed/")
    page.wait_for_selector("#grpo-verdicts >> text=Diagnosis")
    page.wait_for_selector("#grpo-drawn >> text=/Answers of step \\d+/")
    page.wait_for_selector("#tab-grpo .js-plotly-plot:visible")
    page.click("#grpo-stop")
    wait_until(server, "grpo", "stopped")
    folder = runs.runs_folder(server.workspace) / run.id
    done = runs.metrics(folder)[-1]["step"]
    assert (folder / f"checkpoint-{done}").is_dir()
    page.wait_for_selector("#grpo-resume:visible")
    page.click("#grpo-resume")
    page.wait_for_selector("#grpo-resume-notice [role=status]")
    resumed = newest(server, "grpo")
    assert resumed.id != run.id and resumed.config["resume"] == run.id
    second = runs.runs_folder(server.workspace) / resumed.id
    deadline = time.monotonic() + 60
    while not runs.metrics(second) or runs.metrics(second)[-1]["step"] <= done:
        assert time.monotonic() < deadline, runs.log_tail(second)
        time.sleep(0.2)
    assert newest(server, "grpo").config["steps"] == 400
    page.wait_for_selector("#grpo-stop:visible")
    page.click("#grpo-stop")
    wait_until(server, "grpo", "stopped")


def test_5_a_finished_run_shows_before_and_after_and_is_compared(page: Any, server: Server) -> None:
    sign_in(page, server, "lena")
    open_grpo(page)
    fill(page, "grpo-steps", "3")
    fill(page, "grpo-group-size", "4")
    started(page, "grpo")
    wait_until(server, "grpo")
    page.wait_for_selector("#grpo-samples >> text=Before")
    page.wait_for_selector("#grpo-samples >> text=After")
    page.click("role=tab[name='Compare']")
    fill(page, "compare-limit", "12")
    started(page, "compare")
    wait_until(server, "compare")
    page.wait_for_selector("#compare-figures >> text=/KL to SFT/")
    page.click("role=tab[name='Home']")
    page.wait_for_selector("#flow .node")
