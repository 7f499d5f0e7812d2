"""W&B offline, read back from its file; TensorBoard and CSV from theirs."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from small_matrix import matrix
from wandb.proto.wandb_internal_pb2 import Record

from coin_lightning.errors import ConfigError
from coin_lightning.reporting import wandb_dashboard
from coin_lightning.reporting.experience_log import log_experience
from coin_lightning.reporting.wandb_dashboard import (
    SequenceWandbLogger,
    init_run,
    resolve_mode,
)

BLOCK, HEAD = 32768, 7


def read_records(file: Path) -> Iterator[Record]:
    """Records of a ``.wandb`` file: 7 bytes of file head, then LevelDB log blocks (checksum 4, length 2, type 1)."""
    data, place, parts = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # whole record, or its last part
            yield Record.FromString(parts)
            parts = b""


def history(folder: Path) -> list[dict[str, Any]]:
    """All logged rows of the offline runs below ``folder``, in order."""
    records = [record for file in sorted(folder.rglob("*.wandb")) for record in read_records(file)]
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


def test_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert resolve_mode("auto") == "offline"
    assert resolve_mode("disabled") == "disabled"
    with pytest.raises(ConfigError, match="'sometimes'; choose one of auto, online"):
        resolve_mode("sometimes")


@pytest.mark.parametrize(("reachable", "mode"), [(True, "online"), (False, "offline")])
def test_auto_needs_a_key_and_a_server(monkeypatch: pytest.MonkeyPatch, reachable: bool, mode: str) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(wandb_dashboard, "_answers", lambda url, timeout: reachable)
    assert resolve_mode("auto") == mode


def test_no_server_behind_a_closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    assert not wandb_dashboard._answers("http://127.0.0.1:9", 0.5)


@pytest.mark.usefixtures("offline")
def test_sequence_on_one_axis_and_one_id(tmp_path: Path) -> None:
    logger = SequenceWandbLogger(tmp_path, project="p", config={"seed": 1})
    log_experience([logger], matrix(), 0, sequence_step=0)
    logger.log_metrics({"train/loss": 2.0}, step=5)
    logger.offset = 40
    logger.log_metrics({"train/loss": 1.5}, step=5)
    log_experience([logger], matrix(), 3, sequence_step=120)
    first_id = logger.experiment.id
    wandb.finish()
    again = init_run(tmp_path, "p", {"seed": 1})
    assert again.id == first_id == (tmp_path / "logs" / "wandb_id.txt").read_text(encoding="utf-8")
    wandb.finish()
    rows = history(tmp_path / "logs")
    assert [row["sequence_step"] for row in rows] == [0, 5, 45, 120]
    assert [row["train/loss"] for row in rows if "train/loss" in row] == [2.0, 1.5]
    assert (rows[3]["score/c"], rows[3]["forgetting/b"], rows[3]["metrics/acc"]) == (80, 40, 53.3)
    tables = [json.loads(file.read_text(encoding="utf-8")) for file in (tmp_path / "logs").rglob("*.table.json")]
    assert len(tables) == 2
    assert ["c", 50, 30, 80] in [table["data"][3] for table in tables if len(table["data"]) == 4]
    images = list((tmp_path / "logs").rglob("score_matrix_image_*.png"))
    assert len(images) == 2
    assert all(image.read_bytes().startswith(b"\x89PNG") for image in images)
