"""One chat completion against a server that misbehaves in every way."""

import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest
from fake_server import Answer, FakeServer, completion

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.budget import Budget
from coin_lightning.evaluation.judges.endpoint import Completion, Endpoint

KEY = "sk-very-secret-123"
PAYLOAD = {"model": "m", "messages": [{"role": "user", "content": "8?"}]}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_TEST_KEY", raising=False)


def endpoint(url: str, timeout: float = 60.0, retries: int = 3, backoff: float = 0.01, **limits: Any) -> Endpoint:
    return Endpoint(url, "JUDGE_TEST_KEY", timeout, retries, backoff, Budget(**limits))


def failing(first: Answer, times: int = 1) -> Any:
    return lambda number, _: first if number < times else completion("8")


def test_a_reply_with_its_version_and_its_price():
    with FakeServer(lambda *_: completion(" 8\n", 12, 3, system_fingerprint="fp_1")) as server:
        asked = endpoint(server.url)
        assert asked.complete(PAYLOAD) == Completion(" 8\n", "fake-2024 fp_1")
    assert server.requests == [{"path": "/v1/chat/completions", **PAYLOAD}]
    assert (asked.budget.prompt_tokens, asked.budget.reply_tokens) == (12, 3)


@pytest.mark.parametrize("url", ["{}", "{}/"])
def test_a_slash_at_the_end_of_the_address_does_not_matter(url: str):
    with FakeServer(lambda *_: completion("8")) as server:
        endpoint(url.format(server.url)).complete(PAYLOAD)
    assert server.requests[0]["path"] == "/v1/chat/completions"


def test_the_key_is_sent_when_it_is_there(monkeypatch: pytest.MonkeyPatch):
    with FakeServer(lambda *_: completion("8")) as server:
        endpoint(server.url).complete(PAYLOAD)
        monkeypatch.setenv("JUDGE_TEST_KEY", f" {KEY}\n")
        endpoint(server.url).complete(PAYLOAD)
    assert "Authorization" not in server.headers[0]
    assert server.headers[1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(429, {"error": {"message": "slow down"}}),
        Answer(500, b"oops"),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(503),
        Answer(408),
        Answer(200, b"this is no JSON"),
        Answer(200, {"choices": []}),
        Answer(200, []),
        Answer(200, b"\xff\xfe"),
        Answer(200, b'{"choices": [{"message": {"content": "8"}}]}', cut=True),
        Answer(200, b"", {"Content-Length": "50"}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body!r}"[:40],
)
def test_what_may_pass_is_tried_again(trouble: Answer):
    with FakeServer(failing(trouble, times=2)) as server:
        assert endpoint(server.url).complete(PAYLOAD).text == "8"
    assert len(server.requests) == 3


def test_trying_ends_with_what_went_wrong():
    with FakeServer(lambda *_: Answer(500, {"error": "out of memory"})) as server, pytest.raises(JudgeError) as failure:
        endpoint(server.url, retries=2).complete(PAYLOAD)
    assert len(server.requests) == 3
    text = str(failure.value)
    assert "HTTP 500 Internal Server Error: out of memory, 3 times." in text
    assert "All replies so far are kept" in text
    assert server.url in text


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "check judge.model and the judge's other settings"),
        (401, "Put a valid key into the environment variable JUDGE_TEST_KEY"),
        (403, "Put a valid key into the environment variable JUDGE_TEST_KEY"),
        (404, "Check judge.base_url"),
        (422, "refused as it is"),
        (307, "give the final address"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(status: int, remedy: str):
    answer = Answer(status, {"error": {"message": "no   such\nthing"}}, {"Location": "http://127.0.0.1:9/v1"})
    with FakeServer(lambda *_: answer) as server, pytest.raises(JudgeError) as refusal:
        endpoint(server.url).complete(PAYLOAD)
    assert len(server.requests) == 1
    assert f"HTTP {status}" in str(refusal.value)
    assert ": no such thing\n" in str(refusal.value)
    assert remedy in str(refusal.value)


def test_a_server_that_repeats_the_key_gets_it_into_no_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    answer = Answer(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}})
    with FakeServer(lambda *_: answer) as server, pytest.raises(JudgeError) as refusal:
        endpoint(server.url).complete(PAYLOAD)
    assert "Incorrect API key provided: ***." in str(refusal.value)
    assert KEY not in str(refusal.value)


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-\u00e9", "a\x00b"])
def test_a_key_that_is_none_is_not_printed(monkeypatch: pytest.MonkeyPatch, key: str):
    monkeypatch.setattr("os.environ", {"JUDGE_TEST_KEY": key})
    with pytest.raises(JudgeError, match="JUDGE_TEST_KEY holds characters that no key has") as refusal:
        endpoint("http://127.0.0.1:9/v1").complete(PAYLOAD)
    assert key not in str(refusal.value)


def test_a_server_on_this_machine_is_behind_no_proxy(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FakeServer(lambda *_: completion("8")) as server:
        assert endpoint(server.url, retries=0).complete(PAYLOAD).text == "8"


def test_nobody_at_home():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(
        JudgeError, match=r"no reply \(ConnectionRefusedError: .*, 4 times\. .*see that the server is up"
    ):
        endpoint(url).complete(PAYLOAD)


def test_a_silent_server_is_given_up():
    arrived, over = threading.Semaphore(0), threading.Event()

    def silent(number: int, request: dict[str, Any]) -> Answer:
        arrived.release()
        over.wait(60)
        return Answer()

    with FakeServer(silent) as server:
        with pytest.raises(JudgeError, match=r"timed out.*, 2 times"):
            endpoint(server.url, timeout=0.1, retries=1).complete(PAYLOAD)
        assert arrived.acquire(timeout=60)
        assert arrived.acquire(timeout=60)
        over.set()
    assert len(server.requests) == 2


def test_pauses_double_and_vary_within_a_half():
    asked = endpoint("http://127.0.0.1:9/v1", backoff=1.0)
    for attempt, longest in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]):
        pauses = [asked._pause(attempt, None) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_a_server_may_ask_for_a_longer_pause():
    asked = endpoint("http://127.0.0.1:9/v1", backoff=1.0)
    assert asked._pause(0, 7.0) == 7.0
    assert asked._pause(0, 0.1) >= 0.5
    assert asked._pause(0, 1e9) == 600.0


class Noted(threading.Event):
    """An event whose waits end at once and are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note."""
        self.waits.append(timeout or 0.0)
        return False


def pauses(answer: Answer) -> list[float]:
    """Seconds for which an endpoint pauses between this answer and a good one."""
    with FakeServer(failing(answer)) as server:
        asked = endpoint(server.url)
        asked.stopped = Noted()
        assert asked.complete(PAYLOAD).text == "8"
    return asked.stopped.waits


def test_retry_after_is_kept_to():
    with FakeServer(failing(Answer(429, b"", {"Retry-After": "0.3"}))) as server:
        started = time.monotonic()
        endpoint(server.url).complete(PAYLOAD)
    assert time.monotonic() - started >= 0.25


def test_retry_after_may_be_a_date():
    (pause,) = pauses(Answer(429, b"", {"Retry-After": formatdate(time.time() + 300, usegmt=True)}))
    assert 200 < pause <= 300


@pytest.mark.parametrize("value", ["soon", "-3", "nan"])
def test_a_retry_after_that_makes_no_sense_is_passed_over(value: str):
    (pause,) = pauses(Answer(503, b"", {"Retry-After": value}))
    assert 0.005 <= pause <= 0.01  # its own


@pytest.mark.parametrize("content", [None, 8, ["8"], {"text": "8"}])
def test_a_reply_without_text_is_a_reply_that_cannot_be_read(content: Any):
    with FakeServer(lambda *_: completion(content)) as server:
        assert endpoint(server.url).complete(PAYLOAD).text == ""
    assert len(server.requests) == 1


def test_every_attempt_counts_against_the_budget():
    with FakeServer(lambda *_: Answer(500)) as server, pytest.raises(JudgeError, match="max_requests=2 is spent"):
        endpoint(server.url, max_requests=2).complete(PAYLOAD)
    assert len(server.requests) == 2


def test_a_stopped_endpoint_asks_nothing():
    with FakeServer(lambda *_: completion("8")) as server:
        asked = endpoint(server.url)
        asked.stopped.set()
        with pytest.raises(JudgeError, match="stopped"):
            asked.complete(PAYLOAD)
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8000/v1", "must look like http"),
        ("ftp://host/v1", "must look like http"),
        ("file:///etc/passwd", "must look like http"),
        ("http:///v1", "must look like http"),
        ("http://me:secret@host/v1", "must hold no user, password or query"),
        ("http://host/v1?key=secret", "must hold no user, password or query"),
    ],
)
def test_addresses_that_are_refused(url: str, message: str):
    with pytest.raises(ConfigError, match=message) as refusal:
        endpoint(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"retries": -1}, {"backoff": -0.1}])
def test_values_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"judge\.timeout="):
        endpoint("http://127.0.0.1:9/v1", **options)
