"""Several processes, started by torchrun or srun, are one job; what cannot work is refused with the right command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from coin_lightning import processes
from coin_lightning.processes import peak_memory
from ranks import srun, together, torchrun
from results import results

pytestmark = pytest.mark.ddp


def test_srun_starts_a_job_as_torchrun_does(place, ranked):
    done = together(place, ranked.command("srun"), srun)
    assert [status for status, _ in done] == [0, 0], done
    assert done[1][1].strip() == ""
    assert results(place.folder / "srun") == results(ranked.undisturbed)


@pytest.mark.parametrize("step", [5, 7])
def test_a_killed_job_goes_on_with_the_dropout_of_each_rank(place, ranked, step):
    """On the same samples two ranks with one stream of random numbers would compute the same twice."""
    command = ranked.command(f"ranked_{step}")
    done = together(place, [*command, *place.kill(1, "train", step)])
    assert [status for status, _ in done] == [-signal.SIGKILL] * 2, done
    saved = torch.load(place.folder / f"ranked_{step}" / "task_01_scienceqa" / "last.ckpt", weights_only=True)
    states = [each["random_state"]["torch"] for each in saved["ranks"]]
    assert len(states) == 2
    assert not torch.equal(*states)
    done = together(place, command)
    assert [status for status, _ in done] == [0, 0], done
    assert results(place.folder / f"ranked_{step}") == results(ranked.undisturbed)


@pytest.mark.parametrize(
    ("variable", "alone"),
    [("SLURM_CONF", True), ("MPI_HOME", True), ("RANK", False), ("SLURM_PROCID", False), ("PMI_RANK", False),
     ("OMPI_COMM_WORLD_RANK", False), ("TORCHELASTIC_RUN_ID", False)],
)  # fmt: skip
def test_a_schedulers_own_settings_say_of_no_other_process(variable, alone, monkeypatch):
    for name in [name for name in os.environ if name.startswith(processes.LAUNCHERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, "0")
    assert processes.alone() is alone


def test_processes_wait_for_hours_for_one_that_reads_the_data_and_not_in_the_group_of_the_gpus(monkeypatch):
    """At a first start a process may decode half a million images before it meets the others."""
    made = []
    for name, value in torchrun(2)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_agreeing", [])
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **given: made.append({"backend": backend, **given}))
    monkeypatch.setattr(dist, "new_group", lambda **given: made.append(given) or "group")
    processes.connect()
    assert "timeout" not in made[0]
    assert made[1] == {"backend": "gloo", "timeout": timedelta(hours=6)}
    asked = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, group, **given: asked.append(group))
    monkeypatch.setattr(dist, "all_gather_object", lambda found, mine, group: asked.append(group))
    processes.decide(dict)
    processes.gather(1)
    assert asked == ["group", "group"]


DEVICES = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


def test_devices_alone_start_their_processes_and_hand_on_their_end(place, ranked):
    """A signal that one of them gets ends all behind the same step; the same job goes on from there. A rank that sees
    an older state of the folder, as on a network disk, follows the first one.
    """
    command = ranked.command("by_itself")
    values = {"_target_": "probes.SignalAt", "position": 1, "moment": "train", "step": 3, "number": 15, "rank": 1}
    status, text = place.runs.run([*command, *(f"+callbacks.signal.{key}={value}" for key, value in values.items())])
    assert status == 143, text
    assert (place.folder / "by_itself" / "task_01_scienceqa" / "last.ckpt").exists()
    first, second = torchrun(2)
    hidden = [*command, "+callbacks.late._target_=probes.LateDisk"]
    done = place.runs.together([(hidden, first), (hidden, {**second, "LATE_DISK": "1"})])
    assert [status for status, _ in done] == [0, 0], done
    assert results(place.folder / "by_itself") == results(ranked.undisturbed)
    written = json.loads((place.folder / "by_itself" / "task_01_scienceqa" / "train.json").read_text())
    assert written["steps"] == 10


def test_a_finished_job_is_mended_by_its_first_process_behind_the_others_end(place, ranked, tmp_path):
    """A file that a kill has left, and a page: the others have nothing to do with them, and are gone."""
    run = tmp_path / "finished"
    shutil.copytree(ranked.undisturbed, run)
    left = run / "task_01_scienceqa" / "last.ckpt"
    left.write_bytes(b"of a kill")
    command = [word for word in ranked.command("finished") if not word.startswith("run_dir=")]
    done = together(place, [*command, f"run_dir={run}"])
    assert [status for status, _ in done] == [0, 0], done
    assert not left.exists()


@pytest.mark.parametrize("typed", [False, True], ids=["kill -INT", "a terminal"])
def test_ctrl_c_reaches_each_process_once(tmp_path, typed: bool):
    """Twice is impatience, and saves nothing; a terminal gives it to all of its group, `kill` to one process."""
    script = tmp_path / "coin-lightning"
    script.write_text(LAUNCHES)
    (tmp_path / "coin_lightning.py").write_text(COUNTS)
    master, terminal = os.openpty()
    launched = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdin=terminal, stdout=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PACKAGE": str(Path(processes.__file__).parents[1])},
    )  # fmt: skip
    ready = [tmp_path / f"ready_{rank}" for rank in (0, 1)]
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in ready):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (os.killpg if typed else os.kill)(launched.pid, signal.SIGINT)
    launched.communicate(timeout=60)
    os.close(master)
    os.close(terminal)
    assert launched.returncode == 130
    assert [(tmp_path / f"count_{rank}").read_text() for rank in (0, 1)] == ["1", "1"]


LAUNCHES = """
import os, sys
package = os.environ["PACKAGE"]
sys.path.insert(0, package)
from coin_lightning.cli.launch import launch

os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
sys.exit(launch(2))
"""
COUNTS = """
import os, signal, sys, time
from pathlib import Path

folder, rank, found = Path(sys.argv[1]), os.environ["RANK"], []
signal.signal(signal.SIGINT, lambda number, frame: found.append(number))
(folder / f"ready_{rank}").touch()
while not found:
    time.sleep(0.01)
time.sleep(0.5)
(folder / f"count_{rank}").write_text(str(len(found)))
sys.exit(130)
"""


def test_processes_on_other_machines_are_refused_with_the_command(place):
    status, text = place.runs.run(place.command("unstarted", *DEVICES, "+trainer.num_nodes=2", tasks="imagenet"))
    assert status == 1
    assert "trainer.devices=2 makes 4 processes, but this one was started alone (trainer.num_nodes=2: nobody" in text
    assert "torchrun --nnodes 2 --rdzv-endpoint HOST:PORT --nproc-per-node 2 -m coin_lightning backbone=tiny" in text
    assert not (place.folder / "unstarted" / "config.yaml").exists()


def test_a_member_of_a_sweep_starts_no_others(place, tmp_path):
    words = place.command("unused", *DEVICES, "seed=3,4", tasks="imagenet")
    words = [word for word in words if not word.startswith("run_dir=")]
    status, text = place.runs.run(["-m", *words, f"paths.runs={tmp_path}"])
    assert status == 1
    remedies = [line for line in text.splitlines() if "Start them together: torchrun" in line]
    assert remedies
    assert all("seed=3,4" not in line and ("seed=3" in line or "seed=4" in line) for line in remedies)
    assert "this one was started alone (a member of a sweep has not a command of its own" in text
    assert not list(tmp_path.rglob("config.yaml"))


def test_processes_that_the_trainer_does_not_use_are_refused(place):
    done = together(place, place.command("too_many", tasks="imagenet"))
    assert [status for status, _ in done] == [1, 1]
    assert "2 processes were started, but trainer.devices=1 makes 1" in done[0][1]
    assert "Add trainer=ddp trainer.devices=2" in done[0][1]


def test_variables_of_slurm_that_contradict_each_other_are_one_error_line(place):
    status, text = place.runs.run(place.command("contradiction", tasks="imagenet"), SLURM_NTASKS="2", SLURM_PROCID="0")
    assert status == 1
    assert "error: the scheduler's variables cannot be used: " in text
    assert "Traceback" not in text


def test_what_the_first_process_refuses_ends_all_and_is_said_once(place, ranked):
    command = [*ranked.command("ranked"), "adapter.num_experts=4"]  # another config than the folder's
    done = together(place, command)
    assert [status for status, _ in done] == [1, 1]
    assert "adapter.num_experts: 8 -> 4" in done[0][1]
    assert done[1][1].strip() == ""


def test_peak_memory_is_in_bytes():
    before = peak_memory(torch.device("cpu"))
    held = bytearray(300_000_000)
    assert peak_memory(torch.device("cpu")) >= max(before, len(held))
