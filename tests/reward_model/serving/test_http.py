"""A reward model over HTTP: three shapes of request, one reward; a bad one gets one line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch

from data.ports import listen
from reward_model.__main__ import main
from reward_model.scoring.scorer import Scorer
from reward_model.serving import http
from reward_model.serving.batching import BatchingScorer
from reward_model.serving.http import LARGEST_BODY, MOST_TEXTS, serving
from tests.reward_model.serving.test_chat_text import CHAT, in_template
from tests.support.browser import free_port
from tests.support.commands import command
from tests.support.handmade import JUDGED

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
PROMPTS = ["What is good?", CHAT, "What is good?", "Why?"]
COMPLETIONS = ["A short one.", "\n\nDry.", "A short one", ""]
FINISHED = [True, True, False, False]


@pytest.fixture(scope="module")
def client(scorer):
    with serving(scorer, "reward-1") as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def post(client, route, body, status=200):
    answer = client.post(route, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


# --- right requests


def test_score_gives_what_the_scorer_gives(client, scorer):
    body = {"prompts": PROMPTS, "completions": COMPLETIONS, "finished": FINISHED}
    answer = post(client, "/score", body | {"return_std": True})
    rewards, std = scorer.score(PROMPTS, COMPLETIONS, FINISHED, return_std=True)
    assert answer["rewards"] == pytest.approx(rewards, abs=1e-5)
    assert answer["std"] == pytest.approx(std, rel=1e-4) and min(answer["std"]) > 0
    assert answer["model"] == "reward-1" and "standard deviation 1" in answer["unit"]
    assert len(set(answer["rewards"])) == 4
    assert "std" not in post(client, "/score", body)


def test_completions_are_finished_where_it_is_not_said(client, scorer):
    answer = post(client, "/score", {"prompts": ["Why?"], "completions": ["So."]})
    assert answer["rewards"] == pytest.approx(scorer.score(["Why?"], ["So."], [True]), abs=1e-5)
    assert answer["rewards"] != pytest.approx(scorer.score(["Why?"], ["So."], [False]), abs=1e-3)


def written(scorer, place):
    """A prompt and its completion as one text, as OpenRLHF and vLLM's clients write them."""
    prompt = PROMPTS[place]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    start = in_template(scorer.tokenizer, turns)
    end = scorer.tokenizer.eos_token if FINISHED[place] else ""
    return start, start + COMPLETIONS[place] + end


def test_classify_has_vllms_shape(client, scorer):
    texts = [written(scorer, i)[1] for i in range(4)]
    answer = post(client, "/classify", {"model": "reward-1", "input": texts, "user": "me"})
    assert answer.keys() == {"id", "object", "created", "model", "data", "usage"}
    assert answer["object"] == "list" and answer["id"].startswith("classify-")
    assert abs(answer["created"] - time.time()) < 60
    assert [row.keys() for row in answer["data"]] == [
        {"index", "label", "probs", "num_classes"}
    ] * 4
    assert [row["index"] for row in answer["data"]] == [0, 1, 2, 3]
    assert {(row["label"], row["num_classes"]) for row in answer["data"]} == {("reward", 1)}
    raw = scorer.raw(PROMPTS, COMPLETIONS, FINISHED)
    assert [row["probs"][0] for row in answer["data"]] == pytest.approx(raw, abs=1e-5)
    columns = zip(PROMPTS, COMPLETIONS, FINISHED, strict=True)
    tokens = sum(len(scorer.render(*row).ids) for row in columns)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == tokens


@pytest.mark.parametrize("place", range(4))
def test_classify_takes_every_kind_of_input(client, scorer, place):
    row = PROMPTS[place], COMPLETIONS[place], FINISHED[place]
    (raw,) = scorer.raw(*([column] for column in row))
    turns = [{"role": "user", "content": row[0]}] if isinstance(row[0], str) else row[0]
    whole = [*turns, {"role": "assistant", "content": row[1]}]
    _, text = written(scorer, place)
    pad = scorer.tokenizer.pad_token
    ids = scorer.render(*row).ids
    padding = [scorer.tokenizer.pad_token_id] * 3
    bodies = [
        {"input": text},
        {"input": pad + text + pad * 2},
        {"input": ids},
        {"input": [ids]},
        {"input": [*padding, *ids, *padding]},
        {"messages": whole, "continue_final_message": not row[2], "add_generation_prompt": False},
    ]
    if row[2]:  # as transformers writes a whole conversation: a line break follows end-of-turn
        shown = scorer.tokenizer.apply_chat_template(whole, tokenize=False)
        assert shown.endswith("<|im_end|>\n")
        both = scorer.tokenizer(shown, add_special_tokens=False)["input_ids"]
        bodies += [{"input": shown}, {"input": both}]
    for body in bodies:
        (data,) = post(client, "/classify", body)["data"]
        assert data["probs"] == pytest.approx([raw], abs=1e-5), body


def test_a_client_of_vllm_finds_the_model(client):
    (model,) = client.get("/v1/models").json()["data"]
    assert post(client, "/classify", {"model": model["id"], "messages": [
        {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
    ]})["model"] == model["id"]  # fmt: skip


@pytest.mark.parametrize("place", range(4))
def test_get_reward_reads_what_openrlhf_sends(client, scorer, place):
    """One sample a request, its tokens decoded with special ones kept."""
    row = PROMPTS[place], COMPLETIONS[place], FINISHED[place]
    reward = scorer.score(*([column] for column in row))
    prompt, _ = written(scorer, place)
    query = scorer.tokenizer.decode(scorer.render(*row).ids, skip_special_tokens=False)
    body = {"query": [query], "prompts": [prompt], "labels": [None]}
    answer = post(client, "/get_reward", body)
    assert answer["rewards"] == answer["scores"] == pytest.approx(reward, abs=1e-5)
    _, std = scorer.score(*([column] for column in row), return_std=True)
    assert answer["extra_logs"] == {"reward_sd": pytest.approx(std, rel=1e-4)}
    pad = scorer.tokenizer.pad_token
    for other in ({"query": [query]}, body | {"query": [pad * 4 + query + pad * 3]}):
        assert post(client, "/get_reward", other)["rewards"] == pytest.approx(reward, abs=1e-5)


def test_a_bare_prompt_is_put_into_the_template(client, scorer):
    body = {"query": ["What is good?A short one.<|im_end|>"], "prompts": ["What is good?"]}
    reward = scorer.score(["What is good?"], ["A short one."])
    assert post(client, "/get_reward", body)["rewards"] == pytest.approx(reward, abs=1e-5)


def test_what_is_too_long_is_cut_as_in_training(client, scorer):
    prompt, completion = "and so on " * 60, "A short one."
    reward = scorer.score([prompt], [completion])
    assert scorer.render(prompt, completion, True).truncated
    raw = scorer.raw([prompt], [completion])
    start = in_template(scorer.tokenizer, [{"role": "user", "content": prompt}])
    text = f"{start}{completion}<|im_end|>"
    ids = scorer.tokenizer(text, add_special_tokens=False)["input_ids"]
    asked = {"query": [text], "prompts": [start]}
    assert post(client, "/get_reward", asked)["rewards"] == pytest.approx(reward, abs=1e-5)
    for given in (text, ids):
        (data,) = post(client, "/classify", {"input": given})["data"]
        assert data["probs"] == pytest.approx(raw, abs=1e-5)


@pytest.mark.parametrize("ends", [True, False])
def test_thinking_is_left_out_as_in_training(client, scorer, ends):
    thought = "<think>\nHm.\n</think>\n\nSo." if ends else "<think>\nHm."
    (raw,) = scorer.raw(["Why?"], ["So." if ends else ""], [ends])
    turns = [{"role": "user", "content": "Why?"}]
    start = in_template(scorer.tokenizer, turns)
    answer = {"role": "assistant", "content": thought}
    bodies = [
        {"input": start + thought + "<|im_end|>" * ends},
        {"messages": [*turns, answer], "continue_final_message": not ends,
         "add_generation_prompt": False},
    ]  # fmt: skip
    for body in bodies:
        (data,) = post(client, "/classify", body)["data"]
        assert data["probs"] == pytest.approx([raw], abs=1e-5), body


def test_health(client):
    answer = client.get("/health")
    assert answer.status_code == 200 and answer.json()["status"] == "ok"
    assert answer.json()["model"] == "reward-1"


# --- wrong requests

ONE = {"prompts": ["Why?"], "completions": ["So."]}
BAD = [
    ("/score", {"completions": ["So."]}, 422, ["prompts", "required", '"completions"']),
    ("/score", [1], 422, ["the body", "send"]),
    ("/score", ONE | {"completions": "So."}, 422, ["completions", "list"]),
    ("/score", ONE | {"completions": [7]}, 422, ["completions.0", "string"]),
    ("/score", ONE | {"finished": ["yes"]}, 422, ["finished.0", "boolean"]),
    ("/score", ONE | {"finnished": [True]}, 422, ["finnished", "not permitted"]),
    ("/score", ONE | {"finished": []}, 422, ["1 prompts, 1 completions and 0 marks"]),
    ("/score", {"prompts": [], "completions": []}, 422, ["0 texts", f"1 to {MOST_TEXTS}"]),
    ("/score", {"prompts": ["Why?"] * 5000, "completions": [""] * 5000}, 422, ["5000 texts"]),
    ("/score", ONE | {"prompts": [" "]}, 422, ["completions[0]", "prompt has no text"]),
    ("/score", ONE | {"prompts": [7]}, 422, ["completions[0]", "must be a text or a list"]),
    ("/score", ONE | {"prompts": [CHAT[:3]]}, 422, ["last turn must be the user's"]),
    ("/score", ONE | {"prompts": ["half \ud800"]}, 422, ["half a character"]),
    ("/classify", {"input": "Hello, my name is"}, 422, ["input[0]", "chat template", "messages"]),
    ("/classify", {}, 422, ["one of input and messages"]),
    ("/classify", {"input": "x", "messages": CHAT}, 422, ["one of input and messages"]),
    ("/classify", {"input": [1, 999999]}, 422, ["token id 999999 unknown: use 0 to"]),
    ("/classify", {"input": [0, 0]}, 422, ["no token but padding"]),
    ("/classify", {"input": []}, 422, ["0 texts in input"]),
    ("/classify", {"input": [True]}, 422, ["neither a text nor token ids"]),
    ("/classify", {"input": {"a": 1}}, 422, ["neither a text nor token ids"]),
    ("/classify", {"messages": CHAT}, 422, ["end with the assistant's turn"]),
    ("/classify", {"messages": CHAT[2:3]}, 422, ["messages[0]", "prompt must be"]),
    ("/classify", {"messages": ["hello"]}, 422, ["end with the assistant's turn"]),
    ("/classify", {"model": "other", "input": "x"}, 404, ["'other' is not served", "'reward-1'"]),
    ("/get_reward", {"query": "one"}, 422, ["query", "list"]),
    ("/get_reward", {"query": ["a"], "prompts": ["a", "b"]}, 422, ["1 texts in query and 2"]),
    ("/get_reward", {"query": ["a"], "prompts": [7]}, 422, ["query[0]", "prompt '7' is no text"]),
    ("/get_reward", {"query": ["Hello."], "prompts": ["Bye"]}, 422, ["not in this model's chat"]),
    ("/nothing", {}, 404, ["no /nothing here", "/get_reward"]),
]


@pytest.mark.parametrize(("route", "body", "status", "words"), BAD)
def test_a_bad_request_gets_one_clear_line(client, route, body, status, words):
    raw = json.dumps(body).encode()
    answer = client.post(route, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == status and "\n" not in error["message"]
    assert len(error["message"]) < 300
    for word in words:
        assert word in error["message"], error["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "word"),
    [
        (b"{", "application/json", 400, "json"),
        (b"[" * 100_000, "application/json", 400, ""),
        (b"\xff\xfe", "application/json", 400, ""),
        (b'{"prompts": ["a"], "completions": ["b"]}', "text/plain", 422, "application/json"),
    ],
)
def test_what_is_no_json_is_refused(client, content, kind, status, word):
    answer = client.post("/score", content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert word in answer.json()["error"]["message"].lower()


def test_a_body_that_is_too_long_is_refused_said_or_unsaid(client):
    def chunks():
        for _ in range(LARGEST_BODY // 2**20 + 2):
            yield b" " * 2**20

    for content in (b" " * (LARGEST_BODY + 1), chunks()):
        answer = client.post(
            "/score", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert "send the texts in several" in answer.json()["error"]["message"]
    assert client.get("/health").status_code == 200


def test_a_method_that_does_not_fit(client):
    assert client.get("/score").status_code == 405
    assert "use POST" in client.get("/score").json()["error"]["message"]


def test_a_reward_that_is_not_finite_is_an_error_not_a_number(run):
    scorer = Scorer.load(run, torch.float32)
    scorer.model.score.weight.data[0, 0] = float("nan")
    with serving(scorer, "broken") as url:
        answer = httpx.post(f"{url}/score", json=ONE)
    assert answer.status_code == 500
    assert "text 0 gets no finite reward" in answer.json()["error"]["message"]


# --- several at once


def test_requests_at_once_share_passes_and_get_their_own_rewards(scorer, monkeypatch):
    """The first pass goes on until others wait."""
    going_on, most, sizes = 0, 0, []

    class Watched(Scorer):
        def read(self, texts):
            nonlocal going_on, most
            going_on += 1
            most = max(most, going_on)
            sizes.append(len(texts))
            deadline = time.monotonic() + 20
            while len(sizes) == 1 and len(reader._waiting) < 2 and time.monotonic() < deadline:
                time.sleep(0.001)
            try:
                return super().read(texts)
            finally:
                going_on -= 1

    watched = Watched(
        scorer.members, scorer.tokenizer, mean=scorer.mean, sd=scorer.sd, max_tokens=96
    )
    reader = BatchingScorer(watched)
    monkeypatch.setattr(http, "BatchingScorer", lambda scorer: reader)
    texts = [c.text + f" {i}" for i, c in enumerate(JUDGED * 6)]
    alone = scorer.score(["Why?"] * len(texts), texts)
    with serving(watched, "m") as url, httpx.Client(base_url=url, timeout=60) as client:
        with ThreadPoolExecutor(12) as pool:
            answers = pool.map(
                lambda text: post(client, "/score", {"prompts": ["Why?"], "completions": [text]}),
                texts,
            )
            rewards = [answer["rewards"][0] for answer in answers]
    assert rewards == pytest.approx(alone, abs=1e-5)
    assert most == 1, "one forward at a time"
    assert sum(sizes) == len(texts) and max(sizes) > 1 and len(sizes) < len(texts)


def test_a_pass_that_fails_fails_for_those_in_it_alone(scorer):
    class Failing(Scorer):
        def read(self, texts):
            if any(len(text.completion) > 20 for text in texts):
                raise RuntimeError("out of memory")
            return super().read(texts)

    failing = Failing(scorer.members, scorer.tokenizer)
    short = [scorer.render("Why?", "So.", True)]
    reader = BatchingScorer(failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        reader.read([scorer.render("Why?", "and so on " * 30, True)])
    raw, sd = reader.read(short)
    assert np.isfinite(raw).all() and len(raw) == len(sd) == 1


# --- the command


def started(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "reward_model", "score", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_the_command_serves_until_interrupted(run, scorer):
    process = started("--run", run, "--serve", "--port", free_port(), "--host", "0.0.0.0")
    killer = threading.Timer(120, process.kill)
    killer.start()
    try:
        line = next(line for line in process.stdout if " answers at " in line)
        assert line.startswith("reward-1 answers at http://127.0.0.1:") and "Ctrl-C" in line
        assert "0.0.0.0 is open to the network, and there is no login" in next(process.stdout)
        url = line.split(" at ")[1].split(";")[0]
        answer = httpx.post(f"{url}/score", json=ONE, timeout=60)  # at once: it has said so
        reward = scorer.score(ONE["prompts"], ONE["completions"])
        assert answer.json()["rewards"] == pytest.approx(reward, abs=0.3)  # it may be in bfloat16
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        killer.cancel()
        process.kill()
    assert process.returncode == 0, err
    assert "stopped serving" in out and "Traceback" not in err


def test_the_command_refuses_in_one_line(run, tmp_path, monkeypatch, capsys):
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        asked = [
            (("--run", run, "--serve", "--port", port), f"cannot listen on 127.0.0.1:{port}"),
            (("--run", run, "--serve", "--port", "99999"), "port 99999 not allowed"),
            (("--run", run), "name one of --file and --serve"),
            (("--run", tmp_path, "--serve"), "holds no finished reward model"),
        ]
        for words, said in asked:
            monkeypatch.setattr(sys, "argv", ["reward_model", "score", *map(str, words)])
            assert main() == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("error: ") and said in line


def test_answers_do_not_wait_for_an_acknowledgement():
    """asyncio turns Nagle's algorithm off only for sockets that are named as TCP."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


# --- what does not fit


def test_texts_that_were_cut_to_fit_are_counted(client, scorer):
    long = "A longer one. " * 600
    answer = post(client, "/score", {"prompts": [long, "Why?"], "completions": ["So.", "So."]})
    assert answer["truncated"] == 1
    assert "truncated" not in post(client, "/score", {"prompts": ["Why?"], "completions": ["So."]})


def test_a_token_that_the_model_has_no_row_for_is_refused(client, scorer, monkeypatch):
    known = scorer.tokenizer("So.")["input_ids"]
    monkeypatch.setattr(type(scorer.tokenizer), "__len__", lambda _: 400)
    refused = post(client, "/classify", {"input": [*known, 340]}, 422)
    assert "token 340" in refused["error"]["message"] and "0 to 339" in refused["error"]["message"]


def test_score_says_how_many_texts_it_cut(run, tmp_path):
    rows = [{"prompt": "A longer one. " * 600, "completion": "So."}]
    rows.append({"prompt": "Why?", "completion": "So."})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = command("reward_model", "score", "--run", run, "--file", tmp_path / "rows.jsonl")
    assert outcome.returncode == 0 and len(outcome.stdout.splitlines()) == 2
    assert "1 of 2 texts are longer than the" in outcome.stderr
