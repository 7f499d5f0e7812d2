"""W&B offline, read back from its file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from coin_lightning.reporting.experience_log import log_experience
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.wandb_files import parts_of, read_records
from coin_lightning.reporting.wandb_logger import (
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
