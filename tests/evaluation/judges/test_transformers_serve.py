"""`judge=openai` against a real server process on loopback, `transformers serve`, which is killed half way."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_chat
from fake_judge import lines, record, write_experience

from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import JudgeRequest
from coin_lightning.evaluation.judges.hf import HFJudge
from coin_lightning.evaluation.judges.judging import judge_run
from coin_lightning.evaluation.judges.openai import OpenAIJudge
from coin_lightning.evaluation.judges.prompts import build_messages
from coin_lightning.evaluation.judges.summary import judges_of
from ports import free_port

ANSWERS = 60


@contextmanager
def served(model: Path, port: int, log: Path) -> Iterator[subprocess.Popen]:
    """A server process, ready to be asked."""
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("a") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
        try:
            wait_until_ready(process, port, log)
            yield process
        finally:
            process.kill()


def wait_until_ready(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the server did not start: {log.read_text()}")


@pytest.mark.timeout(900)  # starts transformers twice
def test_a_server_that_is_killed_half_way_and_started_again(tmp_path: Path):
    model, port, log = tiny_chat.write(tmp_path / "tiny_chat"), free_port(), tmp_path / "serve.log"
    run = tmp_path / "run"
    folder = write_experience(run, 0, "zero_shot", {"gqa": ["red " * n for n in range(ANSWERS)]})
    options = {"base_url": f"http://127.0.0.1:{port}/v1", "name": "served", "concurrency": 2, "timeout": 120}
    options |= {"retries": 1, "backoff": 0.05, "api_key_env": None, "version": "tiny"}

    with served(model, port, log) as process:

        def kill_half_way(task: str, done: int, total: int) -> None:
            if done == ANSWERS // 2:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()

        with pytest.raises(JudgeError, match=r"no reply .*All replies so far are kept; see that the server is up"):
            judge_run(run, OpenAIJudge(str(model), **options), kill_half_way)
    first = lines(folder, "served", "gqa")
    assert ANSWERS // 2 <= len(first) < ANSWERS
    asked_before = log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200')

    with served(model, port, log):
        judge_run(run, OpenAIJudge(str(model), **options))
    asked = log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200') - asked_before
    assert asked == ANSWERS - len(first)
    everything = lines(folder, "served", "gqa")
    assert everything[: len(first)] == first
    assert sorted(line["question_id"] for line in everything) == sorted(f"q{n}" for n in range(ANSWERS))

    section = judges_of(run, ("zero_shot", "gqa"), ("gqa",))["served"]
    assert section["counts"][0] == [ANSWERS]
    assert section["unparsed"][0] == [0]
    assert section["scores"][0][0] == pytest.approx(100 * sum(map(int, replies_here(model))) / (10 * ANSWERS))
    assert section["protocol"]["version"] == "tiny"
    assert len({line["reply"] for line in everything}) > 1
    json.dumps(section, allow_nan=False)


def replies_here(model: Path) -> list[str]:
    """What the same model says without a server."""
    records = [record("gqa", number, "red " * number) for number in range(ANSWERS)]
    requests = [JudgeRequest(each, build_messages(each)) for each in records]
    return [reply.text for reply in sorted(HFJudge(str(model), device_map="cpu", batch_size=1).judge(requests))]
