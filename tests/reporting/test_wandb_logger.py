"""W&B offline, read back from its file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from fake_run import add_judge

from coin_lightning.reporting.experience_log import judged_scalars, log_experience
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.wandb_files import parts_of, read_records
from coin_lightning.reporting.wandb_history import JOURNAL, OPEN, is_open
from coin_lightning.reporting.wandb_logger import (
    JUDGED,
    SequenceWandbLogger,
    finish_run,
    init_run,
    run_name,
)


def history(folder: Path) -> list[dict[str, Any]]:
    """All logged rows of the runs below ``folder``, in order."""
    records = [record for file in parts_of(folder / "wandb") for record in read_records(file)]
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb_home"))
    yield
    wandb.finish()


@pytest.mark.usefixtures("offline")
def test_sequence_on_one_axis_and_one_id(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    folder = make_run(tasks=("gqa", "vizwiz"), finished=1)
    run = load_run(folder)
    logger = SequenceWandbLogger(folder, project="p", config={"seed": 1})
    logger.log_metrics({"train/loss": 2.0}, step=5)  # a process that has lost the rows: they are given first
    logger.position = 1
    logger.log_metrics({"train/loss": 2.0}, step=5)
    logger.offset, logger.position = 40, 2
    log_experience([logger], run, 1, sequence_step=40)
    logger.log_metrics({"train/loss": 1.5}, step=5)
    first_id = logger.experiment.id
    finish_run()
    again = init_run(folder, "p", {"seed": 1})
    assert again.id == first_id == (folder / "logs" / "wandb_id.txt").read_text(encoding="utf-8")
    wandb.finish()
    rows = history(folder / "logs")
    assert [(row["_step"], row["sequence_step"]) for row in rows] == [(0, 0), (41, 40), (47, 45)]
    assert (rows[1]["task"], rows[1]["score/gqa"]) == (1, run.matrix.scores[1, 0])


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("runs/main/adapter.rank=16,method=lora/seed_3", "adapter.rank=16,method=lora seed_3"),
        ("runs/main/seed_0", "seed_0"),
        ("elsewhere/trial", "trial"),
    ],
)
def test_a_run_is_named_by_what_differs(tmp_path: Path, folder: str, name: str) -> None:
    config = {"experiment_name": "main", "paths": {"runs": str(tmp_path / "runs")}}
    assert run_name(tmp_path / folder, config) == name


def test_what_the_server_would_not_take_as_a_name_is_cut_in_its_middle(offline: None, tmp_path: Path) -> None:
    long, config = "adapter.rank=16," * 11, {"experiment_name": "e" * 200, "paths": {"runs": str(tmp_path)}}
    run = init_run(tmp_path / ("e" * 200) / long / "seed_3", "p", config)
    assert (len(run.name), len(run.group)) == (128, 128)
    assert run.name.startswith("adapter.rank=16,adapter")
    assert run.name.endswith("adapter.rank=16, seed_3")


def test_an_upload_that_takes_too_long_is_gone_on_with_later(
    offline: None, tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tasks=("gqa", "vizwiz"), finished=1)
    logger = SequenceWandbLogger(folder, project="p")
    logger.log_metrics({"train/loss": 2.0}, step=5)
    assert wandb.run.settings.finish_timeout == 600
    finish = wandb.finish

    def slow(exit_code: int) -> None:
        finish(exit_code)
        raise TimeoutError

    monkeypatch.setattr(wandb, "finish", slow)
    with pytest.raises(TimeoutError, match="when the same command is given again"):
        finish_run()
    assert is_open(folder)
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_MODE", "offline")
    SequenceWandbLogger(folder, project="p").log_metrics({"train/loss": 2.0}, step=5)
    finish_run()
    assert not is_open(folder)


class Online:
    """A run that the server knows up to a step."""

    id, offline = "abc", False

    def __init__(self, starting_step: int) -> None:
        self.starting_step = starting_step
        self.steps: list[int] = []

    def log(self, values: dict[str, Any], step: int, commit: bool | None = None) -> None:
        self.steps.append(step)


def test_online_the_server_says_how_far_it_is(
    tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows are done, at W&B's steps 0 and 41; the journal of the lost process goes to 43."""
    folder, run = make_run(tasks=("gqa", "vizwiz"), finished=1), Online(starting_step=30)
    lines = [json.dumps({"step": step, "values": {"train/loss": 1.0}}) for step in range(1, 44) if step != 41]
    (folder / "logs").mkdir()
    (folder / "logs" / JOURNAL).write_text("\n".join(lines))
    monkeypatch.setattr(wandb, "run", run)
    logger = SequenceWandbLogger(folder, offset=40, position=2, artifacts=False, examples=0)
    for step in range(4):  # 42 and 43 again, then 44 and 45, which is not complete
        logger.log_metrics({"train/loss": 1.0}, step=step)
    assert run.steps == [*range(30, 41), 41, 42, 43, 44]


@pytest.mark.usefixtures("offline")
def test_what_was_judged_of_a_row_that_the_server_has_is_given_once(
    tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    """Several processes leave judging to the end, and a kill may come before W&B has it."""
    folder = make_run(tasks=("gqa", "vizwiz"))
    run = load_run(folder)
    logger, steps = SequenceWandbLogger(folder, project="p", artifacts=False, examples=0), 0
    for row in range(3):
        steps += run.training[row].steps if row else 0
        logger.log_row(run, row, steps)
    finish_run()
    add_judge(folder)
    for _ in range(2):  # the second start has nothing to give
        SequenceWandbLogger(folder, project="p", artifacts=False, examples=0).save()
        finish_run()
    judged = [row for row in history(folder / "logs") if "judge/embedding/gqa" in row]
    scores = json.loads((folder / "matrix.json").read_text())["judges"]["embedding"]["scores"]
    assert [(row["task"], row["judge/embedding/gqa"]) for row in judged] == [
        (row, each[0]) for row, each in enumerate(scores)
    ]
    assert not any("score/gqa" in row for row in judged)


def test_judgements_take_no_step_that_training_needs(
    tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of which the first rows were judged later, by hand, goes on."""
    folder, run = make_run(tasks=("gqa", "vizwiz"), finished=1), Online(starting_step=45)
    add_judge(folder)
    (folder / "logs").mkdir()
    monkeypatch.setattr(wandb, "run", run)
    logger = SequenceWandbLogger(folder, offset=40, position=2, artifacts=False, examples=0)
    for step in range(2, 6):
        logger.log_metrics({"train/loss": 1.0}, step=step)
    assert run.steps == [45, 46]  # 47 is not complete; 44 is known


@pytest.mark.parametrize(("noted", "given"), [(90, [83, 84, 85]), (82, [])])
def test_judgements_that_were_lost_with_their_process_are_given_again(
    tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, noted: int, given: list[int]
) -> None:
    """The server knows up to step 82, which is that of the last row."""
    folder, run = make_run(tasks=("gqa", "vizwiz")), Online(starting_step=83)
    add_judge(folder)
    (folder / "logs").mkdir()
    matrix = load_run(folder).matrix
    entries = {row: {"step": noted, "keys": sorted(judged_scalars(matrix, row))} for row in range(3)}
    (folder / "logs" / JUDGED).write_text(json.dumps(entries))
    monkeypatch.setattr(wandb, "run", run)
    SequenceWandbLogger(folder, artifacts=False, examples=0).save()
    assert run.steps == given


@pytest.mark.parametrize(("killed", "uploaded"), [(True, ["task_01_gqa"]), (False, [])])
def test_adapters_whose_upload_was_cut_are_given_again(
    tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, killed: bool, uploaded: list[str]
) -> None:
    """The server has the row, which is small and goes at once, but nobody knows whether it has all of the adapter."""
    folder, run, given = make_run(tasks=("gqa", "vizwiz"), finished=1), Online(starting_step=42), []
    adapter = folder / "task_01_gqa" / "adapter"
    adapter.mkdir(exist_ok=True)
    (adapter / "adapter_config.json").write_text("{}")
    (folder / "logs").mkdir()
    if killed:
        (folder / "logs" / OPEN).touch()
    run.log_artifact = lambda artifact, aliases: given.append((aliases[0], [*artifact.manifest.entries]))
    monkeypatch.setattr(wandb, "run", run)
    SequenceWandbLogger(folder, offset=40, position=2, examples=0).log_metrics({"train/loss": 1.0}, step=5)
    assert given == [(name, ["adapter_config.json"]) for name in uploaded]
    assert run.steps == []
