"""Runs on a W&B-compatible server on loopback, where one is installed: `pip install openwandb` in a venv of its own,
and `OPENWANDB` = its program. It is no part of the project; without it these tests are left out.
"""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ports import free_port

PROGRAM = os.environ.get("OPENWANDB") or shutil.which("openwandb")
KEY = "local" + "0" * 40
"""That of openwandb's first user."""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no openwandb is installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """Variables that name it, and its data base."""
    folder, port = tmp_path_factory.mktemp("openwandb"), free_port()
    words = [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]
    with (folder / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        for _ in range(100):
            time.sleep(0.2)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        base = {"WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": KEY, "no_proxy": "127.0.0.1"}
        yield base, folder / "openwandb.db"
        process.terminate()


def curve(data: Path, run: Path, key: str) -> list[tuple[int, float]]:
    """A metric by W&B's own step, as the server got it."""
    query = "select step, value from metrics where run_id = ? and key = ? order by id"
    connection = sqlite3.connect(data)
    found = connection.execute(query, ((run / "logs" / "wandb_id.txt").read_text(), key)).fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def online(place: Any, server: tuple[dict[str, str], Path]) -> Path:
    command = place.command("online", "logger=wandb", "data.limit_test=1", tasks="gqa,vizwiz")
    status, text = place.runs.run(command, **server[0])
    assert status == 0, text
    return Path(place.folder / "online")


def test_an_online_run_has_its_curves(online: Path, server: tuple[dict[str, str], Path]) -> None:
    steps = [step for step, _ in curve(server[1], online, "sequence_step")]
    assert steps == list(range(3 + 20))
    assert curve(server[1], online, "task") == [(0, 0), (11, 1), (22, 2)]
    assert len(curve(server[1], online, "train/loss")) == 20


def test_an_offline_run_that_was_killed_is_synced_into_the_same_curves(
    place: Any, online: Path, server: tuple[dict[str, str], Path]
) -> None:
    command = place.command("synced", "logger=wandb", "data.limit_test=1", tasks="gqa,vizwiz")
    for position, step in ((1, 7), (2, 9)):
        status, text = place.runs.run([*command, *place.kill(position, "train", step)], WANDB_MODE="offline")
        assert status == -signal.SIGKILL, text
    status, text = place.runs.run(command, WANDB_MODE="offline")
    assert status == 0, text
    run = place.folder / "synced"
    parts = sorted((run / "logs" / "wandb").glob("offline-run-*"))
    words = [str(Path(sys.executable).with_name("wandb")), "sync", *map(str, parts)]
    done = subprocess.run(words, env={**os.environ, **server[0]}, capture_output=True, text=True, check=False)
    assert done.stderr.count("Finished syncing") == len(parts) >= 2, done.stderr
    for key in ("sequence_step", "task", "train/loss", "score/gqa", "forgetting/gqa", "metrics/acc"):
        assert curve(server[1], run, key) == curve(server[1], online, key), key
