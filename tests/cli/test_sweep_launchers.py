"""Parallel launchers: every member in its own folder, one that fails is told, and all is shown at the end."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus

import fake_slurm
from coin_lightning.cli.sweep import Sweep
from coin_lightning.config_folder import conf_dir
from results import results

TWO = ("hydra.launcher.n_jobs=2", "+hydra.launcher.idle_worker_timeout=5")
LOCAL = "+hydra.callbacks.disk._target_=probes.LocalDisk"
FAIL = "+callbacks.fail._target_=probes.FailAt"


def members(place, folder: Path, *words: str) -> list[str]:
    """Words of a sweep whose members have their folders below `folder`."""
    small = ("batches.epochs=1", "data.limit_test=1", "data.limit_train=12")  # three steps
    kept = [word for word in place.command("unused", *small, *words, tasks="gqa") if not word.startswith("run_dir=")]
    return ["-m", *kept, f"paths.runs={folder}", "experiment_name=swept"]


def runs(folder: Path) -> dict[str, Path]:
    """Folders of finished runs by their seed."""
    return {file.parents[1].name: file.parents[1] for file in folder.rglob("task_01_gqa/scores.json")}


@pytest.fixture(scope="module")
def alone(place, tmp_path_factory) -> Path:
    """The member of seed 99, run by the basic launcher."""
    folder = tmp_path_factory.mktemp("alone")
    status, text = place.runs.run(members(place, folder, "seed=99", "adapter.num_experts=4"))
    assert status == 0, text
    return runs(folder)["seed_99"]


def test_joblib_runs_members_in_two_workers_and_one_that_is_killed_does_not_take_the_table_with_it(
    place, alone: Path, tmp_path: Path
):
    """One sweep, whose workers stay: each folder has two members, of which the second one comes behind the first.
    There the worker of seed 1 is killed."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    kill = ("+callbacks.fail.signal_sweep=false,true", f"+callbacks.fail.number={int(signal.SIGKILL)}")
    swept = ("seed=1,99", FAIL, "+callbacks.fail.step=${seed}", "adapter.num_experts=3,4")
    words = members(place, tmp_path, *kill, *swept)
    status, text = place.runs.run([*words, "hydra/launcher=joblib", *TWO])
    assert status == 1, text
    told = text.index("4 of 8 members cannot be run:"), text.index("member 2 of 8: ")
    assert told[0] < told[1] < text.index("run folder")
    assert "2 of 8 members of the sweep failed:\n" in text
    assert "signal_sweep=False seed=1 adapter.num_experts=4: ZeroDivisionError: a bug in a callback" in text
    assert "signal_sweep=True seed=1 adapter.num_experts=4: its launcher gave up: TerminatedWorkerError" in text
    table = text.rpartition("disk")[2]  # of all runs
    assert [table.count(f"/seed_{seed}\n") for seed in (1, 99)] == [1, 1]
    assert "finished" in table
    (page,) = (tmp_path / "swept").glob("sweep_*.html")
    assert "2 of 8 runs are finished, 6 failed or cannot be run" in page.read_text()
    assert list(runs(tmp_path)) == ["seed_99"]
    assert results(runs(tmp_path)["seed_99"]) == results(alone)
    before = (runs(tmp_path)["seed_99"] / "matrix.json").stat().st_mtime_ns
    again = [word.replace("=3,4", "=4").replace("=false,true", "=true") for word in words]
    status, text = place.runs.run(again)  # by the basic launcher: no new workers; the signal is not sent twice
    assert status == 0, text
    assert sorted(runs(tmp_path)) == ["seed_1", "seed_99"]
    assert (runs(tmp_path)["seed_99"] / "matrix.json").stat().st_mtime_ns == before


def test_submitit_runs_members_here(place, alone: Path, tmp_path: Path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    kill = ("+callbacks.fail.signal_sweep=true", f"+callbacks.fail.number={int(signal.SIGKILL)}")
    words = members(place, tmp_path, "seed=1,99", "adapter.num_experts=4", FAIL, "+callbacks.fail.step=${seed}", *kill)
    status, text = place.runs.run([*words, "hydra/launcher=submitit_local", LOCAL])
    assert status == 1, text
    assert "1 of 2 members of the sweep failed:\n  seed=1: job " in text  # and the other one was waited for
    assert "was lost (FINISHED): " in text
    assert "1 of 2 runs are finished" in (tmp_path / "swept" / "sweep_seed.html").read_text()
    assert results(runs(tmp_path)["seed_99"]) == results(alone)
    assert (
        len([file for file in tmp_path.rglob("*_log.out") if "run folder" in file.read_text()]) == 2
    )  # their own logs


def test_ray_runs_members_on_a_local_cluster(place, alone: Path, tmp_path: Path):
    pytest.importorskip("ray")
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    words = members(place, tmp_path, "seed=1,99", "adapter.num_experts=4", FAIL, "+callbacks.fail.step=${seed}")
    words += ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
    status, text = place.runs.run(words, RAY_USAGE_STATS_ENABLED="0")
    assert status == 1, text
    assert "1 of 2 members of the sweep failed:\n  seed=1: ZeroDivisionError: a bug in a callback" in text
    assert (tmp_path / "swept" / "sweep_seed.html").is_file()
    assert results(runs(tmp_path)["seed_99"]) == results(alone)


def test_slurm_puts_a_member_back_into_the_queue_and_it_goes_on(place, alone: Path, tmp_path: Path):
    """Commands of SLURM are stood in for; submitit, its script, its signal and its requeueing are real."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    fake_slurm.install(tmp_path / "bin")
    warned = ("+callbacks.fail.signal_sweep=true", f"+callbacks.fail.number={int(signal.SIGUSR2)}")
    words = members(
        place, tmp_path, "seed=2,99", "adapter.num_experts=4", FAIL, "+callbacks.fail.step=${seed}", *warned
    )
    words += ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=8"]
    status, text = place.runs.run(words, PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert status == 0, text
    script = (tmp_path / "bin" / "submitted.sh").read_text()
    flags = ("--array=0-1%2", "--partition=gpu", "--gpus-per-node=8", "--signal=USR2@300", "--time=240", "--nodes=1")
    assert [flag for flag in flags if f"#SBATCH {flag}\n" not in script] == []
    assert (tmp_path / "bin" / "requeued").read_text() == "4711_0\n"
    assert sorted(runs(tmp_path)) == ["seed_2", "seed_99"]
    assert results(runs(tmp_path)["seed_99"]) == results(alone)
    assert "the same command goes on from here" in (tmp_path / "bin" / "log.txt").read_text()


def test_members_of_one_folder_are_not_given_to_a_launcher_at_the_same_time(place, tmp_path: Path):
    """What they differ in changes no result, so they are one run."""
    given, before = [], HydraConfig.instance().cfg

    def launch(batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        given.append([words[-1] for words in batch])
        return [JobReturn(status=JobStatus.COMPLETED) for _ in batch]

    _, *words = members(place, tmp_path, FAIL)
    swept = [(*words, f"seed={seed}", f"+callbacks.fail.step={step}") for seed in (1, 99) for step in (98, 99)]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=words, return_hydra_config=True)
        config.hydra.launcher = {"_target_": "a.parallel.Launcher"}
        Sweep(config, launch).run(swept)
    HydraConfig.instance().cfg = before
    assert given == [["+callbacks.fail.step=98"] * 2, ["+callbacks.fail.step=99"] * 2]
