"""SIGTERM, SIGUSR1, Ctrl-C: one line, the status that schedulers know, and the same command ends with the same bits."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ranks import together
from results import results

STATUS = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}
SLURM = {
    "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "t", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", "SLURM_NODELIST": "localhost",
}  # fmt: skip


def send(position: int, moment: str, step: int, number: int, rank: int = 0) -> list[str]:
    """Arguments of a run that sends itself a signal; see `probes.SignalAt`."""
    values = {"_target_": "probes.SignalAt", "position": position, "moment": moment, "step": step}
    values |= {"number": int(number), "rank": rank}
    return [f"+callbacks.signal.{key}={value}" for key, value in values.items()]


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "position", "moment", "step", "left"),
    [
        (signal.SIGUSR1, 1, "train", 3, "task_01_scienceqa/last.ckpt"),  # between two checkpoints; SLURM's
        (signal.SIGTERM, 2, "train", 5, "task_02_textvqa/last.ckpt"),  # the last step of an epoch
        (signal.SIGTERM, 2, "train", 10, "task_02_textvqa/train.json"),  # the last step of the task
        (signal.SIGINT, 2, "train", 3, "task_02_textvqa/last.ckpt"),
        (signal.SIGTERM, 1, "predict", 1, "task_01_scienceqa/records/.partial/scienceqa.0.jsonl"),
        (signal.SIGINT, 0, "predict", 2, "task_00_zero_shot/records/.partial/textvqa.0.jsonl"),
    ],
)
def test_a_signal_ends_a_run_and_the_same_command_goes_on(place, short, number, position, moment, step, left):
    """The checkpoint is that of the very step: nothing is learned twice."""
    name, env = f"signal_{number.name}_{position}_{moment}_{step}", SLURM if number == signal.SIGUSR1 else {}
    command = place.short(name)
    status, text = place.runs.run([*command, *send(position, moment, step, number)], **env)
    assert status == STATUS[number], text
    assert last_line(text) == f"stopped by {number.name}; what was done is kept, the same command goes on from here"
    assert "Traceback" not in text
    run = place.folder / name
    assert (run / left).is_file()
    if left.endswith(".ckpt"):
        saved = torch.load(run / left, weights_only=True)
        assert (saved["global_step"], saved["ranks"][0]["progress"]["samples"]) == (step, 4 * step)
    assert not list(run.rglob("hpc_ckpt*"))
    assert not list(run.rglob("*.tmp"))
    status, text = place.runs.run(command, **env)
    assert status == 0, text
    assert results(run) == results(short)


@pytest.mark.parametrize(("before", "status"), [("SIG_DFL", 129), ("SIG_IGN", 7)])
def test_the_end_of_the_terminal_stops_a_process_unless_nohup_has_started_it(before, status):
    code = f"""if True:
        import signal, sys
        signal.signal(signal.SIGHUP, signal.{before})
        from coin_lightning.continual.interruption import Interruption, Stopped
        try:
            with Interruption():
                signal.raise_signal(signal.SIGHUP)
        except Stopped as stopped:
            sys.exit(stopped.status)
        sys.exit(7)
    """
    assert subprocess.run([sys.executable, "-c", code]).returncode == status


def test_a_requeueing_checkpoint_of_lightning_is_refused_and_the_remedy_works(place, short, tmp_path: Path):
    command = place.short("foreign")
    status, text = place.runs.run([*command, *place.kill(2, "train", 3)])
    assert status == -signal.SIGKILL, text
    run = place.folder / "foreign"
    foreign = run / "hpc_ckpt_1.ckpt"
    foreign.write_bytes((run / "task_02_textvqa" / "last.ckpt").read_bytes())
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for env in ({}, SLURM):
        status, text = place.runs.run(command, **env)
        assert status == 1
        assert f"{foreign}: a requeueing checkpoint of another program" in text
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    foreign.rename(tmp_path / foreign.name)
    status, text = place.runs.run(command)
    assert status == 0, text
    assert results(run) == results(short)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_judging_and_the_same_command_goes_on(place, number):
    name = f"signal_judge_{number.name}"
    judge = ["judge._target_=probes.FixedJudge", "data.limit_test=2"]
    command = place.brief(name, *judge, tasks="imagenet")
    status, text = place.runs.run([*command, f"+judge.sends={int(number)}"])
    assert status == STATUS[number], text
    assert last_line(text).startswith(f"stopped by {number.name}; ")
    status, text = place.runs.run(command)
    assert status == 0, text
    assert (place.folder / name / "task_01_imagenet" / "judged" / "fixed_seven.json").is_file()


@pytest.mark.ddp
def test_a_signal_to_one_rank_ends_all_at_the_same_step(place, ranked):
    run, command = place.folder / "ranked_signal", ranked.command("ranked_signal")
    done = together(place, [*command, *send(1, "train", 3, signal.SIGUSR1, rank=1)])
    assert [status for status, _ in done] == [143, 143], done
    assert (run / "task_01_scienceqa" / "last.ckpt").is_file()
    done = together(place, command)
    assert [status for status, _ in done] == [0, 0], done
    assert results(run) == results(ranked.undisturbed)
