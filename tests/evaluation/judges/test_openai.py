"""A served model as a judge: concurrency, failures half way, budgets, and what is kept."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_judge import lines, record, write_experience
from fake_server import Answer, FakeServer, completion

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.base import JudgeRequest
from coin_lightning.evaluation.judges.judging import judge_run
from coin_lightning.evaluation.judges.openai import OpenAIJudge
from coin_lightning.evaluation.judges.prompts import build_messages
from coin_lightning.evaluation.judges.summary import judges_of

PATIENCE = 60
"""Seconds after which something has gone wrong, on however busy a machine."""
KEY = "sk-very-secret-123"


def judge(server: FakeServer, **options: Any) -> OpenAIJudge:
    defaults = {"api_key_env": "JUDGE_TEST_KEY", "concurrency": 4, "timeout": PATIENCE, "retries": 2, "backoff": 0.01}
    return OpenAIJudge("some/model", server.url, **{**defaults, **options})


def requests(count: int) -> list[JudgeRequest]:
    records = [record("gqa", number, "red") for number in range(count)]
    return [JudgeRequest(each, build_messages(each)) for each in records]


def numbered(number: int, request: dict[str, Any]) -> Answer:
    """The number of the image that the question names, modulo ten."""
    return completion(str(question(request) % 10))


def question(request: dict[str, Any]) -> int:
    """The number of the image that a question names."""
    return int(request["messages"][1]["content"].split("image ")[1].split("?")[0])


def test_replies_belong_to_their_questions():
    with FakeServer(numbered) as server:
        replies = list(judge(server, concurrency=5).judge(requests(33)))
    assert sorted((reply.at, reply.text) for reply in replies) == [(n, str(n % 10)) for n in range(33)]
    assert {reply.version for reply in replies} == {"fake-2024"}
    assert len(server.requests) == 33


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_as_many_requests_are_under_way_as_allowed(concurrency: int):
    together = threading.Barrier(concurrency)

    def waiting_for_the_others(number: int, request: dict[str, Any]) -> Answer:
        together.wait(PATIENCE)  # broken, and the request fails, when fewer come together
        return numbered(number, request)

    with FakeServer(waiting_for_the_others) as server:
        replies = list(judge(server, concurrency=concurrency).judge(requests(5 * concurrency)))
    assert len(replies) == 5 * concurrency
    assert server.most_at_once == concurrency


def test_what_is_sent():
    with FakeServer(numbered) as server:
        asked = judge(server, temperature=0.7, top_p=0.8, max_tokens=20, seed=5, extra={"repetition_penalty": 1.05})
        list(asked.judge(requests(1)))
        list(judge(server, temperature=None, max_tokens=None).judge(requests(1)))
    messages = list(requests(1)[0].messages)
    assert server.requests[0] == {
        "path": "/v1/chat/completions", "model": "some/model", "messages": messages, "temperature": 0.7, "top_p": 0.8,
        "max_tokens": 20, "seed": 5, "repetition_penalty": 1.05,
    }  # fmt: skip
    assert server.requests[1] == {"path": "/v1/chat/completions", "model": "some/model", "messages": messages}


def test_the_identity_holds_what_is_sent_and_neither_address_nor_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    with FakeServer(numbered) as server:
        identity = judge(server, temperature=0.7, top_p=0.8, extra={"n": 1}).identity()
        assert identity["settings"] == {"top_p": 0.8, "max_tokens": 20, "n": 1}
        assert (identity["model"], identity["version"], identity["temperature"]) == ("some/model", None, 0.7)
        assert KEY not in json.dumps(identity)
        assert "127.0.0.1" not in json.dumps(identity)
    assert OpenAIJudge("some/model").name == "openai_model"


def test_a_failure_lets_the_replies_on_their_way_come_in():
    all_there = threading.Barrier(4)

    def one_fails(number: int, request: dict[str, Any]) -> Answer:
        all_there.wait(PATIENCE)  # four requests are on their way, whichever came first
        if question(request) == 1:
            return Answer(400, b"no")
        assert asked.endpoint.stopped.wait(PATIENCE)  # the others are answered when the judge knows of the failure
        return numbered(number, request)

    with FakeServer(one_fails) as server:
        asked = judge(server)
        replies = asked.judge(requests(20))
        assert sorted(next(replies).at for _ in range(3)) == [0, 2, 3]
        with pytest.raises(JudgeError, match="HTTP 400"):
            next(replies)
    assert len(server.requests) == 4


def test_no_requests_need_no_server():
    assert list(OpenAIJudge("m", "http://127.0.0.1:9/v1").judge([])) == []


def test_whoever_stops_listening_stops_the_asking():
    with FakeServer(numbered) as server:
        replies = judge(server).judge(requests(200))
        next(replies)
        replies.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("judge")]
        assert len(server.requests) <= 4  # no more than were under way when the first reply came


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_experience(tmp_path, 0, "zero_shot", {"gqa": ["red"] * 40})
    return tmp_path


def score(run: Path) -> tuple[float | None, int | None, int | None]:
    section = judges_of(run, ("zero_shot", "gqa"), ("gqa",))["openai_model"]
    return section["scores"][0][0], section["counts"][0][0], section["unparsed"][0][0]


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        (numbered, {"max_requests": 17}, "max_requests=17 is spent"),
        (numbered, {"max_total_tokens": 8 * 17, "concurrency": 1}, "max_total_tokens=136 is spent"),
        (
            numbered,
            {"max_cost": 17 * 15e-6, "prompt_price": 1, "reply_price": 8, "concurrency": 1},
            "max_cost=.* spent",
        ),
    ],
)
def test_a_budget_stops_the_work_and_the_next_command_goes_on(
    run: Path, answer: Callable[..., Answer], options: dict[str, Any], message: str
):
    with FakeServer(answer) as server:
        with pytest.raises(JudgeError, match=message):
            judge_run(run, judge(server, **options))
        assert len(server.requests) == 17
        assert len(lines(run / "task_00_zero_shot", "openai_model", "gqa")) == 17
        judge_run(run, judge(server))
    assert len(server.requests) == 40
    assert len({json.dumps(request["messages"]) for request in server.requests}) == 40  # nothing was asked twice
    assert score(run) == (45.0, 40, 0)


def test_a_server_that_dies_half_way_loses_nothing(run: Path):
    alive = threading.Event()

    def dying(number: int, request: dict[str, Any]) -> Answer:
        return numbered(number, request) if alive.is_set() or number < 20 else Answer(503, b"shutting down")

    with FakeServer(dying) as server:
        with pytest.raises(JudgeError, match=r"HTTP 503 .*shutting down, \d times.*All replies so far are kept"):
            judge_run(run, judge(server))
        assert len(lines(run / "task_00_zero_shot", "openai_model", "gqa")) == 20
        alive.set()
        before = len(server.requests)
        judge_run(run, judge(server))
        assert len(server.requests) - before == 20
    assert score(run) == (45.0, 40, 0)


def test_nonsense_is_counted_and_left_out(run: Path):
    def half(number: int, request: dict[str, Any]) -> Answer:
        good = numbered(number, request)
        digit = good.body["choices"][0]["message"]["content"]
        return good if int(digit) < 5 else completion("As a language model, I like it.")

    with FakeServer(half) as server:
        judge_run(run, judge(server))
    assert score(run) == (20.0, 40, 20)


def test_the_key_is_written_nowhere(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    with FakeServer(numbered) as server:
        judge_run(run, judge(server))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert not [file for file in run.rglob("*") if file.is_file() and KEY in file.read_text()]


def test_the_version_is_what_the_server_says_unless_it_is_given(run: Path):
    with FakeServer(numbered) as server:
        judge_run(run, judge(server))
        judge_run(run, judge(server, name="mine", version="2024-08"))
    judges = judges_of(run, ("zero_shot", "gqa"), ("gqa",))
    assert judges["openai_model"]["protocol"]["version"] == "fake-2024"
    assert judges["mine"]["protocol"]["version"] == "2024-08"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, r"judge\.concurrency=0"),
        ({"max_cost": 1.0}, r"judge\.max_cost needs"),
        ({"timeout": 0}, r"judge\.timeout=0"),
        ({"base_url": "localhost"}, r"judge\.base_url='localhost'"),
        ({"variant": "x"}, r"judge\.variant='x'"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        OpenAIJudge("m", **options)
